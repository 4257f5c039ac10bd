"""The integer semantics: worked examples, the stock rendering against the definitions, bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfedge.errors import DfedgeError
from dfedge.int8 import ops, stock
from dfedge.int8.bounds import LayerSize, check_sizes
from dfedge.int8.rounding import GOLDEN, advance, dither
from dfedge.int8.scales import Scales, activation_shift, score_shifts


def ints(*values: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def test_activation_rounds_half_up_and_saturates() -> None:
    x = torch.ones((1, 1, 1, 1), dtype=torch.int8)
    w = torch.zeros((1, 1, 6), dtype=torch.int8)
    # (b + 4) >> 3 of 3, 4, 11, 12, -50 and 5000.
    h = ops.conv_relu(x, w, ints(3, 4, 11, 12, -50, 5000), 3)
    assert h.flatten().tolist() == [0, 1, 1, 2, 0, 127]


def test_pool_counts_what_lies_outside_as_zero() -> None:
    x = ints(*range(9), dtype=torch.int8).reshape(1, 3, 3, 1)
    # Cells of 2 x 2 over 3 x 3: sums 0+1+3+4, 2+5, 6+7, 8; each (2 s + 4) // 8.
    assert ops.pool_cells(x, 2).tolist() == [[2, 2, 3, 2]]


def test_contrast_pushes_from_the_nearest_wrong_anchor_and_pulls_to_the_right_one() -> None:
    anchors = ints(0, 0, 10, 0, 0, 20, dtype=torch.int8).reshape(3, 2)
    live = torch.ones(3, dtype=torch.int8)
    p = ints(6, 0, dtype=torch.int8).reshape(1, 2)
    scores = ops.anchor_scores(p, anchors)
    assert scores.tolist() == [[0, 20, -400]]  # 2*60 - 100; -20^2
    c, e = ops.contrast(scores, anchors, ints(0), live, 0)
    assert c.tolist() == [[1, -1, 0]]
    assert e.tolist() == [[10, 0]]  # the nearest wrong anchor minus the right one


def test_margin_is_in_sixteenths_of_the_separation() -> None:
    anchors = ints(0, 10, dtype=torch.int8).reshape(2, 1)
    live, p = torch.ones(2, dtype=torch.int8), ints(3, dtype=torch.int8).reshape(1, 1)
    scores = ops.anchor_scores(p, anchors)  # 0 and 60 - 100: the lead is 40, D is 100
    active = [bool(ops.contrast(scores, anchors, ints(0), live, m)[0].any()) for m in (6, 7)]
    assert active == [False, True]  # 16 * 40 = 640 against 600 and 700


def test_class_that_is_not_live_is_no_rival() -> None:
    anchors = ints(0, 1, 50, dtype=torch.int8).reshape(3, 1)
    live = ints(1, 0, 1, dtype=torch.int8)
    scores = ops.anchor_scores(ints(40, dtype=torch.int8).reshape(1, 1), anchors)
    c, _ = ops.contrast(scores, anchors, ints(0), live, 5)
    assert c.tolist() == [[1, 0, -1]]
    alone, error = ops.contrast(scores, anchors, ints(0), ints(1, 0, 0, dtype=torch.int8), 5)
    assert not alone.any()
    assert not error.any()


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


SIDES = st.integers(1, 7)


@st.composite
def layers(draw: st.DrawFn) -> dict[str, torch.Tensor | int]:
    """A random layer with a random batch, its error and its rates."""
    seed = draw(st.integers(0, 2**31))
    g = torch.Generator().manual_seed(seed)
    batch, height, width = draw(st.integers(1, 4)), draw(SIDES), draw(SIDES)
    c, o, k = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.sampled_from([1, 3, 5]))
    classes = draw(st.integers(1, 6))
    cells = draw(st.integers(1, min(height, width)))

    def rand(low: int, high: int, *shape: int, dtype: torch.dtype = torch.int8) -> torch.Tensor:
        return torch.randint(low, high + 1, shape, generator=g, dtype=dtype)

    return {
        "x": rand(0, 127, batch, height, width, c),
        "w": rand(-127, 127, k * k, c, o),
        "b": rand(-(1 << 20), 1 << 20, o, dtype=torch.int32),
        "shift": draw(st.integers(0, 16)),
        "cells": cells,
        "anchors": rand(0, draw(st.sampled_from([1, 127])), classes, cells * cells * o),
        "y": rand(0, classes - 1, batch, dtype=torch.int32),
        "live": rand(0, 1, classes),
        "margin": draw(st.integers(0, 16)),
        "rate": torch.tensor(draw(st.integers(0, 24)), dtype=torch.int32),
        "phase": torch.tensor(draw(st.integers(0, 65535)), dtype=torch.int32),
    }


@settings(max_examples=150, deadline=None)
@given(layers())
def test_stock_rendering_gives_the_definitions_bits(case) -> None:
    x, w, b, cells, anchors = (case[name] for name in ("x", "w", "b", "cells", "anchors"))
    h = ops.conv_relu(x, w, b, case["shift"])
    assert torch.equal(stock.conv_relu(x, w, b, case["shift"]), h)
    if min(h.shape[1:3]) > 1:
        assert torch.equal(stock.max_pool(h), ops.max_pool(h))
    p = ops.pool_cells(h, cells)
    assert torch.equal(stock.pool_cells(h, cells), p)
    scores = ops.anchor_scores(p, anchors)
    assert torch.equal(stock.anchor_scores(p, anchors), scores)
    c, e = ops.contrast(scores, anchors, case["y"], case["live"], case["margin"])
    c2, e2 = stock.contrast(scores, anchors, case["y"], case["live"], case["margin"])
    assert torch.equal(c, c2)
    assert torch.equal(e, e2)
    rate, phase = case["rate"], case["phase"]
    for name, args in {
        "conv_update": (x, h, e, w, rate, phase, cells),
        "bias_update": (h, e, b, rate, phase, cells),
        "anchor_update": (p, c, anchors, rate, phase),
    }.items():
        assert torch.equal(getattr(stock, name)(*args), getattr(ops, name)(*args)), name


@pytest.mark.parametrize("shift", [0, 1, 7, 15, 16, 17, 24])
def test_rounding_agrees_on_large_numbers_of_both_signs(shift: int) -> None:
    g = torch.Generator().manual_seed(shift)
    v = torch.randint(-(1 << 30), 1 << 30, (40, 9, 8), generator=g, dtype=torch.int32)
    s, phase = torch.tensor(shift, dtype=torch.int32), torch.tensor(777, dtype=torch.int32)
    found = stock.scaled_round(v, s, phase)
    assert torch.equal(found, ops.scaled_round(v, s, phase))
    exact = v.double() / 2**shift
    assert (found.double() - exact).abs().max() <= 1


def size(**changes: int) -> LayerSize:
    base = {"height": 32, "width": 32, "in_channels": 64, "channels": 64, "kernel": 3, "cells": 2,
            "margin": 5}  # fmt: skip
    return LayerSize(name="layer0", **(base | changes))


def test_sizes_within_the_bounds_pass() -> None:
    check_sizes([size()], classes=10, batch=128)


@pytest.mark.parametrize(
    ("changes", "batch", "what"),
    [
        ({"in_channels": 7400}, 1, "fan-in"),
        ({}, 130, "positions summed at batch 130 is 133,120, the integer step holds 132,104"),
        ({"channels": 1024}, 1, "features d of an anchor is 4,096"),
        ({"height": 200, "width": 200, "cells": 1}, 1, "pooling cell"),
        ({"score_shift": 12}, 1, "scores"),
    ],
)
def test_broken_bound_is_named(changes, batch: int, what: str) -> None:
    with pytest.raises(DfedgeError, match=what):
        check_sizes([size(**changes)], classes=10, batch=batch)


def test_largest_admitted_correlation_does_not_overflow() -> None:
    """127 * 127 at every one of the positions that the bound admits, plus the largest dither."""
    height, width = 257, 514  # 132,098 positions, just below 132,104
    x = torch.full((1, height, width, 1), 127, dtype=torch.int8)
    error, w = torch.full((1, 1), 127, dtype=torch.int8), torch.zeros((1, 1, 1), dtype=torch.int8)
    assert int(ops.correlation(x, x, error, w, 1)) == 127 * 127 * height * width
    s, phase = torch.tensor(24, dtype=torch.int32), torch.tensor(65535, dtype=torch.int32)
    # 2,130,608,642 + 16,776,960 = 2,147,385,602 < 2^31; its top byte is 127.
    assert int(ops.conv_update(x, x, error, w, s, phase, 1)) == -127
    assert int(stock.conv_update(x, x, error, w, s, phase, 1)) == -127


def test_shifts_follow_from_exponents() -> None:
    assert activation_shift(Scales(weight=8, activation=4), input_exponent=7) == 11
    # 2^(-2f)/d: f = 4, d = 128 and 256: the shorter anchor's score counts twice as much.
    assert score_shifts([128, 256], [4, 4]) == [1, 0]
