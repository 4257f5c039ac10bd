"""The integer semantics: worked examples, the stock rendering against the definitions, bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfedge.errors import DfedgeError
from dfedge.int8 import ops, stock
from dfedge.int8.bounds import check_sizes
from dfedge.int8.ops.energy import norm_limits
from dfedge.int8.ops.values import NO_PULL
from dfedge.int8.rounding import GOLDEN, advance, dither
from dfedge.int8.scales import LayerScales, Scales, energy_shifts, score_shifts
from dfedge.plan import MAX_UPDATE_SHIFT, Conv, Layer, Plan


def ints(*values: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


FAR = 1 << 30
"""A separation that no two anchors have."""
POINT = [1, 1, 1, 0, 0, 0, 0, 0]
"""The geometry of a 1 x 1 convolution."""


def test_activation_rounds_half_up_and_saturates() -> None:
    x = torch.ones((1, 1, 1, 1), dtype=torch.int8)
    w = torch.zeros((1, 1, 6), dtype=torch.int8)
    # (b + 4) >> 3 of 3, 4, 11, 12, -50 and 5000.
    h = ops.conv_relu(x, w, ints(3, 4, 11, 12, -50, 5000), 3, POINT)
    assert h.flatten().tolist() == [0, 1, 1, 2, 0, 127]


def test_pool_counts_what_lies_outside_as_zero() -> None:
    x = ints(*range(9), dtype=torch.int8).reshape(1, 3, 3, 1)
    # Cells of 2 x 2 over 3 x 3: sums 0+1+3+4, 2+5, 6+7, 8; each (2 s + 4) // 8.
    assert ops.pool_cells(x, 2, 0).tolist() == [[2, 2, 3, 2]]
    assert ops.pool_cells(x, 2, 2).tolist() == [[8, 7, 13, 8]]


def test_contrast_pushes_from_the_nearest_wrong_anchor_and_pulls_to_the_right_one() -> None:
    anchors = ints(0, 0, 10, 0, 0, 20, dtype=torch.int8).reshape(3, 2)
    live = torch.ones(3, dtype=torch.int8)
    p = ints(6, 0, dtype=torch.int8).reshape(1, 2)
    scores = ops.anchor_scores(p, anchors)
    assert scores.tolist() == [[0, 20, -400]]  # 2*60 - 100; -20^2
    c, e = ops.contrast(scores, p, anchors, ints(0), live, 0, NO_PULL, FAR)
    # D = 100, v = 16 * 20 = 320, beyond 0 and 200: two eighths of the step.
    assert c.tolist() == [[2, -2, 0]]
    assert e.tolist() == [[20, 0]]  # twice the nearest wrong anchor minus the right one


def test_margin_is_in_sixteenths_of_the_separation() -> None:
    anchors = ints(0, 10, dtype=torch.int8).reshape(2, 1)
    live, p = torch.ones(2, dtype=torch.int8), ints(3, dtype=torch.int8).reshape(1, 1)
    scores = ops.anchor_scores(p, anchors)  # 0 and 60 - 100: the lead is 40, D is 100
    c = [ops.contrast(scores, p, anchors, ints(0), live, m, NO_PULL, FAR)[0] for m in (6, 7)]
    active = [bool(one.any()) for one in c]
    assert active == [False, True]  # 16 * 40 = 640 against 600 and 700


def test_class_that_is_not_live_is_no_rival() -> None:
    anchors = ints(0, 1, 50, dtype=torch.int8).reshape(3, 1)
    live = ints(1, 0, 1, dtype=torch.int8)
    p = ints(40, dtype=torch.int8).reshape(1, 1)
    scores = ops.anchor_scores(p, anchors)
    c, _ = ops.contrast(scores, p, anchors, ints(0), live, 5, NO_PULL, FAR)
    assert c.tolist() == [[8, 0, -8]]  # v = 16 * 1500 + 5 * 2500, beyond 14 * 2500
    only = ints(1, 0, 0, dtype=torch.int8)
    alone, error = ops.contrast(scores, p, anchors, ints(0), only, 5, 0, FAR)
    assert not alone.any()
    assert not error.any()


def test_pull_brings_an_active_sample_to_its_own_anchor_and_saturates() -> None:
    anchors = ints(10, 0, 0, 10, dtype=torch.int8).reshape(2, 2)
    live, p = torch.ones(2, dtype=torch.int8), ints(13, 9, dtype=torch.int8).reshape(1, 2)
    scores = ops.anchor_scores(p, anchors)
    # Label 1: A_k* - A_y = (10, -10), p - A_y = (13, -1), scores 160 and 80, D = 200;
    # v = 16 * 80 is beyond 400 j for j in 0..3: level 4.
    # Four times (10 + 3.25, -10 - 0.25) with a pull of 1/4, (16.5, -10.5) of 1/2, (23, -11) of 1.
    for pull, wanted in ((NO_PULL, [40, -40]), (2, [53, -41]), (1, [66, -42]), (0, [92, -44])):
        assert ops.contrast(scores, p, anchors, ints(1), live, 0, pull, FAR)[1].tolist() == [wanted]
    # Rightly classified by more than the margin: no pull either.
    assert not ops.contrast(scores, p, anchors, ints(0), live, 1, 0, FAR)[1].any()


def test_step_grows_with_the_violation_of_the_margin() -> None:
    anchors = ints(0, 40, dtype=torch.int8).reshape(2, 1)
    live, levels = torch.ones(2, dtype=torch.int8), []
    for p in range(0, 44, 4):  # label 0; t = (d_y - d_k*) / D = p / 20 - 1
        x = ints(p, dtype=torch.int8).reshape(1, 1)
        scores = ops.anchor_scores(x, anchors)
        c, _ = ops.contrast(scores, x, anchors, ints(0), live, 5, NO_PULL, FAR)
        levels.append(int(c[0, 0]))
    # Eighths of t + 5/16 passed, each begun one counting: t from -1 to 1 by 1/5.
    assert levels == [0, 0, 0, 0, 1, 3, 5, 6, 8, 8, 8]


def test_anchors_repel_until_they_are_apart() -> None:
    anchors = ints(0, 10, dtype=torch.int8).reshape(2, 1)
    live, p = torch.ones(2, dtype=torch.int8), ints(9, dtype=torch.int8).reshape(1, 1)
    scores = ops.anchor_scores(p, anchors)
    for separation, wanted in ((100, [[8, 0]]), (101, [[8, -8]])):  # D is 100
        c, e = ops.contrast(scores, p, anchors, ints(0), live, 3, NO_PULL, separation)
        assert c.tolist() == wanted
        assert e.tolist() == [[80]]  # level 8 times A_k* - A_y


def test_update_rounds_the_magnitude_and_is_exact_on_average() -> None:
    v = torch.full((16,), 5, dtype=torch.int32)
    phase, total = torch.tensor(0, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    for _ in range(1024):
        up, down = (ops.scaled_round(sign * v, torch.tensor(4), phase) for sign in (1, -1))
        assert torch.equal(up, -down)
        total += up
        phase = advance(phase)
    # 5 / 16 a step: 320 in 1024 steps; a Weyl sequence strays by less than log2(1024).
    assert (total - 320).abs().max() < 10


def test_dither_reaches_every_sixteenth_equally() -> None:
    phases = [(GOLDEN * i) & 0xFFFF for i in range(256)]
    seen = [int(dither((1,), torch.tensor(p, dtype=torch.int32))) >> 12 for p in phases]
    assert set(np.bincount(seen, minlength=16)) <= {15, 16, 17}


def rand(g: torch.Generator, low: int, high: int, *shape: int, dtype=torch.int8) -> torch.Tensor:
    """Random integers, the two ends drawn more often than chance would."""
    values = torch.randint(low, high + 1, shape, generator=g, dtype=torch.int64)
    extreme = torch.rand(shape, generator=g)
    values = torch.where(extreme < 0.1, torch.tensor(low), values)
    return torch.where(extreme > 0.9, torch.tensor(high), values).to(dtype)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Conv, torch.Generator]:
    """Any geometry: odd sizes, strides, uneven pads, depthwise or not."""
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    height = draw(st.integers(max(1, kernel[0] - pads[0] - pads[1]), 8))
    width = draw(st.integers(max(1, kernel[1] - pads[2] - pads[3]), 8))
    depthwise, c = draw(st.booleans()), draw(st.integers(1, 9))
    o = c if depthwise else draw(st.integers(1, 9))
    conv = Conv(height, width, c, o, kernel, draw(st.integers(1, 4)), pads, depthwise)
    return conv, torch.Generator().manual_seed(draw(st.integers(0, 2**31)))


SCALAR = {"dtype": torch.int32}


def agree(name: str, *args) -> torch.Tensor:
    """The operation's result, once the stock rendering was found to give the same bits."""
    wanted = getattr(torch.ops.dfedge, name)(*args)
    found = stock.decompositions()[getattr(torch.ops.dfedge, name).default](*args)
    for one, two in zip(
        *(r if isinstance(r, tuple) else (r,) for r in (wanted, found)), strict=True
    ):
        assert one.dtype == two.dtype, name
        assert torch.equal(one, two), name
    return wanted


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.integers(1, 3), st.integers(0, 16), st.integers(0, 24))
def test_convolution_stock_rendering_gives_the_definitions_bits(case, batch, shift, rate) -> None:
    conv, g = case
    geometry, rows = conv.geometry, 1 if conv.depthwise else conv.channels
    x = rand(g, 0, 127, batch, conv.height, conv.width, conv.in_channels)
    w = rand(g, -127, 127, conv.taps, conv.in_channels, rows)
    b = rand(g, -(1 << 20), 1 << 20, conv.channels, dtype=torch.int32)
    agree("conv_sum", x, w, b, geometry)
    h = agree("conv_relu", x, w, b, shift, geometry)
    assert h.shape[1:] == (conv.out_height, conv.out_width, conv.channels)
    e = rand(g, -127, 127, *h.shape)
    s, phase = torch.tensor(rate, **SCALAR), torch.tensor(shift * 4001, **SCALAR)
    assert agree("conv_update", x, e, w, s, phase, geometry).shape == w.shape
    v = agree("conv_back", e, w, geometry, conv.height, conv.width)
    assert v.shape == x.shape
    agree("gate", agree("narrow", v, shift), x)
    agree("signed_as", w, w.flip(0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(2, 7), st.integers(2, 7), st.data())
def test_pool_and_goodness_stock_renderings_give_the_definitions_bits(
    seed, batch, height, width, data
) -> None:
    g = torch.Generator().manual_seed(seed)
    o, classes = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 40))
    cells = data.draw(st.integers(1, min(height, width)))
    h = rand(g, 0, data.draw(st.sampled_from([2, 127])), batch, height, width, o)
    pooled = agree("max_pool", h)
    agree("unpool", rand(g, -127, 127, *pooled.shape), h)
    p = agree("pool_cells", h, cells, data.draw(st.integers(0, 7)))
    anchors = rand(g, 0, data.draw(st.sampled_from([1, 127])), classes, p.shape[1])
    y, live = rand(g, 0, classes - 1, batch, dtype=torch.int32), rand(g, 0, 1, classes)
    scores = agree("anchor_scores", p, anchors)
    margin, pull = data.draw(st.integers(0, 16)), data.draw(st.integers(0, NO_PULL))
    separation = data.draw(st.sampled_from([0, 5, 4000])) * p.shape[1]
    c, e = agree("contrast", scores, p, anchors, y, live, margin, pull, separation)
    own = agree("spread", e, h, cells)
    agree("add_errors", own, rand(g, -127, 127, *own.shape))
    s, phase = torch.tensor(data.draw(st.integers(0, 24)), **SCALAR), torch.tensor(777, **SCALAR)
    agree("anchor_update", p, c, anchors, s, phase)
    a = rand(g, -(1 << 22), 1 << 22, *h.shape, dtype=torch.int32)
    lifts = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 7))
    agree("add_relu", a, h, *lifts, 9)
    agree("add_relu", a, a.flip(0), *lifts, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 60), st.integers(1, 9), st.data())
