"""A frozen trunk: the integer operations that stand before the layers that learn.  Pure data.

It comes of a foreign net (`dfedge.adoption`).  Every value is int8 [B, H, W, C] in 0..127 and
stands for ``(q - zero) / scale``; operation i makes value i + 1, value 0 is the image.  The
constants, by number of the operation (``3.weight``), are part of the program: they lie in flash,
not in the state.  `dfedge.int8.trunk` evaluates it.
"""

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dfedge.limits import Int32
from dfedge.operations import AnyOperation, Shape

MOST_OPERATIONS = 1024
"""Placing them takes time with the cube of their number."""
MOST_VALUES = 1 << 30
"""Of a map."""


class Trunk(msgspec.Struct, frozen=True):
    """The operations, and what the last value stands for.

    Attributes:
        input_shape: [H, W, C] of one image.
        zero, scale: of the last value.
    """

    input_shape: Shape
    operations: Annotated[tuple[AnyOperation, ...], Meta(max_length=MOST_OPERATIONS)]
    zero: Int32 = 0
    scale: float = 1.0

    @property
    def output_shape(self) -> Shape:
        """[H, W, C] of what the first layer receives."""
        return self.operations[-1].shape

    @property
    def shapes(self) -> list[Shape]:
        """[H, W, C] of every value."""
        return [self.input_shape, *(operation.shape for operation in self.operations)]

    def constants(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> (type, shape) of every constant."""
        shapes = self.shapes
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for i, operation in enumerate(self.operations):
            own = operation.constants([shapes[read] for read in operation.reads])
            found |= {f"{i}.{name}": kind for name, kind in own.items()}
        return found

    @property
    def sound(self) -> bool:
        """Whether every operation reads what was made before it."""
        reads = [(i, operation.reads) for i, operation in enumerate(self.operations)]
        return bool(reads) and all(r and all(0 <= one <= i for one in r) for i, r in reads)

    def flaws(self) -> Iterator[str]:
        """What does not fit; a later one is right only without those before."""
        if not self.sound:
            yield "an operation reads what is not there yet"
            return
        shapes = self.shapes
        for i, operation in enumerate(self.operations):
            given = [shapes[read] for read in operation.reads]
            least, most = operation.counts
            if max(prod(operation.shape), *map(prod, given)) > MOST_VALUES:
                yield f"operations[{i}]: its map is too large"
            elif not least <= len(given) <= most or not operation.fits(given):
                made, of = text(operation.shape), " and ".join(map(text, given))
                yield f"operations[{i}]: it makes {made} of {of}"

    def flaw(self, given: dict[str, Any]) -> str | None:
        """Why these constants are not the trunk's, or None."""
        return self.misfit({
            name: (str(value.dtype).split(".")[-1], tuple(value.shape))
            for name, value in given.items()
        })  # fmt: skip

    def misfit(self, got: dict[str, tuple[str, tuple[int, ...]]]) -> str | None:
        """As `flaw`, of types and shapes alone."""
        wanted = self.constants()
        wrong = [name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name)]
        return f"constants {', '.join(sorted(wrong)[:3])}" if wrong else None


def text(shape: tuple[int, ...]) -> str:
    """As a person would say it."""
    return " x ".join(map(str, shape))
