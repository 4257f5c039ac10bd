"""What an integer operation is: a record of numbers, with all that is to be known of its kind.

One file holds one kind: its fields, the shapes that fit, what it computes, and what the C
interpreter reads of it.  A definition is written once, over an `Arithmetic`; the exact one and
those of the runtimes' own operators are handed in, so that a device reads these files without
torch.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from dfedge.limits import Channels, Natural, Side

Shape = tuple[Side, Side, Channels]
"""[H, W, C]."""
Fields = dict[str, int]
"""Of a structure in C, by name."""
MANY = (1 << 31) - 1


class Arithmetic(Protocol):
    """What definitions are written in; values are int8 [B, H, W, C] in 0..127.

    A wide value holds every sum of int32.
    """

    def wide(self, x: Any) -> Any:
        """The same numbers, wide."""

    def clip(self, total: Any, most: Any) -> Any:
        """Keep a wide value within 0..``most``, wide and of one number a channel."""

    def narrow(self, total: Any, shift: int) -> Any:
        """``clamp(total >> shift, 0, 127)``: int8."""

    def take(self, table: Any, x: Any) -> Any:
        """``table[x]``: int8 like x; table int8 [128]."""

    def take_each(self, table: Any, x: Any) -> Any:
        """``table[c, x]``: int8 like x; table int8 [C, 128]."""

    def convolve(
        self, x: Any, weight: Any, bias: Any, geometry: Sequence[int], end: Callable[[Any], Any]
    ) -> Any:
        """``end(conv(x, weight) + bias)``, whose argument is wide [..., O].

        Args:
            weight: int8 [kh*kw, C/groups, O]; depthwise [kh*kw, C, 1].
            geometry: kernel, stride down, pads above, below, left and right, depthwise, stride
                across, groups.
        """

    def window_sum(self, x: Any, geometry: Sequence[int]) -> Any:
        """Sums over what of windows lies inside, wide."""

    def by_place(self, numbers: Sequence[Sequence[int]]) -> Any:
        """Wide [1, H, W, 1] of the numbers of rows."""

    def window_max(self, x: Any, geometry: Sequence[int]) -> Any:
        """Maxima over windows; what lies outside is never the largest."""

    def pad(self, x: Any, pads: tuple[int, int, int, int], fill: int) -> Any:
        """With ``fill`` above, below, left and right."""

    def concat(self, parts: list[Any]) -> Any:
        """Channels side by side."""

    def select(self, x: Any, order: Any) -> Any:
        """Channels by number; order int32 [C']."""

    def gather(self, x: Any, rows: Any, columns: Any) -> Any:
        """Rows and columns by number; int32 [H'] and [W']."""


class Operation(msgspec.Struct, frozen=True, tag_field="operation"):
    """What operations of all kinds have.

    Attributes:
        name: of the node in the foreign graph.
        reads: numbers of the values that go in.
        shape: of what comes out.

    Of a kind:
        counts: how many values go in, at least and at most.
        in_place: it works value by value, and may write where it reads.
        windows: a row of its result needs as many rows of what goes in as its kernel is high;
            else one row.
        whole: it is never made row by row.
        by_channel: its second value may be one number a channel.
        wide_values: it holds wide maps on its way, and is better made for a few samples at a time.
    """

    name: str
    reads: tuple[Natural, ...]
    shape: Shape

    counts: ClassVar[tuple[int, int]] = (1, 1)
    in_place: ClassVar[bool] = False
    windows: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    by_channel: ClassVar[bool] = False
    wide_values: ClassVar[bool] = False

    @classmethod
    def kind(cls) -> str:
        """The kind's name, as in a manifest."""
        return str(cls.__struct_config__.tag)

    def fits(self, given: Sequence[Shape]) -> bool:
        """Whether the result's shape is that of these values, as many as `counts` admits."""
        raise NotImplementedError

    def constants(self, given: Sequence[Shape]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> type and shape of every tensor that it brings along; they lie in flash."""
        return {}

    def evaluate(self, math: Arithmetic, given: list[Any], constants: list[Any]) -> Any:
        """The definition."""
        raise NotImplementedError

    def fields(self) -> Fields:
        """What the C interpreter reads beside what all kinds have."""
        return {}
