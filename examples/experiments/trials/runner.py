"""dfedge-run, built and damaged: bits flipped in its files, its processes killed."""

import random
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Split
from dfedge.native import build
from dfedge.native.store import slot_bytes
from trials.calls import PAGE, opened

ACCEPTED = ("used", "silent", "long error")
"""Outcomes of a flip that must not be: its bit was used, or nothing was said."""


def compile_runner(app: Path, run: Path = build.RUNNER, library: Path = build.SOURCES) -> Path:
    """The program, of this package or of an exported folder's ``run`` and ``dfedge``.

    Raises:
        DfedgeError: no compiler is here.
    """
    sources = [*sorted(run.glob("*.c")), *sorted(library.glob("*.c"))]
    flags = ["-std=c99", "-O2", f"-I{library}", "-o", str(app)]
    subprocess.run([build.required_compiler(), *flags, *map(str, sources)], check=True)
    return app


def write_idx(path: Path, values: NDArray[np.uint8]) -> Path:
    """An IDX file of bytes."""
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())
    return path


def slot_bytes_of(net: Path) -> int:
    """Of a state file of the program in a net.dfe."""
    (state_bytes,) = struct.unpack_from("<I", net.read_bytes(), 16)
    return slot_bytes(state_bytes, 1, PAGE)


@dataclass(frozen=True)
class Work:
    """A training one sample at a time that saves after every few steps, and says so.

    Attributes:
        images, labels: IDX files of so many ``samples``.
    """

    app: Path
    net: Path
    images: Path
    labels: Path
    samples: int
    save_every: int = 1

    def command(self, state: Path, skip: int = 0) -> list[str]:
        """The words that train from sample ``skip`` on."""
        words = [self.app, "train", self.net, self.images, self.labels, "--state", state]
        options = ["--batch", 1, "--save-every", self.save_every, "--skip", skip]
        return list(map(str, [*words, *options]))

    def steps(self, state: Path) -> int:
        """Learned so far, by a state file; -1: there is none."""
        if not state.exists():
            return -1
        found = opened(state.read_bytes(), slot_bytes_of(self.net))
        return -1 if found is None else found[1]


def work_on(app: Path, net: Path, split: Split, scratch: Path, save_every: int = 1) -> Work:
    """Write a split's samples as the files of a training."""
    images = write_idx(scratch / "images", split.x[..., 0])
    labels = write_idx(scratch / "labels", split.y.astype(np.uint8))
    return Work(app, net, images, labels, len(split), save_every)


def flip_bits(
    work: Work, state: Path, of: str, flips: int, seed: int, watch: Callable[[int], None] = print
) -> Counter[str]:
    """Flip one bit of the net's file or of a state file, ask for answers, and flip it back.

    Args:
        of: ``net`` or ``state``.
    """
    path, draw, found = {"net": work.net, "state": state}[of], random.Random(seed), Counter[str]()
    good, slots = path.read_bytes(), slot_bytes_of(work.net)
    saved = opened(state.read_bytes(), slots)
    assert saved is not None
    words = [work.app, "infer", work.net, work.images, "--state", state]
    command = list(map(str, words))
    for number in range(flips):
        place = draw.randrange(8 * len(good))
        raw = bytearray(good)
        raw[place // 8] ^= 1 << place % 8
        path.write_bytes(raw)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 1:
            found["refused" if done.stderr.count("\n") == 1 else "long error"] += 1
        elif done.returncode:
            found["crashed"] += 1
        elif of == "net":
            found["used"] += 1
        else:
            found[_told(done.stderr, opened(bytes(raw), slots), saved)] += 1
        if number % 500 == 499:
            watch(number + 1)
    path.write_bytes(good)
    return found


def _told(notes: str, now: tuple[int, int, bytes] | None, saved: tuple[int, int, bytes]) -> str:
    if "is damaged" not in notes:
        return "silent"
    if now == saved:
        return "older slot, and said so"
    return "other slot, and said so" if now is not None and now[0] == saved[0] - 1 else "used"


@dataclass
class Kills:
    """What was done and found.

    Attributes:
        kills: processes ended by SIGKILL.
        after_a_save: those that had told of a save.
        finished: trainings that reached their end, each after some kills.
        lost: kills after which less was found than had been told of, or nothing.
        different: finished trainings whose state was not that of one that was never interrupted.
    """

    kills: int = 0
    after_a_save: int = 0
    finished: int = 0
    lost: int = 0
    different: int = 0


def kill_trainings(work: Work, root: Path, kills: int, seed: int) -> Kills:
    """Kill trainings, each soon after a save that it tells of, and repeat them to their end."""
    draw, found = random.Random(seed), Kills()
    subprocess.run(work.command(root / "whole"), check=True, capture_output=True)
    whole = opened((root / "whole").read_bytes(), slot_bytes_of(work.net))
    state, told = root / "0", -1
    while found.kills < kills or told >= 0:
        wait = draw.randrange(work.samples // work.save_every // 3) if found.kills < kills else None
        ended, last = _train(work.command(state, max(work.steps(state), 0)), wait, draw)
        told = max(told, last)
        found.lost += work.steps(state) < told
        if ended:
            now = opened(state.read_bytes(), slot_bytes_of(work.net))
            found.different += now is None or whole is None or now[1:] != whole[1:]
            found.finished += 1
            state, told = root / str(found.finished), -1
        else:
            found.kills += 1
            found.after_a_save += told >= 0
    return found


def _train(command: Sequence[str], wait: int | None, draw: random.Random) -> tuple[bool, int]:
    """Whether it reached its end, and the samples of the last save that it told of; -1: none.

    Args:
        wait: for so many saves before it is killed; None: it is not.
    """
    last = -1
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **piped) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        while wait is None or wait > 0:
            line = process.stdout.readline()
            if not line:
                break
            last = _samples(line, last)
            wait = None if wait is None else wait - 1
        if wait is not None:
            time.sleep(draw.uniform(0, 0.002))
            process.kill()
        for line in process.stdout:  # what it told of before it was killed
            last = _samples(line, last)
    if process.returncode not in (0, -9):
        raise RuntimeError(f"a training ended with {process.returncode}")
    return process.returncode == 0, last


def _samples(line: str, last: int) -> int:
    words = line.split()
    return int(words[2]) if words[:2] == ["saved", "after"] and line.endswith("\n") else last
