"""Domain-incremental: the same classes, seen in another way in every experience."""

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Images, Split
from dfedge.data.inputs.image import ImageRule
from dfedge.data.picture_shifts import rotate
from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource, drawn
from dfedge.errors import UsageError

Positive = Annotated[int, Meta(ge=1)]


class DomainIncremental(StreamKind, frozen=True):
    """Permuted or rotated images; the first experience shows them as they are.

    Attributes:
        how: ``permuted``: pixels in an order drawn anew for each experience; ``rotated``: turned by
            equal steps up to ``degrees``.
        degrees: of the last experience.
        samples: of one experience, no sample being in two.
        test: test samples, the same in all.
    """

    how: Literal["permuted", "rotated"] = "rotated"
    experiences: Annotated[int, Meta(ge=2)] = 5
    degrees: float = 180.0
    samples: Positive = 2000
    test: Positive = 1000

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`."""
        data, rule = source.loaded(seed)
        if self.how == "rotated" and not isinstance(rule, ImageRule):
            raise UsageError(
                f"domain-incremental: {rule.samples} are not rotated; give how=permuted, or a "
                "stream drift"
            )
        _, train = data.split("train")
        test = drawn(data.split("test")[1], self.test, seed)
        if self.samples * self.experiences > len(train):
            raise UsageError(
                f"domain-incremental: {self.experiences} times {self.samples} samples; "
                f"{source.data} has {len(train)}"
            )
        found = []
        for e in range(self.experiences):
            part = drawn(train, self.samples, seed, e * self.samples)
            name = f"{self._degrees(e):.0f}°" if self.how == "rotated" else f"order {e}"
            found.append(
                Experience(
                    name,
                    Split(self._seen(part.x, e, seed), part.y),
                    Split(self._seen(test.x, e, seed), test.y),
                )
            )
        return Stream(data.classes, tuple(found))

    def _degrees(self, e: int) -> float:
        return self.degrees * e / (self.experiences - 1)

    def _seen(self, x: Images, e: int, seed: int) -> Images:
        if e == 0:
            return x
        if self.how == "rotated":
            return rotate(x, self._degrees(e))
        flat = x.reshape(len(x), -1, x.shape[3])
        order = np.random.default_rng([seed, e]).permutation(flat.shape[1])
        return flat[:, order].reshape(x.shape)
