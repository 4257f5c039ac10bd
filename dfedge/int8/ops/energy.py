"""Goodness as energy (label-plane form): wrong labels drawn, energies compared, maps normalised.

Copies of a sample stand copy-major, [(1 + N) B, ...], the right label's first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.ops.values import (
    ACTIVATION_MAX,
    ENERGY_MARGIN_UNIT,
    ENERGY_SHIFT,
    NORM_LEVELS,
)
from dfedge.int8.rounding import DITHER_BITS, dither, round_half_up


def norm_limits(norm: int) -> Tensor:
    """int32 [255], ``norm // j^2``: a map's multiplier is how many of them its energy is within."""
    limits = [min(norm // (j * j), (1 << 31) - 1) for j in range(1, NORM_LEVELS + 1)]
    return torch.tensor(limits, dtype=torch.int32)


@custom_op("dfedge::draw_rivals", mutates_args=())
def draw_rivals(y: Tensor, live: Tensor, count: int, phase: Tensor) -> Tensor:
    """Labels shown with each sample: int8 one-hots [(1 + count) B, K], the right one first.

    Wrong labels are the live ones at rank ``(u m) >> 16`` of the m that are live and wrong, u from
    the step's dither.  Where m is 0 a row is all zeros: a copy that no label enters.
    """
    right = F.one_hot(y.long(), len(live)).int()
    wrong = live.int() * (1 - right)
    rank = wrong.cumsum(1)  # 1, 2, ... at the labels that may be drawn
    u = dither((count, len(y)), phase)
    wanted = ((u * wrong.sum(1)) >> DITHER_BITS) + 1  # [count, B]
    drawn = ((rank[None] == wanted[:, :, None]) * wrong).reshape(-1, len(live))
    return torch.cat([right, drawn]).to(torch.int8)


@draw_rivals.register_fake
def _(y: Tensor, live: Tensor, count: int, phase: Tensor) -> Tensor:
    return live.new_empty(((1 + count) * len(y), len(live)))


@custom_op("dfedge::select_rows", mutates_args=())
def select_rows(shown: Tensor, rows: Tensor) -> Tensor:
    """One-hots int8 [M, K] times rows int8 [K, d], values 0..127: int8 [M, d]."""
    return (shown.double() @ rows.double()).to(torch.int8)


@select_rows.register_fake
def _(shown: Tensor, rows: Tensor) -> Tensor:
    return rows.new_empty((shown.shape[0], rows.shape[1]))


@custom_op("dfedge::energy", mutates_args=())
def energy(h: Tensor) -> Tensor:
    """Sum of squares of each map: int8 [M, H, W, O] -> int32 [M]."""
    return h.double().square().sum((1, 2, 3)).to(torch.int32)


@energy.register_fake
def _(h: Tensor) -> Tensor:
    return h.new_empty(h.shape[0], dtype=torch.int32)


@custom_op("dfedge::coarse", mutates_args=())
def coarse(g: Tensor, shift: int) -> Tensor:
    """Numbers from 0 on in larger units: int32, ``g >> shift``."""
    return g >> shift


@coarse.register_fake
def _(g: Tensor, shift: int) -> Tensor:
    return torch.empty_like(g)


@custom_op("dfedge::contrast_energy", mutates_args=())
def contrast_energy(g: Tensor, shown: Tensor, count: int, margin: int) -> Tensor:
    """Which way each copy moves: int8 [M], -1 raises its energy, +1 lowers it, 0 leaves it.

    With energies in units of 2^10, y the right copy and k* the wrong one of highest energy (the
    first among equals), a sample is active when ``256 (g_k* - g_y) + margin (g_k* + g_y) > 0``.

    Args:
        g: int32 [(1 + N) B], `energy` of each copy.
        shown: int8 [(1 + N) B, K], `draw_rivals`.
        count: N.
    """
    unit = (g >> ENERGY_SHIFT).reshape(1 + count, -1)
    drawn = shown.int().sum(1).reshape(1 + count, -1)[1:]
    rivals = torch.where(drawn > 0, unit[1:], -1)
    best, index = rivals.max(0)
    violation = ENERGY_MARGIN_UNIT * (best - unit[0]) + margin * (best + unit[0])
    active = ((violation > 0) & (best >= 0)).int()
    worst = F.one_hot(index, len(rivals)).T.int() * active
    return torch.cat([-active[None], worst]).reshape(-1).to(torch.int8)


@contrast_energy.register_fake
def _(g: Tensor, shown: Tensor, count: int, margin: int) -> Tensor:
    return torch.empty_like(g, dtype=torch.int8)


@custom_op("dfedge::times", mutates_args=())
def times(h: Tensor, way: Tensor) -> Tensor:
    """The energy's error: each map int8 [M, H, W, O] times its -1, 0 or +1, int8 [M]."""
    return h * way[:, None, None, None]


@times.register_fake
def _(h: Tensor, way: Tensor) -> Tensor:
    return torch.empty_like(h)


@custom_op("dfedge::normalise", mutates_args=())
def normalise(h: Tensor, g: Tensor, limits: Tensor, shift: int) -> Tensor:
    """Each map brought to about the same energy: int8, ``min(127, (h m + 2^(shift-1)) >> shift)``.

    m, ``sqrt(norm / g)`` rounded down and at most 255, is the number of limits that g does not
    exceed: a root and a division made of comparisons.

    Args:
        h: int8 [M, H, W, O].
        g: int32 [M], its `energy`.
        limits: `norm_limits`.
    """
    m = (g[:, None] <= limits).sum(1).double()
    scaled = h.double() * m[:, None, None, None] * 2.0**-shift
    return round_half_up(scaled).clamp(max=ACTIVATION_MAX).to(torch.int8)


@normalise.register_fake
def _(h: Tensor, g: Tensor, limits: Tensor, shift: int) -> Tensor:
    return torch.empty_like(h)
