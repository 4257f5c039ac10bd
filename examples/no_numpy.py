"""Learning by ctypes alone: ExecuTorch's C++ core, no torch, no NumPy, no dfedge in the process.

    dfedge export RUN --format executorch --format c --out BUNDLE
    LIBRARY=$(python -c "from dfedge.native import glue; print(glue.executorch().path)")
    python examples/no_numpy.py $LIBRARY BUNDLE images-idx3-ubyte labels-idx1-ubyte state.bin

``dfedge/native/ops/open.h`` is what is called.  Images are one channel, of the net's own size.
Prints how many of the samples were recognised before they were learned, and the memory used.
"""

import ctypes
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

LAYERS, CLASSES = 2, 11
"""Places of these counts in a table, ``dfe_program``."""


class Buffer(ctypes.Structure):
    """``dfe_buffer``."""

    _fields_ = [("at", ctypes.c_void_p), ("bytes", ctypes.c_int64)]


class Program:
    """An opened program.pte."""

    def __init__(self, library: str, path: Path) -> None:
        self.library = ctypes.CDLL(library)
        self.library.dfe_open.restype = ctypes.c_void_p
        self.library.dfe_register()
        status = ctypes.c_int()
        handle = self.library.dfe_open(str(path).encode(), ctypes.byref(status))
        if not handle:
            sys.exit(f"{path}: error {status.value:#x}")
        self.handle = ctypes.c_void_p(handle)

    def run(self, method: str, given: list[bytes], results: list[int]) -> list[bytes]:
        """Results of so many bytes each."""
        found = [ctypes.create_string_buffer(size) for size in results]
        held = [ctypes.create_string_buffer(value, len(value)) for value in given]
        status = self.library.dfe_run(
            self.handle, method.encode(), buffers(held), len(held), buffers(found), len(found)
        )
        if status:
            sys.exit(f"{method}: error {status:#x}, {self.library.dfe_last_status()}")
        return [buffer.raw for buffer in found]


def buffers(held: list) -> ctypes.Array:
    return (Buffer * len(held))(*(Buffer(ctypes.addressof(one), len(one)) for one in held))


def first_state(path: Path) -> tuple[bytes, int, int]:
    """The block of net.dfe (``dfedge/native/run/image.h``), how many classes, how many layers."""
    content = path.read_bytes()
    magic, version, checksum, words, size = struct.unpack_from("<4s4I", content)
    if (magic, version) != (b"\x89DFN", 2) or zlib.crc32(content[:8] + content[12:]) != checksum:
        sys.exit(f"{path}: no net.dfe of format 2, or damaged; export again")
    table = struct.unpack_from(f"<{words}i", content, 64)
    return content[64 + 4 * words :][:size], table[CLASSES], table[LAYERS]


def samples(images: Path, labels: Path) -> Iterator[tuple[bytes, int]]:
    """Pixels as the net takes them, 0..127, and labels."""
    with images.open("rb") as x, labels.open("rb") as y:
        _, count, height, width = struct.unpack(">4i", x.read(16))
        y.read(8)
        for _ in range(count):
            yield bytes(v >> 1 for v in x.read(height * width)), y.read(1)[0]


def main(library: str, bundle: Path, images: Path, labels: Path, learned: Path) -> None:
    program = Program(library, bundle / "executorch-native" / "program.pte")
    block, classes, layers = first_state(bundle / "c" / "net.dfe")
    program.run("set_state", [block], [4])
    right = count = 0
    for x, label in samples(images, labels):
        results = [4 * classes, 4 * layers]
        scores, _ = program.run("train_b1", [x, struct.pack("<i", label)], results)
        values = struct.unpack(f"<{classes}i", scores)
        right += values.index(max(values)) == label
        count += 1
    (block,) = program.run("get_state", [], [len(block)])
    learned.write_bytes(block)
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(f"{right} of {count} recognised before they were learned; {peak} KiB resident at most")


if __name__ == "__main__":
    library, *paths = sys.argv[1:]
    main(library, *map(Path, paths))
