"""Recordings of signals, cut into windows; and which windows may judge what others teach.

Windows that overlap, and windows of one recording, are alike.  So whole recordings are held out
where every class has some to spare; else the last part of each in time, and the windows across the
cut are dropped.  Where ``leave_out`` names a person, a machine or a day, all of its windows are
the test split.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import TEST_FRACTION, Divided, drawn_apart
from dfedge.data.grouped import Grouped, Groups, taken
from dfedge.data.reading import Reading
from dfedge.data.stored import StoredSamples
from dfedge.errors import DfedgeError

LOG = logging.getLogger(__name__)
Index = NDArray[np.int64]
FEW = 5
"""Recordings that every class must have for whole ones to be held out."""


@dataclass(frozen=True)
class Recording:
    """A stretch of a signal, without a gap, of one class.

    Attributes:
        x: [L, C], whole or real numbers.
        label: its class's number.
        groups: whose it is: ``person`` -> ``3``, and the like.
    """

    x: NDArray[Any]
    label: int
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedWindows(Grouped, StoredSamples):
    """Windows [N, T, C], as they were recorded.

    Attributes:
        recording, start: of each: which one it is of, and where in it it begins.
        groups: kind -> whose each is, [N].
        leave_out: see `Reading`.
    """

    recording: Index
    start: Index
    groups: Groups
    leave_out: str = ""

    def take(self, index: Index) -> Self:
        """The samples at ``index``."""
        return replace(
            self, x=self.x[index], y=self.y[index], recording=self.recording[index],
            start=self.start[index], groups=taken(self.groups, index),
        )  # fmt: skip

    def of(self, who: str) -> Self:
        """See `Grouped`."""
        return replace(self.take(np.flatnonzero(self.owned(who))), leave_out="")

    def divided(self, seed: int, where: str) -> Divided:
        """Windows to train on, and others to test on: see above.

        Raises:
            UsageError: nobody of that name is to be left out.
            DfedgeError: too few.
        """
        if self.leave_out:
            return self.without(self.leave_out)
        if self.x.shape[1] == 1 or len(np.unique(self.recording)) == len(self):
            return drawn_apart(len(self), seed, where)
        own = [np.unique(self.recording[self.y == k]) for k in np.unique(self.y)]
        if min(map(len, own)) < FEW:
            return self._in_time()
        rng = np.random.default_rng(seed)
        test = [rng.permutation(ids)[: max(1, round(len(ids) * TEST_FRACTION))] for ids in own]
        held = np.isin(self.recording, np.concatenate(test))
        LOG.info("%s: %d of %d recordings are the test split", self.where,
                 sum(map(len, test)), len(np.unique(self.recording)))  # fmt: skip
        return np.flatnonzero(~held), np.flatnonzero(held)

    def _in_time(self) -> Divided:
        length = self.x.shape[1]
        train, test = np.zeros(len(self), bool), np.zeros(len(self), bool)
        for one in np.unique(self.recording):
            here = self.recording == one
            end = self.start[here].max() + length
            cut = end - max(round(end * TEST_FRACTION), length)
            train |= here & (self.start + length <= cut)
            test |= here & (self.start >= cut)
        if not train.any() or not test.any():
            raise DfedgeError(
                f"{self.where}: its recordings are too short to be cut in time; give longer or "
                "more of them, or a smaller --window"
            )
        LOG.info("%s: the last fifth of every recording is the test split", self.where)
        return np.flatnonzero(train), np.flatnonzero(test)


def windows(recordings: Sequence[Recording], reading: Reading, where: str) -> RecordedWindows:
    """Cut recordings, in order.

    Raises:
        DfedgeError: none, of different channels, shorter than a window, or of different lengths
            where no window is named.
    """
    channels = {one.x.shape[1] for one in recordings}
    if len(channels) != 1:
        found = " and ".join(map(str, sorted(channels))) or "no"
        raise DfedgeError(f"{where}: recordings of {found} channels; all must have the same")
    lengths = sorted({len(one.x) for one in recordings})
    length, step = reading.window, reading.step
    if not length:
        if len(lengths) > 1:
            raise DfedgeError(
                f"{where}: recordings of {lengths[0]:,} to {lengths[-1]:,} samples; give --window "
                "SAMPLES (and --hop) to cut them in windows"
            )
        length = step = lengths[0]
    kinds = list(dict.fromkeys(kind for one in recordings for kind in one.groups))
    x, rows, groups = [], [], []
    for number, one in enumerate(recordings):
        for start in range(0, len(one.x) - length + 1, step):
            x.append(one.x[start : start + length])
            rows.append((one.label, number, start))
            groups.append([one.groups.get(kind, "") for kind in kinds])
    if not x:
        raise DfedgeError(
            f"{where}: a window of {length:,} samples is longer than the longest recording "
            f"({lengths[-1]:,}); give a smaller --window"
        )
    short = sum(len(one.x) < length for one in recordings)
    if short:
        LOG.info("%s: skipped %d of %d recordings, shorter than a window of %d samples",
                 where, short, len(recordings), length)  # fmt: skip
    y, recording, starts = np.array(rows, np.int64).T
    owners = np.array(groups, np.str_).reshape(len(rows), len(kinds))
    return RecordedWindows(
        np.stack(x),
        y,
        where,
        recording,
        starts,
        {k: owners[:, i] for i, k in enumerate(kinds)},
        reading.leave_out,
    )
