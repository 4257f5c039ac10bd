"""Samples that a run keeps: what ``dfedge export`` tries learning on, and a bundle brings along.

kept.safetensors        training and held-out images, uint8 [N, H, W, C], with their labels

The held-out ones are of the training split, never trained on, and no part of the test split: what
is chosen by them is not reported on them.  The file stays in the RUN folder; a bundle takes a part
of it (`dfedge.known`), unless the run was made with ``--no-keep``.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

from dfedge.atomic import write_file
from dfedge.data.dataset import Split, T
from dfedge.data.order import shuffled
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import read_bytes

FILE = "kept.safetensors"
TRAINED, HELD_OUT = 512, 256
"""Samples of each kind at most."""
ONE_IN = 10
"""Training samples of which one is held out where a net's settings hold none out."""
MAX_BYTES = 1 << 25


def held_out_count(samples: int, validation: int) -> int:
    """How many training samples are not trained on."""
    return validation or min(HELD_OUT, samples // ONE_IN)


@dataclass(frozen=True)
class KeptSamples:
    """Samples that the net was trained on, and samples that it never saw."""

    trained: Split
    held_out: Split

    def check(self, classes: int, shape: tuple[int, int, int], where: Path) -> None:
        """Refuse samples of another model.

        Raises:
            DfedgeError: labels or images that are not the run's.
        """
        for split in (self.trained, self.held_out):
            if len(split) and (split.x.shape[1:] != shape or int(split.y.max()) >= classes):
                raise DfedgeError(f"{where}: its samples are not this run's; train again")


def choose(trained: T, held_out: T, seed: int, shape: tuple[int, int, int]) -> tuple[T, T]:
    """As many of each as are kept, of images of this shape, drawn from the seed."""
    fit = max(MAX_BYTES // math.prod(shape), 2)

    def some(part: T, count: int) -> T:
        if not len(part):
            return part
        return part.take(shuffled(len(part), seed, 0, min(count, len(part))))

    return some(trained, min(TRAINED, fit * 2 // 3)), some(held_out, min(HELD_OUT, fit // 3))


def write(folder: Path, kept: KeptSamples) -> None:
    """Keep samples in a run's folder."""
    tensors = {
        f"{name}.{part}": torch.from_numpy(np.ascontiguousarray(value))
        for name, split in (("trained", kept.trained), ("held_out", kept.held_out))
        for part, value in (("x", split.x), ("y", split.y))
    }
    write_file(folder / FILE, save(tensors))


def read(folder: Path) -> KeptSamples | None:
    """What a run kept; None where it kept nothing.

    Raises:
        DfedgeError: a damaged file.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with foreign(path, "kept samples", "train again, or export with --data"):
        found = {name: tensor.numpy() for name, tensor in load(read_bytes(path)).items()}
        parts = [Split(found[f"{n}.x"], found[f"{n}.y"]) for n in ("trained", "held_out")]
        return KeptSamples(*parts)
