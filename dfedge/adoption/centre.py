"""A convolution of any padding as one of "same" padding, which a block that learns has.

Padding of another kind than `dfedge.blocks.kind` knows is that of a larger kernel, with zeros in
its first or last rows and columns.  Taps that begin at zero learn too.
"""

from dataclasses import replace

import torch.nn.functional as F

from dfedge.adoption.graph import ForeignNode, Shape, steps
from dfedge.blocks.block import LONGEST_SIDE, LONGEST_STRIDE
from dfedge.blocks.kind import least_pads, same_pads


class UnlearnableError(Exception):
    """Why an operation cannot be a part of a block that learns."""


def sides(node: ForeignNode, given: Shape, own: bool = False) -> tuple[int, int]:
    """Height and width of the least kernel with "same" padding that holds this one.

    Output i of ``ceil(side / stride)`` sees inputs ``stride i + j - pad``, j below the kernel's
    side; of "same" padding (K - 1) // 2 lie before and K // 2 behind.

    Args:
        given: shape of what the convolution reads.
        own: its block has its padding, so that its kernel is its own.

    Raises:
        UnlearnableError: there is none.
    """
    (kh, kw), (down, across), (top, _, left, _) = node.kernel, steps(node.stride), node.pads
    if down != across:
        raise UnlearnableError(f"has strides {down} and {across}: a block that learns has one")
    found = tuple(max(2 * pad + 1, 2 * (k - 1 - pad)) for k, pad in ((kh, top), (kw, left)))
    if own:
        found = kh, kw
    if down > LONGEST_STRIDE or max(found) > LONGEST_SIDE:
        raise UnlearnableError(
            f"has kernel {kh} x {kw}, padding {top}, stride {down}: a block that learns has a "
            f"kernel of at most {LONGEST_SIDE} with half of it as padding, and a stride of at most "
            f"{LONGEST_STRIDE}"
        )
    if node.shape[1:] != (-(-given[1] // down), -(-given[2] // across)):
        raise UnlearnableError(
            f"has kernel {kh} x {kw}, padding {top}: a block that learns has half of its kernel as "
            "padding, so that stride alone makes its map smaller"
        )
    return found[0], found[1]


def has_least_pads(node: ForeignNode, given: Shape) -> bool:
    """Whether it is padded as a block with `least_pads` is, and not as one without."""
    rows, columns = (
        least_pads(side, kernel, stride)
        for side, kernel, stride in zip(given[1:], node.kernel, steps(node.stride), strict=True)
    )
    return node.pads == (*rows, *columns) != same_pads(node.kernel)


def centred(node: ForeignNode, kernel: tuple[int, int], own: bool = False) -> ForeignNode:
    """The same convolution with a kernel of these sides; see `sides`.  One of 1 x 1 stays."""
    if node.kernel == (1, 1) or own:
        return node
    (kh, kw), (height, width), pads = node.kernel, kernel, same_pads(kernel)
    above, before = pads[0] - node.pads[0], pads[2] - node.pads[2]
    around = (before, width - kw - before, above, height - kh - above)
    return replace(node, weight=F.pad(node.weight, around), kernel=kernel, pads=pads)
