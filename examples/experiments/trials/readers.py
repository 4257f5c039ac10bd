"""The table of everything that reads a stranger's bytes, with good inputs to start from.

A reader is called with a path and must return or raise `DfedgeError`; anything else is a fault.  A
new reader is a line here, and is fuzzed from then on.
"""

import gzip
import hashlib
import io
import json
import re
import tempfile
import time
import wave
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge import bundle, configs, manifest, state, target
from dfedge.adoption import pt2
from dfedge.data import cifar, files, idx, logmel, svhn
from dfedge.data.inputs import image
from dfedge.data.wav import read_wav
from dfedge.device.store import FinetuneJob, StateRecord, exchange, slot
from dfedge.errors import DfedgeError
from dfedge.fleet import base as fleet_base
from dfedge.fleet import delta
from dfedge.integrity import signature
from dfedge.learn.net import Net
from dfedge.learn.recipe import load_recipe
from dfedge.learn.run import Run
from dfedge.learn.spec import NETS, load_spec
from trials import archives, example

MOST_SECONDS = 1.0
"""Of the processor, for one input."""
TRIES = 3

SMALL: dict[str, NDArray[Any]] = {
    "layer0.conv0.weight": np.arange(12, dtype=np.int8).reshape(3, 2, 2),
    "phase": np.array(7, np.int32),
}
RULE = image.ImageRule(8, 8, 1)
CLASSES = ("a", "b", "c")
Seeds = Callable[[], list[bytes]]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        suffix: of the file that it is given.
        read: the call.
        seeds: good inputs.
        mend: makes a changed input's checksums fit again, so that what lies behind them is reached.
    """

    suffix: str
    read: Callable[[Path], object]
    seeds: Seeds
    mend: Callable[[bytes], bytes] = bytes


def _idx(axes: int) -> bytes:
    shape = (3, 4, 5)[:axes]
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes([0, 0, 8, axes]) + sizes + bytes(int(np.prod(shape)))


def _npz() -> list[bytes]:
    found = []
    for x in (np.zeros((3, 8, 8), np.uint8), np.full((3, 8, 8, 1), 0.5, np.float32)):
        out = io.BytesIO()
        np.savez(out, x=x, y=np.arange(3), classes=np.array(CLASSES))
        found.append(out.getvalue())
        out = io.BytesIO()
        np.savez_compressed(out, x=x, y=np.arange(3))
        found.append(out.getvalue())
    return found


def _images() -> list[bytes]:
    from PIL import Image

    found = []
    for format in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM"):
        for mode in ("L", "RGB"):
            out = io.BytesIO()
            Image.new(mode, (8, 8), 100).save(out, format)
            found.append(out.getvalue())
    return found


def _mat() -> list[bytes]:
    from scipy.io import savemat

    found = []
    for compressed in (False, True):
        out = io.BytesIO()
        arrays = {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.array([[10]], np.uint8)}
        savemat(out, arrays, do_compression=compressed)
        found.append(out.getvalue())
    return found


def _wav() -> list[bytes]:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(logmel.RATE)
        file.writeframes(bytes(400))
    return [out.getvalue()]


def _toml(room: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(configs.folder(room).glob("*.toml"))]


def _manifest() -> list[bytes]:
    return [manifest.seal(example.manifest())]


def _reseal(raw: bytes) -> bytes:
    """With a digest that fits, where the input still is JSON with a digest."""
    try:
        digest = json.loads(raw)["digest"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return raw
    if len(digest) != len(manifest.BLANK):
        return raw
    blank = raw.replace(digest, manifest.BLANK.encode())
    return raw.replace(digest, hashlib.sha256(blank).hexdigest().encode())


def _record(job: FinetuneJob | None) -> StateRecord:
    return StateRecord(
        "ab" * 32, 16, job, 1, lineage="cd" * 32, bundle_version=2, semantics_version=1
    )


def _slots() -> list[bytes]:
    job = FinetuneJob("digits", "stream", "", 0, 16, 64, done=16)
    return [slot.encode(slot.Slot(3, _record(job), SMALL))]


def _rehash(raw: bytes) -> bytes:
    """With a header's checksum that fits."""
    size = slot.PREFIX.size
    if len(raw) < size:
        return raw
    length = int.from_bytes(raw[12:16], "little")
    digest = hashlib.sha256(raw[:16] + raw[size : size + length]).digest()
    return raw[:16] + digest + raw[size:]


def _exchange() -> list[bytes]:
    record = _record(None)
    old = state.to_bytes(SMALL, {"dfedge": msgspec.json.encode(record).decode()})
    return [exchange.write(SMALL, record), old]


def _deltas() -> list[bytes]:
    moves = {"layer0.conv0.weight": np.arange(-6, 6, dtype=np.int16).reshape(3, 2, 2)}
    parts = [delta.TensorPart(name, list(move.shape)) for name, move in moves.items()]
    header = delta.DeltaHeader(
        "ab" * 32, "cd" * 32, 16, 1, parts, {"phase": [7]}, "d", ("x",), ("y",)
    )
    return [delta.encode(header, moves), delta.encode(header, moves) + bytes(64)]


def _reframe(raw: bytes) -> bytes:
    """What changed of the bytes, changed of the decompressed body; with a checksum that fits."""
    good, at = _deltas()[0], delta.PREFIX.size
    if len(raw) < at:
        return raw
    body = zlib.decompress(good[at:])
    change = bytes(a ^ b for a, b in zip(good[at:], raw[at:], strict=False)).ljust(len(body), b"\0")
    packed = zlib.compress(bytes(a ^ b for a, b in zip(body, change, strict=False)))
    start = delta.PREFIX.pack(delta.MAGIC, delta.VERSION, len(packed), bytes(32))[:16]
    return start + hashlib.sha256(start + packed).digest() + packed