def test_energy_stock_renderings_give_the_definitions_bits(seed, batch, k, count, data) -> None:
    g = torch.Generator().manual_seed(seed)
    y, live = rand(g, 0, k - 1, batch, dtype=torch.int32), rand(g, 0, 1, k)
    phase = torch.tensor(data.draw(st.integers(0, 65535)), **SCALAR)
    shown = agree("draw_rivals", y, live, count, phase)
    for row, label in zip(shown[batch:].reshape(count, batch, k).transpose(0, 1), y, strict=True):
        wrong = live.bool().clone()
        wrong[label] = False
        assert not row[:, ~wrong].any()
        assert (row.sum(1) == int(wrong.any())).all()
    rows = rand(g, 0, 127, k, 6)
    agree("select_rows", shown, rows)
    h = rand(g, 0, data.draw(st.sampled_from([1, 127])), len(shown), 5, 6, 3)
    energy = agree("energy", h)
    way = agree("contrast_energy", energy, shown, count, data.draw(st.integers(0, 64)))
    agree("times", h, way)
    agree("coarse", energy, data.draw(st.integers(0, 20)))
    limits = norm_limits(90 << data.draw(st.integers(0, 30)))
    agree("normalise", h, energy, limits, data.draw(st.integers(0, 9)))


def test_normalised_maps_have_about_the_same_energy() -> None:
    g = torch.Generator().manual_seed(0)
    h = torch.stack([rand(g, 0, peak, 8, 8, 16) for peak in (12, 25, 50, 100)])
    h = ops.normalise(h, ops.energy(h), norm_limits(1024 << 2 * (4 + 6)), 6)  # root mean square 2^4
    size = h.double().square().mean((1, 2, 3)).sqrt()
    assert ((size > 15) & (size < 17)).all()


