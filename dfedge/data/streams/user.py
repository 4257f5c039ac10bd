"""A new user: a speaker whom the model has never heard says ten digits, a few times each."""

import msgspec
import numpy as np

from dfedge.data.fsdd import CLASSES, SPEAKERS, TEST_TAKES, recordings, speaker_number
from dfedge.data.streams.stream import Experience, Source, Stream, StreamKind, drawn
from dfedge.errors import UsageError


class NewUser(StreamKind, frozen=True):
    """One speaker of the Free Spoken Digit Dataset; ``known`` are the others' official test takes.

    Attributes:
        speaker: a name of `dfedge.data.fsdd.SPEAKERS`.
        utterances: of each digit, learned by the end of each experience, joined by ``+``.
        test: utterances of each digit, from the end of the speaker's, that are only tested.
    """

    speaker: str = SPEAKERS[0]
    utterances: str = "5+20"
    test: int = 20

    def make(self, source: Source, seed: int) -> Stream:
        """See `StreamKind.make`; the source gives the folder, its data are those of this set."""
        found = recordings(source.data_dir)
        who = found.speaker == speaker_number(self.speaker)
        rank = _rank(found.take, who, found.y)
        last = int(rank[who].max()) + 1 - self.test
        ends = self._ends(last)
        test = found.where(who & (rank >= last))
        experiences = []
        for start, end in zip([0, *ends], ends, strict=False):
            part = found.where(who & (rank >= start) & (rank < end))
            experiences.append(Experience(f"{self.speaker}, {end}", drawn(part, 0, seed), test))
        others, tested = ~who, found.take < TEST_TAKES
        return Stream(
            CLASSES,
            tuple(experiences),
            known=found.where(others & tested),
            past=drawn(found.where(others & ~tested), 0, seed),
        )

    def _ends(self, last: int) -> list[int]:
        try:
            ends = msgspec.convert(self.utterances.split("+"), list[int], strict=False)
        except msgspec.ValidationError:
            ends = []
        if not ends or sorted(set(ends)) != ends or ends[0] < 1 or ends[-1] > last:
            raise UsageError(
                f"new-user: utterances={self.utterances}; allowed: rising numbers joined by '+', "
                f"from 1 to {last}, as 5+20"
            )
        return ends


def _rank(take: np.ndarray, who: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The place of each of a speaker's recordings among those of its digit, by take."""
    rank = np.zeros(len(take), np.int64)
    for k in np.unique(y):
        own = np.flatnonzero(who & (y == k))
        rank[own[np.argsort(take[own], kind="stable")]] = np.arange(len(own))
    return rank
