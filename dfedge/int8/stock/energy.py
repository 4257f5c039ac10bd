"""As `dfedge.int8.ops.energy`."""

import torch
from torch import Tensor

from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    ENERGY_MARGIN_UNIT,
    ENERGY_SHIFT,
)
from dfedge.int8.rounding import DITHER_BITS, dither
from dfedge.int8.stock.goodness import first_of, one_hot
from dfedge.int8.stock.primitives import (
    I8,
    I32,
    constant,
    matmul_i32,
    rounded,
    shift_right,
)


def draw_rivals(y: Tensor, live: Tensor, count: int, phase: Tensor) -> Tensor:
    classes = live.shape[0]
    right = one_hot(y, classes)
    wrong = live.to(I32) * (1 - right)
    places = torch.arange(classes, dtype=I32)
    below = (places.reshape(-1, 1) <= places).to(I8)  # a running count as a product
    rank = matmul_i32(wrong.to(I8), below)
    u = dither((count, y.shape[0]), phase)
    wanted = shift_right(u * wrong.sum(1, dtype=I32), constant(DITHER_BITS)) + 1
    drawn = (rank == wanted.reshape(count, -1, 1)).to(I32) * wrong
    return torch.cat([right, drawn.reshape(-1, classes)]).to(I8)


def select_rows(shown: Tensor, rows: Tensor) -> Tensor:
    return matmul_i32(shown, rows).to(I8)


def energy(h: Tensor) -> Tensor:
    wide = h.to(I32)
    total: Tensor = (wide * wide).sum((1, 2, 3), dtype=I32)
    return total


def coarse(g: Tensor, shift: int) -> Tensor:
    return shift_right(g, constant(shift))


def contrast_energy(g: Tensor, shown: Tensor, count: int, margin: int) -> Tensor:
    unit = shift_right(g, constant(ENERGY_SHIFT)).reshape(1 + count, -1)
    drawn = shown.to(I32).sum(1, dtype=I32).reshape(1 + count, -1)[1:]
    rivals = (unit[1:] + 1) * (drawn > 0).to(I32) - 1
    best = rivals.amax(0, keepdim=True)
    violation = ENERGY_MARGIN_UNIT * (best - unit[:1]) + margin * (best + unit[:1])
    active = (violation > 0).to(I32) * (best >= 0).to(I32)
    worst = first_of(best, rivals, 0) * active
    return torch.cat([0 - active, worst]).reshape(-1).to(I8)


def times(h: Tensor, way: Tensor) -> Tensor:
    return (h.to(I32) * way.to(I32).reshape(-1, 1, 1, 1)).to(I8)


def normalise(h: Tensor, g: Tensor, limits: Tensor, shift: int) -> Tensor:
    m = (g.reshape(-1, 1) <= limits).to(I32).sum(1, dtype=I32)
    scaled = rounded(h.to(I32) * m.reshape(-1, 1, 1, 1), shift)
    return scaled.clamp(max=ACTIVATION_MAX).to(I8)
