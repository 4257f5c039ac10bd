"""Updates that take the pooled error itself: the error of a map need not exist as a whole.

Exporters put them in the place of `spread` and what reads it; their meaning is those two.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.pooling import spread
from dfedge.int8.ops.update import conv_update


@custom_op("dfedge::conv_update_pooled", mutates_args=())
def conv_update_pooled(
    x: Tensor,
    error: Tensor,
    h: Tensor,
    cells: int,
    w: Tensor,
    shift: Tensor,
    phase: Tensor,
    geometry: Sequence[int],
) -> Tensor:
    """``conv_update(x, spread(error, h, cells), w, shift, phase, geometry)``."""
    return conv_update(x, spread(error, h, cells), w, shift, phase, geometry)


@conv_update_pooled.register_fake
def _(
    x: Tensor,
    error: Tensor,
    h: Tensor,
    cells: int,
    w: Tensor,
    shift: Tensor,
    phase: Tensor,
    geometry: Sequence[int],
) -> Tensor:
    return torch.empty_like(w)
