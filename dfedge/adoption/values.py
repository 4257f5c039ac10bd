"""A foreign net on its way: its values, its constants, and the operations so far."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from dfedge.adoption.graph import ForeignNode, Op, Shape
from dfedge.adoption.refusal import Site, refusal
from dfedge.errors import DfedgeError

K = TypeVar("K", bound=Hashable)
"""What a framework names its values by."""
Refused = list[tuple[str, str]] | None
Two = tuple[int, int]
Pads = tuple[int, int, int, int]
MOST_VALUES = 1 << 27
"""Of an operation's result for one image, and of a constant: a file may ask for any size, and
VGG's first linear layer has 102,760,448 weights."""


@dataclass(frozen=True)
class Value:
    """An operation's result.

    Attributes:
        number: of the operation.
        dims: as the foreign net sees it, without the batch: [C, H, W], or flattened.
        places: where each number of it lies in the operation's result, counted row by row;
            None: in the same order.
        site: of the last operation that put it into another order or form.
    """

    number: int
    dims: tuple[int, ...]
    places: Tensor | None = None
    site: Site | None = None


@dataclass(frozen=True)
class Left:
    """An operation that is left out, because it changes no order of the scores.

    Attributes:
        said: it, and what was left out before it, in words.
        linear: what is linear may follow; else nothing.
        embeds: the net gives features, and no scores, where it ends here.
    """

    site: Site
    said: tuple[str, ...]
    linear: bool = False
    embeds: bool = False


def across(pads: Pads) -> Pads:
    """Of a map whose rows become columns."""
    top, bottom, left, right = pads
    return left, right, top, bottom


def map_of(given: Sequence[int], channels_last: bool) -> Shape:
    """A sample's map [C, H, W]: a window of T samples is one of T rows and one column."""
    channels, *rest = (given[-1], *given[:-1]) if channels_last else given
    height, width = [*rest, 1, 1][:2]
    return channels, height, width


