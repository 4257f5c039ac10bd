"""``gain``: every channel times a number of its own, an adopted net's features."""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """A depthwise kernel of one tap."""
    return (Conv(*shape, block.channels, (1, 1), depthwise=True),)


KIND = Kind(
    convs, strides=False, keeps_channels=True,
)  # fmt: skip
