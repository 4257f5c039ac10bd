"""Gradual change: a camera that tilts, dims, loses focus or grows noisy while it works."""

from itertools import pairwise
from typing import Annotated

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Images, Split
from dfedge.data.picture_shifts import blur, rotate
from dfedge.data.streams.stream import Experience, Source, Stream, StreamKind, drawn
from dfedge.errors import UsageError

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class Drift(StreamKind, frozen=True):
    """Every sample is changed a little more than the one before it; all values are the last one's.

    Attributes:
        rotate: degrees, counter-clockwise.
        brightness: added, as a fraction of white; negative dims.
        blur: radius of a Gaussian, pixels.
        noise: standard deviation of a sensor's noise, grey levels.
        samples: in all, drawn without repetition.
        experiences: into which they are cut; each is tested at the change that it ends with.
        test: test samples of each.
    """

    rotate: float = 90.0
    brightness: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    blur: NotNegative = 0.0
    noise: NotNegative = 0.0
    samples: Positive = 5000
    experiences: Positive = 10
    test: Positive = 1000

    def make(self, source: Source, seed: int) -> Stream:
        """See `StreamKind.make`."""
        data = source.load(seed)
        _, train = data.split("stream", "train")
        if not self.experiences <= self.samples <= len(train):
            raise UsageError(
                f"drift: {self.samples} samples in {self.experiences} experiences; {source.data} "
                f"has {len(train)}, and each experience needs one"
            )
        train = drawn(train, self.samples, seed)
        test = drawn(data.split("test")[1], self.test, seed)
        ends = np.linspace(0, self.samples, self.experiences + 1).astype(int)
        found = []
        for start, end in pairwise(ends):
            part = [
                self.changed(train.x[i : i + 1], (i + 1) / self.samples, seed + i)
                for i in range(start, end)
            ]
            at = end / self.samples
            found.append(
                Experience(
                    f"{at:.0%}",
                    Split(np.concatenate(part), train.y[start:end]),
                    Split(self.changed(test.x, at, seed), test.y),
                )
            )
        return Stream(data.classes, tuple(found), known=test)

    def changed(self, x: Images, at: float, seed: int) -> Images:
        """Images as the camera sees them when ``at`` (0 to 1) of the change has come about."""
        if self.rotate:
            x = rotate(x, self.rotate * at)
        if self.blur:
            x = blur(x, self.blur * at)
        noise = np.random.default_rng(seed).normal(0, self.noise * at, x.shape)
        moved = x + 255.0 * self.brightness * at + noise
        return np.clip(np.round(moved), 0, 255).astype(np.uint8)
