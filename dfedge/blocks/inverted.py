"""``inverted``: a 1 x 1 convolution to ``wide`` channels, a depthwise one, a 1 x 1
one back, the input added.
"""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, same
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """To `Block.wide` channels and back."""
    widened = same(shape, block.wide, (1, 1))
    middle = same(widened.output, block.wide, block.sides, depthwise=True)
    return widened, middle, same(middle.output, block.channels, (1, 1))


KIND = Kind(
    convs, adds=3, wide=True, strides=False, keeps_channels=True,
)  # fmt: skip
