"""Data to judge what is normal by: normal samples, and anomalies where some are labelled so."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.catalogue import Cut
from dfedge.data.dataset import Images
from dfedge.data.door import SampleFilter
from dfedge.data.inputs import InputRule
from dfedge.data.modes import anomalies
from dfedge.data.reading import Reading
from dfedge.data.shift import parse_shift
from dfedge.data.sources import open_cut


@dataclass(frozen=True)
class Judgeable:
    """Samples in the order of the data.

    Attributes:
        split: they are of.
        x: codes [N, H, W, C].
        anomalous: which are labelled as no normal ones, bool [N].
    """

    split: str
    x: Images
    anomalous: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


def load_judgeable(
    data: str,
    data_dir: Path | None,
    rule: InputRule,
    wanted: tuple[str, ...],
    shift: str | None,
    door: SampleFilter | None = None,
    cut: Cut | None = None,
    reading: Reading | None = None,
) -> Judgeable:
    """As `dfedge.data.sources.load_split`, whatever the data's classes are.

    Raises:
        UsageError, DfedgeError: as there.
    """
    move = parse_shift(shift, rule) if shift else None
    found = open_cut(data, data_dir, None, door, cut, reading)
    name, part = found.part(*wanted)
    x, odd = part.read(rule).x, anomalies(found, part)
    return Judgeable(name, move(x) if move else x, np.asarray(odd, bool))
