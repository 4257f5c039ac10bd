"""One block of a net, as its file says it."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from dfedge.errors import unknown_name
from dfedge.plan import Conv, Shape

if TYPE_CHECKING:
    from dfedge.blocks.kind import Kind

LONGEST_SIDE, LONGEST_STRIDE = 15, 4
"""Of a kernel, and its steps."""
Kernel = Annotated[int, Meta(ge=1, le=LONGEST_SIDE)]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One local learning unit, its goodness read off its output, then perhaps a pool.

    Attributes:
        channels: of its output.
        kind: of `dfedge.blocks.KINDS`.
        kernel: side of a square kernel, odd; its height where ``kernel_width`` is given.
        kernel_width: of a kernel that is not square; both may then be even (more padding behind).
        stride: of the first convolution.
        least_pads: that one has as few zeros as its output needs, as TensorFlow's "same" padding:
            of a stride of 2 none before its first row.
        wide: channels inside the block, for a kind that has them.
        pool: a 2 x 2 maximum, after the goodness was read.
        mean: hands on the mean of its whole map, which its anchors see too.
    """

    channels: Annotated[int, Meta(ge=1, le=4096)]
    kind: str = "conv"
    kernel: Kernel = 3
    kernel_width: Kernel | None = None  # not a tuple: msgspec 0.22 crashes on a union with one
    stride: Annotated[int, Meta(ge=1, le=LONGEST_STRIDE)] = 1
    wide: Annotated[int, Meta(ge=0, le=4096)] = 0
    pool: bool = False
    mean: bool = False
    least_pads: bool = False

    def __post_init__(self) -> None:
        made_of = self.made_of
        if self.kernel_width is None and self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd (same padding), got {self.kernel}")
        if made_of.wide != (self.wide > 0):
            least = "at least 1" if made_of.wide else "0"
            raise ValueError(f"wide: {least} for kind {self.kind}; got {self.wide}")
        if self.stride != 1 and not made_of.strides:
            raise ValueError(f"stride: 1 for kind {self.kind}; got {self.stride}")

    @property
    def made_of(self) -> "Kind":
        """The record of its kind.

        Raises:
            ValueError: there is none of this name.
        """
        from dfedge.blocks.kinds import KINDS  # whose files know blocks

        found = KINDS.find(self.kind)
        if found is None:
            raise ValueError(str(unknown_name("kind of block", self.kind, list(KINDS.all()))))
        return found

    @property
    def sides(self) -> tuple[int, int]:
        """Kernel height and width."""
        return self.kernel, self.kernel_width or self.kernel

    def convs(self, shape: Shape) -> tuple[Conv, ...]:
        """Its convolutions, for an input [H, W, C]."""
        return self.made_of.convs(self, shape)

    def output(self, shape: Shape) -> Shape:
        """Shape of its output before the pool."""
        convs = self.convs(shape)
        return convs[(self.made_of.adds or len(convs)) - 1].output
