"""From a stranger's net to its first learning step: adopt it, export it, learn a sample with it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters.adoption_check import check_model
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from trials.trial import Trials, memory

SHAPE, CLASSES, SAMPLES = (8, 8, 1), 3, 48


def take_changed(
    folder: Path,
    name: str,
    ordinary: bytes,
    changed: Callable[[], bytes],
    trials: int,
    every: int = 1,
) -> Trials:
    """Take many changed nets all the way; the current folder must be ``folder``.

    Args:
        every: so many are looked at by `adopt --check`, one of them goes all the way.
        name: of the net's file in ``folder``; its end says of which kind it is.
        ordinary: one that is whole, taken first: what is loaded once counts for none of the trials.
        changed: gives another one at every call.
    """
    assert folder.samefile(os.curdir)
    path, samples, found = folder / name, _write_samples(folder), Trials()
    path.write_bytes(ordinary)
    _take(path, samples, folder / "work")
    with memory():
        for number in range(trials):
            path.write_bytes(changed())
            if every > 1:
                found.judge(lambda: _check(path), folder)
            if number % every == 0:
                found.judge(lambda: _take(path, samples, folder / "work"), folder)
    return found


def _check(model: Path) -> None:
    """See what stands in its way; every reason must be a line."""
    reasons = check_model(str(model), "").blockers
    for why in sorted(reasons, key=len, reverse=True):
        raise DfedgeError(why)


def _write_samples(folder: Path) -> Path:
    """Random images of `SHAPE` and labels, as a data set."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (SAMPLES, *SHAPE)).astype(np.uint8)
    path = folder / "samples.npz"
    np.savez(path, x=x, y=np.arange(SAMPLES) % CLASSES)
    return path


def _take(model: Path, samples: Path, work: Path) -> None:
    """Adopt, export, learn; ``work`` holds what is made on the way, and is gone afterwards."""
    shutil.rmtree(work, ignore_errors=True)
    try:
        run = adopt(AdoptOptions(str(model), str(samples), keep=False), work / "run").run
        bundle = export(run, ExportOptions(("c",)), work / "bundle")
        session = Session.open(bundle, "native", work / "state", read_only=True)
        session.learn(np.zeros(SHAPE, np.uint8), 0)
    finally:
        shutil.rmtree(work, ignore_errors=True)
