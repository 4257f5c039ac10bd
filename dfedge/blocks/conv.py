"""``conv``: one convolution."""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, same
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """The convolution itself."""
    return (same(shape, block.channels, block.sides, block.stride),)


KIND = Kind(convs, plane=True)
