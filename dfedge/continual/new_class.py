"""A class that the device has never seen, from a few labelled samples.

First its anchors are set to the means of what each layer sees of the samples
(`dfedge.device.classes`).  Then the samples are learned a few times, one half of every batch; the
other half are the samples that the bundle brings of the classes it knows (`known`), so that those
are not forgotten.
"""

import numpy as np

from dfedge.continual.known import known_samples
from dfedge.data.dataset import Images
from dfedge.device.classes import add_class
from dfedge.device.session import Session

BATCH = 16
STEPS = 16
"""Steps by default."""


def learn_class(session: Session, name: str, x: Images, steps: int = STEPS, seed: int = 0) -> int:
    """Add a class and learn it; its row.

    Args:
        x: uint8 [n, H, W] or [n, H, W, C].
        steps: 0 sets the anchors only.

    Raises:
        DfedgeError: a name that is there, no spare row, images that cannot be used; the state is as
            it was.
    """
    row = add_class(session, name, x)
    new, (old, rows) = session.input(x), known_samples(session.bundle)
    half, rng = BATCH // 2, np.random.default_rng(seed)
    for _ in range(steps):
        again = rng.choice(len(new), half, replace=len(new) < half)
        known = rng.choice(len(old), half, replace=False)
        q = np.concatenate([new[again], old[known]])
        session.learn_input(q, np.concatenate([np.full(half, row), rows[known]]))
    return row
