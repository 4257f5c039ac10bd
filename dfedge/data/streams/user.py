"""A new user: somebody whom the model has never met, or everybody, one after the other."""

import numpy as np

from dfedge.data.fsdd import CLASSES, SPEAKERS, TEST_TAKES, recordings, speaker_number
from dfedge.data.signals import WINDOW as SIGNALS
from dfedge.data.sources import find
from dfedge.data.streams.people import people
from dfedge.data.streams.portions import ends, ranked
from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource, drawn
from dfedge.errors import UsageError


class NewUser(StreamKind, frozen=True):
    """People of signals that say whose they are; else a speaker of the Free Spoken Digit Dataset.

    ``known`` are the others' tests, of that set their official test takes.

    Attributes:
        who: of signals, ``person:3`` or ``person:3+person:5``; empty: who was left out of training,
            else everybody.
        speaker: a name of `dfedge.data.fsdd.SPEAKERS`.
        utterances: windows or recordings of each class that are learned by the end of each
            experience, joined by ``+``; empty: ``5+20`` of a speaker, else all of them.
        test: utterances of each digit, from the end of the speaker's, that are only tested.
    """

    who: str = ""
    speaker: str = ""
    utterances: str = ""
    test: int = 20

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`; of speakers the source gives the folder alone."""
        if self.who and self.speaker:
            raise UsageError("new-user: who and speaker exclude each other; give one of them")
        own = find(source.data) is None or source.open().kind == SIGNALS
        if self.who or (own and not self.speaker):
            return people(source, seed, self.who, self.utterances)
        return self._speaker(source, seed)

    def _speaker(self, source: StreamSource, seed: int) -> Stream:
        name = self.speaker or SPEAKERS[0]
        found = recordings(source.data_dir)
        who = found.speaker == speaker_number(name)
        rank = np.zeros(len(who), np.int64)
        rank[who] = ranked(found.take[who], found.y[who])
        last = int(rank[who].max()) + 1 - self.test
        stops = ends(self.utterances or "5+20", last)
        test = found.where(who & (rank >= last), source.rule)
        experiences = []
        for start, end in zip([0, *stops], stops, strict=False):
            part = found.where(who & (rank >= start) & (rank < end), source.rule)
            experiences.append(Experience(f"{name}, {end}", drawn(part, 0, seed), test))
        others, tested = ~who, found.take < TEST_TAKES
        return Stream(
            CLASSES,
            tuple(experiences),
            known=found.where(others & tested, source.rule),
            past=drawn(found.where(others & ~tested, source.rule), 0, seed),
        )
