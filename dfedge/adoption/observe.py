"""What a net's results are on samples, a few images at a time: extremes, and some of the values."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dfedge.adoption.graph import ForeignGraph
from dfedge.errors import DfedgeError
from dfedge.learn.forms.onepass import pixels
from dfedge.progress import Progress

SEEN = 100_000
"""Values of a result that are kept, at least; their places are whole vectors of channels."""
LEAST_PLACES = 512


@dataclass
class Observed:
    """Of one result.

    Attributes:
        values: [P, C], from places spread evenly over images, rows and columns.
        low, high: [C], the extremes of all.
    """

    values: Tensor
    low: Tensor
    high: Tensor

    def scaled(self, gain: Tensor) -> "Observed":
        """As if every channel were multiplied by a number above zero."""
        return Observed(self.values * gain, self.low * gain, self.high * gain)

    def add(self, other: "Observed") -> None:
        """Of more images."""
        self.values = torch.cat([self.values, other.values])
        self.low = torch.minimum(self.low, other.low)
        self.high = torch.maximum(self.high, other.high)


def observe(graph: ForeignGraph, x: Tensor, until: int, watch: Progress) -> list[Observed]:
    """Every result up to an operation.

    Args:
        x: int8 [N, H, W, C], samples.

    Raises:
        DfedgeError: a value that is not finite.
    """
    found: list[Observed] = []
    for start, part in pieces(graph, x, until):
        watch("observe", start, len(x))
        for i, value in graph.run(real(part), until):
            if not bool(torch.isfinite(value).all()):
                raise DfedgeError(
                    f"operation '{graph.nodes[i].name}' gives values that are not finite for these "
                    "samples; give the mean and deviation that the net was trained with, or bound "
                    "what goes in"
                )
            own = _seen(value, start, len(x))
            if start:
                found[i].add(own)
            else:
                found.append(own)
    return found


def real(x: Tensor) -> Tensor:
    """Images int8 [N, H, W, C] as the float net sees them, [N, C, H, W]."""
    return pixels(x.permute(0, 3, 1, 2))


def pieces(graph: ForeignGraph, x: Tensor, until: int) -> Iterator[tuple[int, Tensor]]:
    """A few images at a time, with the number of the first."""
    size = graph.at_once(until)
    return ((i, x[i : i + size]) for i in range(0, len(x), size))


def results(graph: ForeignGraph, wanted: set[int], x: Tensor) -> dict[int, Tensor]:
    """Some results in full, made a few images at a time; x float [N, C, H, W]."""
    until, size = max(wanted), graph.at_once(max(wanted))
    parts = [
        {i: value for i, value in graph.run(x[start : start + size], until) if i in wanted}
        for start in range(0, len(x), size)
    ]
    return {i: torch.cat([part[i] for part in parts]) for i in parts[0]}


def _seen(value: Tensor, start: int, images: int) -> Observed:
    count, channels, height, width = value.shape
    area = height * width
    total = images * area
    wanted = min(max(SEEN // channels, LEAST_PLACES), total)
    # float32 would round past 2^24
    places = torch.linspace(0, total - 1, wanted, dtype=torch.float64).long() - start * area
    places = places[(places >= 0) & (places < count * area)]
    flat = value.flatten(2)
    low, high = flat.amin((0, 2)), flat.amax((0, 2))
    return Observed(flat[places // area, :, places % area], low, high)
