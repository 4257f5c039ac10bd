"""Files net.dfe changed at random whose checksum was made right again: what a stranger could send.

From its first byte to the first learning step dfedge-run must take each, or refuse it with one
line.
"""

import random
import resource
import struct
import subprocess
import zlib
from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.native.image import START
from trials.runner import Work
from trials.trial import GIB, Trials

FIRST_WORD = START.size + 4
VALUES = (0, 1, 2, 3, 7, 16, 255, 1 << 16, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def rechecked(raw: bytes) -> bytes:
    """With a checksum that fits."""
    rest = raw[FIRST_WORD:]
    return raw[: START.size] + struct.pack("<I", zlib.crc32(raw[: START.size] + rest)) + rest


def changed(raw: bytes, draw: random.Random) -> bytes:
    """One to four of its words are others: of the head and the table most often."""
    found, words = bytearray(raw), (len(raw) - FIRST_WORD) // 4
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = FIRST_WORD + 4 * draw.randrange(words if draw.random() < 0.2 else min(words, 200))
        (old,) = struct.unpack_from("<I", found, at)
        near = (old + draw.choice((1, -1, 4, -4)), 2 * old, -old, old ^ 1 << draw.randrange(32))
        value = draw.choice((*VALUES, *near)) if draw.random() < 0.7 else draw.randrange(1 << 32)
        struct.pack_into("<I", found, at, value % (1 << 32))
    return rechecked(bytes(found))


def mutate_nets(work: Work, scratch: Path, trials: int, seed: int) -> Trials:
    """Change the net's file, train with it, and change it back."""
    draw, found, good = random.Random(seed), Trials(), work.net.read_bytes()
    state = scratch / "state"
    for _ in range(trials):
        work.net.write_bytes(changed(good, draw))
        state.unlink(missing_ok=True)
        found.judge(lambda: _run(work.command(state)), scratch)
    work.net.write_bytes(good)
    return found


def _run(command: list[str]) -> None:
    """Run it within a GiB and a minute.

    Raises:
        DfedgeError: it was refused, with what was said.
        RuntimeError: it ended in another way.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB)),
    )  # fmt: skip
    if done.returncode == 1:
        raise DfedgeError(done.stderr.removesuffix("\n"))
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[:80]}")
