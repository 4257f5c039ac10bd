"""Real training samples that every bundle brings along: its golden batches, with their labels.

They were drawn from the host's training split to verify programs.  On the device they are also the
first guard, and a memory of the classes that were there before.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle


def known_samples(bundle: Bundle) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Inputs int8 [N, H, W, C] and their rows int64 [N].

    Every other golden batch carries labels moved by one class (`dfedge.export.golden`); they are
    moved back.
    """
    golden, live = bundle.golden(), len(bundle.manifest.classes)
    x, y = golden["x"], golden["y"].astype(np.int64)
    y[1::2] = (y[1::2] - 1) % live
    return x.reshape(-1, *x.shape[2:]), y.reshape(-1)
