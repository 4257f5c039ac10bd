"""A new user: somebody whom the model has never met, or everybody, one after the other."""

import msgspec
import numpy as np

from dfedge.data.fsdd import CLASSES, SPEAKERS, TEST_TAKES, recordings, speaker_number
from dfedge.data.signals import WINDOW as SIGNALS
from dfedge.data.streams.people import people
from dfedge.data.streams.stream import Experience, Source, Stream, StreamKind, drawn
from dfedge.errors import UsageError


class NewUser(StreamKind, frozen=True):
    """People of signals that say whose they are; else a speaker of the Free Spoken Digit Dataset.

    ``known`` are the others' tests, of that set their official test takes.

    Attributes:
        who: of signals, ``person:3`` or ``person:3+person:5``; empty: who was left out of training,
            else everybody.
        speaker: a name of `dfedge.data.fsdd.SPEAKERS`.
        utterances: of each digit, learned by the end of each experience, joined by ``+``.
        test: utterances of each digit, from the end of the speaker's, that are only tested.
    """

    who: str = ""
    speaker: str = ""
    utterances: str = "5+20"
    test: int = 20

    def make(self, source: Source, seed: int) -> Stream:
        """See `StreamKind.make`; of speakers the source gives the folder alone."""
        if self.who or (not self.speaker and source.open().kind == SIGNALS):
            return people(source, seed, self.who)
        return self._speaker(source, seed)

    def _speaker(self, source: Source, seed: int) -> Stream:
        name = self.speaker or SPEAKERS[0]
        found = recordings(source.data_dir)
        who = found.speaker == speaker_number(name)
        rank = _rank(found.take, who, found.y)
        last = int(rank[who].max()) + 1 - self.test
        ends = self._ends(last)
        test = found.where(who & (rank >= last))
        experiences = []
        for start, end in zip([0, *ends], ends, strict=False):
            part = found.where(who & (rank >= start) & (rank < end))
            experiences.append(Experience(f"{name}, {end}", drawn(part, 0, seed), test))
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
