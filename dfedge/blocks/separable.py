"""``separable``: a depthwise convolution, then a 1 x 1 one."""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, first, same
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """The depthwise one has the stride."""
    middle = first(block, shape, shape[2], depthwise=True)
    return middle, same(middle.output, block.channels, (1, 1))


KIND = Kind(convs)
