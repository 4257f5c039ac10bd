"""``conv``: one convolution."""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, first
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """The convolution itself."""
    return (first(block, shape, block.channels),)


KIND = Kind(convs, plane=True)
