"""Ten people's shoulder exercises with a smartwatch: accelerations and turns at 50 Hz.

Source: the watch data of seglearn (D. Burns and others, BSD 3-clause), in the package's wheel.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from dfedge.data.packaged import member
from dfedge.data.recordings import Recording
from dfedge.data.signals import Signals
from dfedge.errors import DfedgeError

CHANNELS = ("acceleration x", "acceleration y", "acceleration z", "turn x", "turn y", "turn z")
WINDOW, HOP = 128, 64
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"


def load(data_dir: Path | None = None) -> Signals:
    """140 recordings of seven exercises; ``person:1`` to ``person:10``.

    Raises:
        DfedgeError: the package is not there, or its file is another.
    """
    raw = member("seglearn", "seglearn/data/watch_dataset.npy", data_dir)
    if hashlib.sha256(raw).hexdigest() != SHA256:  # a pickle may run programs: this one does not
        raise DfedgeError("seglearn's watch data are not those that are known; use seglearn 1.2.5")
    found = np.load(io.BytesIO(raw), allow_pickle=True).item()
    recordings = tuple(
        Recording(np.asarray(series, np.float64), int(label), {"person": str(int(person))})
        for series, label, person in zip(found["X"], found["y"], found["subject"], strict=True)
    )
    names = tuple(map(str, found["y_labels"]))
    return Signals("watch", names, {"all": recordings}, CHANNELS, WINDOW, HOP)
