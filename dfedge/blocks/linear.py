"""``linear``: every input to every output."""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind
from dfedge.plan import Conv, Shape


def convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    """A kernel as large as the map, without padding."""
    return (Conv(*shape, block.channels, shape[:2]),)


KIND = Kind(convs, strides=False, whole=True, plane=True)
