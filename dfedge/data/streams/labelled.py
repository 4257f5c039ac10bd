"""Labelled samples as they are: no change is made, what is new about them is the data's own."""

from typing import Annotated

from msgspec import Meta

from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource, drawn


class Labelled(StreamKind, frozen=True):
    """The training samples in an order drawn from the seed, tested on the test samples.

    Attributes:
        samples: drawn without repetition; 0: all.
        test: test samples; 0: all.
    """

    samples: Annotated[int, Meta(ge=0)] = 0
    test: Annotated[int, Meta(ge=0)] = 1000

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`."""
        data = source.load(seed)
        train = drawn(data.split("stream", "train")[1], self.samples, seed)
        test = drawn(data.split("test")[1], self.test, seed)
        return Stream(data.classes, (Experience("labelled", train, test),))