class Values(Generic[K]):
    """Operations so far, and what each foreign value is.

    Attributes:
        refused: collects (operation, why) of what cannot be translated; None: the first stops.
    """

    site: Site
    """Of the operation at work."""
    key: K
    """Of its result."""

    def __init__(self) -> None:
        self.nodes: list[ForeignNode] = []
        self.values: dict[K, Value] = {}
        self.constants: dict[K, Tensor] = {}
        self.finished: dict[K, Left] = {}
        self.refused: Refused = None

    def attempt(
        self, translate: Callable[[], None], given: Sequence[K], dims: Sequence[int] | None
    ) -> None:
        """Translate the operation at work, or note why not where refusals are collected.

        What is refused passes as a result of its shape, so that what follows is looked at as well;
        what follows a result of unknown shape is skipped.

        Args:
            translate: raises a refusal.
            given: its operands.
            dims: of its result, without the batch; None: unknown.
        """
        if self.refused is None:
            translate()
            return
        if not self.refused or all(self.known(one) for one in given):
            try:
                translate()
                return
            except DfedgeError as error:
                self.refused.append((self.site.what, str(error)))
        if dims and all(isinstance(side, int) and side > 0 for side in dims):
            shape: Shape = (math.prod(dims), 1, 1)
            if len(dims) == 3:
                shape = (dims[0], dims[1], dims[2])
            self.nodes.append(ForeignNode("function", self.site.name, (0,), shape))
            self.values[self.key] = Value(len(self.nodes) - 1, tuple(dims))

    def known(self, key: K) -> bool:
        """Whether a value was translated, or is a constant."""
        return key in self.values or key in self.constants

    def begin(self, key: K, site: Site) -> None:
        """Turn to the next operation."""
        self.key, self.site = key, site

    def input(
        self,
        key: K,
        dims: Sequence[Any],
        channels_last: bool = False,
        sample: Shape | None = None,
    ) -> None:
        """Take the sample: an image [C, H, W], a window [C, T] of a signal, or a vector [C].

        Args:
            dims: with the batch, anything but a number where it is open.
            channels_last: [H, W, C] or [T, C].
            sample: the data's, [C, H, W]; what it says of a window's order counts more.
        """
        if self.nodes or not 2 <= len(dims) <= 4:
            raise DfedgeError(
                f"the net takes '{key}'; allowed: one input, float: images [B, C, H, W], windows "
                "[B, C, T], or vectors [B, C]"
            )
        shape = dims[1:]
        if not all(isinstance(side, int) for side in shape):
            raise DfedgeError(
                f"the net's input has a dynamic shape {list(shape)}; export it for one image size "
                "(only the batch may be dynamic)"
            )
        given = tuple(int(side) for side in shape)
        if sample is not None and len(given) == 2 and given[0] != given[1]:
            channels_last = map_of(given, True) == sample
        sides = map_of(given, channels_last)
        if not 1 <= min(sides) <= math.prod(sides) <= MOST_VALUES:
            raise DfedgeError(
                f"the net takes images {list(sides)}; allowed: sides from 1 up and at most "
                f"{MOST_VALUES:,} values"
            )
        self.nodes.append(ForeignNode("input", str(key), (), sides))
        self.values[key] = Value(0, given)
        if channels_last and len(given) > 1:
            places = torch.arange(math.prod(sides), dtype=torch.int32).reshape(given[-1], -1)
            self.values[key] = Value(0, given, places.T.reshape(given), self.site)

    def keep(self, key: K, name: str, constant: Tensor) -> None:
        """Take a constant.

        Raises:
            DfedgeError: it is not finite.
        """
        if constant.is_floating_point() and not torch.isfinite(constant).all():
            raise DfedgeError(f"the net's {name} holds values that are not finite; train it again")
        self.constants[key] = constant

    def refusal(self, what: str = "", instead: str = "") -> DfedgeError:
        """Make the error for the operation at work."""
        return refusal(self.site, what, instead)

    # -- operands -----------------------------------------------------------------------------

    def value(self, key: K) -> Value:
        """An operand that was computed from the image."""
        if key not in self.values:
            raise self.refusal(f"{self.site.what} of '{key}'", "what is computed from the image")
        if key in self.finished:
            left = self.finished[key]
            where = "at the end, with nothing after it but what is linear, without a bias"
            raise refusal(left.site, instead=where if left.linear else "")
        return self.values[key]

    def shape(self, key: K) -> Shape:
        """Of the operation that an operand comes from."""
        return self.nodes[self.value(key).number].shape

    def weights(self, key: K) -> Tensor:
        """An operand that is a constant, in float."""
        if key not in self.constants:
            raise self.refusal(f"{self.site.what} with weights that are computed", "constants")
        return self.real(self.constants[key])

    def real(self, constant: Tensor) -> Tensor:
        """A constant in float."""
        if constant.is_complex():
            raise self.refusal(f"{self.site.what} with complex numbers", "real ones")
        return constant.float()

    def check_size(self, count: int) -> None:
        """Refuse a result of more values than any net for a device has.

        Raises:
            DfedgeError: naming the operation.
        """
        if count > MOST_VALUES:
            what = f"{self.site.what} with a result of {count:,} values"
            raise self.refusal(what, f"at most {MOST_VALUES:,}")

    def check_shape(self, shape: Shape) -> None:
        """Refuse a result without values, or with too many."""
        if min(shape) < 1:
            raise self.refusal(f"{self.site.what} with a result {list(shape)}", "larger images")
        self.check_size(math.prod(shape))

    def add(
        self,
        op: Op,
        given: Sequence[K],
        shape: Shape,
        dims: tuple[int, ...] | None = None,
        **rest: Any,
    ) -> None:
        """Put an operation behind the others; its result is the value at work.

        Args:
            dims: of the result as the foreign net sees it; default: its shape.
        """
        self.check_shape(shape)
        reads = tuple(self.value(key).number for key in given)
        node = ForeignNode(op, self.site.name, reads, shape, where=self.site.line, **rest)
        if len(node.bias) not in (0, shape[0]):
            what = f"{self.site.what} with {len(node.bias)} numbers"
            raise self.refusal(what, f"{shape[0]}, one a channel")
        if not all(bool(torch.isfinite(part).all()) for part in (node.weight, node.bias)):
            raise self.refusal(f"{self.site.what} with numbers that are not finite", "finite ones")
        self.nodes.append(node)
        self.values[self.key] = Value(len(self.nodes) - 1, shape if dims is None else dims)
