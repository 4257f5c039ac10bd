"""The rows that a stream's classes stand for: matched by name, not by number."""

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels, Split
from dfedge.data.streams import Stream
from dfedge.device.classes import check_spare
from dfedge.device.evaluate import recognised
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.names import spelled

UNSEEN = -1
"""The row of a class that has none yet: nothing is ever recognised as it."""


class LabelRows:
    """As the session has them now.

    Attributes:
        rows: of each of the stream's labels, or `UNSEEN`, int64 [classes].
    """

    def __init__(self, session: Session, stream: Stream) -> None:
        self.session = session
        known = [*map(spelled, session.record.added if stream.fresh else session.classes)]
        first = len(session.classes) - len(known)
        names = map(spelled, stream.classes)
        places = [first + known.index(n) if n in known else UNSEEN for n in names]
        self.rows = np.array(places, np.int64)

    def of(self, y: Labels) -> NDArray[np.int64]:
        """Rows of labels [B]."""
        return self.rows[y]

    def unseen(self, y: Labels) -> list[int]:
        """The labels among y that have no row yet."""
        return [int(label) for label in np.unique(y) if self.rows[label] == UNSEEN]

    def recognised(self, split: Split, count: int | None = None) -> float:
        """The fraction of the split's first ``count`` samples (None: all) that are recognised."""
        rows = self.of(split.y[:count])
        if (rows == UNSEEN).all():
            return 0.0
        return float(recognised(self.session, Split(split.x[:count], rows)).mean())


def check_names(session: Session, stream: Stream) -> None:
    """Refuse new classes that have no spare row, and a fresh stream after classes were added.

    Raises:
        DfedgeError: naming the classes; nothing was changed.
    """
    added = ", ".join(session.record.added)
    if stream.fresh and added:
        raise DfedgeError(
            f"{session.folder} holds classes that were added before ({added}); "
            "a class-incremental stream starts from none: give --initial or another --state"
        )
    known = [] if stream.fresh else [*map(spelled, session.classes)]
    check_spare(session, [n for n in stream.classes if spelled(n) not in known])