def test_hardest_of_the_drawn_labels_is_pushed_down_and_the_right_one_up() -> None:
    shown = torch.eye(4, dtype=torch.int8)[[0, 2, 3]]
    energies = ints(9 << 10, 10 << 10, 12 << 10)
    assert ops.contrast_energy(energies, shown, 2, 0).tolist() == [-1, 0, 1]
    # 256 (12 - 13) + m (12 + 13) > 0 from m = 11 on.
    energies = ints(13 << 10, 10 << 10, 12 << 10)
    assert not ops.contrast_energy(energies, shown, 2, 10).any()
    assert ops.contrast_energy(energies, shown, 2, 11).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("shift", [0, 1, 7, 15, 16, 17, 24, 25, 30, 40, 48])
def test_rounding_agrees_on_large_numbers_of_both_signs(shift: int) -> None:
    g = torch.Generator().manual_seed(shift)
    v = torch.randint(-(1 << 30), 1 << 30, (40, 9, 8), generator=g, dtype=torch.int32)
    s, phase = torch.tensor(shift, dtype=torch.int32), torch.tensor(777, dtype=torch.int32)
    found = stock.update.scaled_round(v, s, phase)
    assert torch.equal(found, ops.scaled_round(v, s, phase))
    exact = v.double() / 2**shift
    assert (found.double() - exact).abs().max() <= 1
    assert found.any() == (shift < 48)


