"""What a kind of block is, and the convolution that most are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfedge.plan import Conv, Shape

if TYPE_CHECKING:
    from dfedge.blocks.block import Block


@dataclass(frozen=True)
class Kind:
    """A kind of block.

    Attributes:
        convs: (block, input shape [H, W, C]) -> the geometry of its convolutions, in order: at most
            three that follow one another.  Where ``adds`` is set and the input cannot be added as
            it is, one more: the 1 x 1 one that it goes through.
        adds: so many convolutions, then the block's input is added before the last ReLU; 0: it is
            not.
        wide: whether it takes `Block.wide`.
        strides: whether it takes a stride.
        keeps_channels: whether it has as many channels as it sees.
        whole: whether it sees its whole input at one position.
        plane: whether it may be the first under the label-plane form, whose image has two more
            channels.
    """

    convs: "Callable[[Block, Shape], tuple[Conv, ...]]"
    adds: int = 0
    wide: bool = False
    strides: bool = True
    keeps_channels: bool = False
    whole: bool = False
    plane: bool = False


def first(block: "Block", shape: Shape, channels: int, depthwise: bool = False) -> Conv:
    """The convolution of a block that has its stride, "same" padding around it."""
    pads = same_pads(block.sides)
    if block.least_pads:
        rows, columns = (
            least_pads(side, kernel, block.stride)
            for side, kernel in zip(shape[:2], block.sides, strict=True)
        )
        pads = (*rows, *columns)
    return Conv(*shape, channels, block.sides, block.stride, pads, depthwise)


def same(
    shape: Shape, channels: int, kernel: tuple[int, int], stride: int = 1, depthwise: bool = False
) -> Conv:
    """A convolution with "same" padding, more of it behind where it is odd."""
    return Conv(*shape, channels, kernel, stride, same_pads(kernel), depthwise)


def same_pads(kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    """Zeros of same padding: above, below, left, right."""
    height, width = kernel
    return (height - 1) // 2, height // 2, (width - 1) // 2, width // 2


def least_pads(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side that a result of side / stride, rounded up, needs."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
