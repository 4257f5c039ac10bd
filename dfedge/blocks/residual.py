"""``residual``: two convolutions, and the input added, through a 1 x 1 one where
its shape is another.
"""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, first, same
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """The first has the stride; the input goes through a 1 x 1 one where its shape is another."""
    lower = first(block, shape, block.channels)
    inner = lower, same(lower.output, block.channels, block.sides)
    if lower.output == shape:
        return inner
    return (*inner, same(shape, block.channels, (1, 1), block.stride))


KIND = Kind(convs, adds=2)