def test_the_largest_shift_freezes_whatever_an_int32_holds() -> None:
    v = torch.tensor([(1 << 31) - 1, -(1 << 31) + 1], dtype=torch.int32)
    for phase in range(0, 1 << 16, 257):
        moved = ops.scaled_round(v, torch.tensor(MAX_UPDATE_SHIFT), torch.tensor(phase))
        assert not moved.any()


def test_an_update_beyond_the_dithers_range_moves_as_often_as_it_should() -> None:
    v, shift = torch.full((1 << 16,), 3 << 26, dtype=torch.int32), torch.tensor(30)
    moved = ops.scaled_round(v, shift, torch.tensor(0)).double()
    assert abs(moved.mean().item() - 3 / 16) < 0.001  # 3 2^26 / 2^30; thresholds are even


def plan(**changes) -> Plan:
    """One 3 x 3 layer of 64 channels at 32 x 32."""
    of_layer = {name: changes.pop(name) for name in ("cells", "score_shift") if name in changes}
    side = changes.pop("side", 32)
    base = {"in_channels": 64, "channels": 64, "kernel": (3, 3), "pads": (1, 1, 1, 1)}
    conv = Conv(side, side, **(base | changes))
    return Plan((Layer((conv,), **({"cells": 2, "margin": 5} | of_layer)),), 10)


def test_sizes_within_the_bounds_pass() -> None:
    check_sizes(plan(), batch=128)


@pytest.mark.parametrize(
    ("changes", "batch", "what"),
    [
        ({"in_channels": 15000}, 1, "layer0: fan-in"),
        ({}, 130, "positions summed at batch 130 is 133,120, the integer step holds 132,104"),
        ({"channels": 1024}, 1, "features d of an anchor is 4,096"),
        ({"side": 200, "cells": 1}, 1, "pooling cell"),
        ({"score_shift": 12}, 1, "scores"),
    ],
)
def test_broken_bound_is_named(changes, batch: int, what: str) -> None:
    with pytest.raises(DfedgeError, match=what):
        check_sizes(plan(**changes), batch=batch)


def test_largest_admitted_correlation_does_not_overflow() -> None:
    """127 * 127 at every one of the positions that the bound admits, plus the largest dither."""
    height, width = 257, 514  # 132,098 positions, just below 132,104
    x = torch.full((1, height, width, 1), 127, dtype=torch.int8)
    w = torch.zeros((1, 1, 1), dtype=torch.int8)
    assert int(ops.correlation(x, x, POINT)) == 127 * 127 * height * width
    s, phase = torch.tensor(24, dtype=torch.int32), torch.tensor(65535, dtype=torch.int32)
    # 2,130,608,642 + 16,776,960 = 2,147,385,602 < 2^31; its top byte is 127.
    assert int(agree("conv_update", x, x, w, s, phase, POINT)) == -127


def at(*exponents: int, sharpness: float = 1.0) -> list[LayerScales]:
    return [LayerScales((Scales(0, f),), f, sharpness=sharpness) for f in exponents]


def test_shifts_follow_from_exponents() -> None:
    # 2^(-2f)/d: f = 4, d = 128 and 256: the shorter anchor's score counts twice as much.
    assert score_shifts([128, 256], at(4, 4)) == [1, 0]
    assert score_shifts([128, 256, 64], at(4, 4, 9)) == [9, 8, 0]
    assert score_shifts([128, 256, 64], at(4, 4, 9), counted=(0, 1)) == [1, 0, 0]
    # What counts 11 times as much is shifted by 3 more, to the nearest power of two.
    weighed = [*at(4, sharpness=11.0), *at(4)]
    assert score_shifts([128, 128], weighed) == [3, 0]
    assert energy_shifts([128, 256], [4, 4]) == [0, 1]
