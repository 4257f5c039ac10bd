"""Series in files .ts of the archive timeseriesclassification.com, which aeon's wheel brings.

A line is one recording: its channels apart by ``:``, their values by ``,``, and last its class.
Sources: BasicMotions (J. Clements), PickupGestureWiimoteZ (J. Guna and others), JapaneseVowels
(M. Kudo and others).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.data.packaged import member
from dfedge.data.recordings import Recording
from dfedge.data.signals import Signals
from dfedge.errors import DfedgeError


def parse_series(raw: bytes, where: str) -> list[tuple[str, NDArray[np.float64]]]:
    """Class and values [L, C] of each recording.

    Raises:
        DfedgeError: a line that is none.
    """
    found = []
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line[0] in "@#":
            continue
        *channels, label = line.split(":")
        try:
            values = np.array([[float(v) for v in one.split(",")] for one in channels])
        except ValueError as error:
            raise DfedgeError(f"{where}, line {number}: no recording ({error})") from error
        found.append((label.strip(), values.T))
    return found


def _load(name: str, archive: str, data_dir: Path | None) -> Signals:
    folder, _, stem = archive.partition("/")
    parts = {}
    for part in ("train", "test"):
        path = f"aeon/datasets/data/{folder}/{stem}_{part.upper()}.ts"
        parts[part] = parse_series(member("aeon", path, data_dir), path)
    classes = tuple(sorted({label for part in parts.values() for label, _ in part}))
    recordings = {
        part: tuple(Recording(x, classes.index(label)) for label, x in lines)
        for part, lines in parts.items()
    }
    return Signals(name, classes, recordings, ())


def basic_motions(data_dir: Path | None = None) -> Signals:
    """Standing, walking, running, badminton: 80 recordings [100, 6] of a watch."""
    return _load("basic-motions", "BasicMotions/BasicMotions", data_dir)


def gestures(data_dir: Path | None = None) -> Signals:
    """Ten gestures with a games controller: 100 recordings [361, 1]."""
    return _load("gestures", "PickupGestureWiimoteZ/PickupGestureWiimoteZ_eq", data_dir)


def vowels(data_dir: Path | None = None) -> Signals:
    """Nine speakers of two vowels: 640 recordings [25, 12] of cepstral features."""
    return _load("vowels", "JapaneseVowels/JapaneseVowels_eq", data_dir)