def _fractions() -> list[bytes]:
    fraction = {"layer0.conv0.weight": np.arange(12, dtype=np.int8).reshape(3, 2, 2)}
    kept = fleet_base.FractionsHeader("ab" * 32, state.digest(fraction), 8, 1, ["cd" * 32])
    return [state.to_bytes(fraction, {"dfedge": msgspec.json.encode(kept).decode()})]


def _run_folder(name: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        folder = path.with_suffix(".run")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
        return Run.open(folder) if name == "run.json" else Run(folder, example.run()).calibration()

    return read


def _by_class(path: Path) -> object:
    folder = path.with_suffix(".folder")
    (folder / "a").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "1.png").write_bytes(path.read_bytes())
    return files.load_path(folder, None, None)


def _public_key(path: Path) -> object:
    return signature.check(path.parent, b"", path)  # type: ignore[func-returns-value]


@cache
def _net() -> Net:
    return example.run().make_net()


def _checkpoint(path: Path) -> object:
    folder = path.with_suffix(".run")
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint.safetensors").write_bytes(path.read_bytes())
    return Run(folder, example.run()).load_checkpoint(_net())


def _checkpoints() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), example.run())
        run.save_checkpoint(_net(), [], {"epoch": 1, "finished": 1})
        return [(run.folder / "checkpoint.safetensors").read_bytes()]


def _keys() -> list[bytes]:
    return [
        b"-----BEGIN PUBLIC KEY-----\n"
        b"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        b"-----END PUBLIC KEY-----\n"
    ]


_json = msgspec.json.encode

READERS = {
    "idx images": Reader(".idx", lambda path: idx.read_idx(path, 3), lambda: [_idx(3)]),
    "idx labels": Reader(
        ".gz", lambda path: idx.read_idx(path, 1), lambda: [gzip.compress(_idx(1))]
    ),
    "cifar": Reader(
        ".bin", lambda path: cifar.read_records(path, 1), lambda: [bytes(3073), bytes(6146)]
    ),
    "mat": Reader(".mat", svhn.read_mat, _mat),
    "wav": Reader(".wav", read_wav, _wav),
    "npz": Reader(".npz", lambda path: files.load_path(path, None, None), _npz),
    "npz for a model": Reader(".npz", lambda path: files.load_path(path, RULE, CLASSES), _npz),
    "image": Reader(".png", RULE.read, _images),
    "image folder": Reader(".png", _by_class, _images),
    "target": Reader(".toml", lambda p: target.load_target(str(p)), lambda: _toml("targets")),
    "recipe": Reader(".toml", lambda p: load_recipe(str(p)), lambda: _toml("calibrate")),
    "net": Reader(
        ".toml", lambda path: load_spec(str(path)), lambda: [p.read_bytes() for p in NETS.glob("*")]
    ),
    "manifest": Reader(
        ".json", lambda path: bundle.read_manifest(path.read_bytes(), path), _manifest
    ),
    "manifest, resealed": Reader(
        ".json", lambda path: bundle.read_manifest(path.read_bytes(), path), _manifest, _reseal
    ),
    "slot": Reader(".slot", lambda path: slot.decode(path.read_bytes()), _slots),
    "slot, resealed": Reader(".slot", lambda p: slot.decode(p.read_bytes()), _slots, _rehash),
    "state file": Reader(".st", lambda p: exchange.parse(p.read_bytes(), p), _exchange),
    "delta": Reader(".delta", lambda path: delta.decode(path.read_bytes()), _deltas),
    "delta, its body changed": Reader(
        ".delta", lambda path: delta.decode(path.read_bytes()), _deltas, _reframe
    ),
    "fractions": Reader(
        ".fraction", lambda p: fleet_base.parse_fractions(p.read_bytes(), p), _fractions
    ),
    "public key": Reader(".pub", _public_key, _keys),
    "run.json": Reader(".json", _run_folder("run.json"), lambda: [_json(example.run())]),
    "calibration.json": Reader(
        ".json",
        _run_folder("calibration.json"),
        lambda: [_json(example.calibration())],
    ),
    "checkpoint": Reader(".st", _checkpoint, _checkpoints),
    "torch.export file": Reader(".pt2", pt2.load, lambda: list(archives.ordinary())),
}
"""Name -> reader."""


@dataclass(frozen=True)
class Fault:
    """An input that a reader neither took nor refused, or over which it sat too long."""

    reader: str
    what: str
    data: bytes


def judge(name: str, data: bytes, path: Path) -> Fault | None:
    """Give a reader an input, written to ``path``; what is wrong with its answer.

    An input is slow only where it is slow every time: a pass of the garbage collector, or a first
    import, is not the reader's.
    """
    reader = READERS[name]
    mended = reader.mend(data)
    path.write_bytes(mended)
    for _ in range(TRIES):
        start = time.process_time()
        what = _wrong(reader, path)
        seconds = time.process_time() - start
        if what:
            return Fault(name, what, mended)
        if seconds <= MOST_SECONDS:
            return None
    return Fault(name, f"{seconds:.1f} s", mended)


def _wrong(reader: Reader, path: Path) -> str | None:
    """What a reader does that is neither to take an input nor to refuse it in one line."""
    try:
        reader.read(path)
    except DfedgeError as error:
        return f"an error of several lines: {str(error)[:200]!r}" if "\n" in str(error) else None
    except Exception as error:
        return re.sub(r"0x\w+|\d+", "#", f"{type(error).__name__}: {error}")[:200]
    return None
