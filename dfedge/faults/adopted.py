"""From a stranger's net to its first learning step: adopt it, export it, learn a sample with it."""

import shutil
from pathlib import Path

import numpy as np

from dfedge.adopt.adopt import AdoptOptions, adopt
from dfedge.device.session import Session
from dfedge.export.options import ExportOptions
from dfedge.export.write import export

SHAPE, CLASSES, SAMPLES = (8, 8, 1), 3, 48


def write_samples(folder: Path) -> Path:
    """Random images of `SHAPE` and labels, as a data set."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (SAMPLES, *SHAPE)).astype(np.uint8)
    path = folder / "samples.npz"
    np.savez(path, x=x, y=np.arange(SAMPLES) % CLASSES)
    return path


def first_step(model: Path, samples: Path, work: Path) -> None:
    """Take the file all the way.

    Args:
        samples: of `write_samples`.
        work: a folder for what is made on the way; it is gone afterwards.

    Raises:
        DfedgeError: where it is refused.
    """
    shutil.rmtree(work, ignore_errors=True)
    try:
        run = adopt(AdoptOptions(str(model), str(samples), keep=False), work / "run").run
        bundle = export(run, ExportOptions(("c",)), work / "bundle")
        session = Session.open(bundle, "native", work / "state", read_only=True)
        session.learn(np.zeros(SHAPE, np.uint8), 0)
    finally:
        shutil.rmtree(work, ignore_errors=True)
