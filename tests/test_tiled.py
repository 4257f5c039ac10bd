"""The tiled rendering holds the bits of the definitions, however small its tiles are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfedge.int8 import ops
from dfedge.int8.ops.pooled import conv_update_pooled
from dfedge.int8.stock import tiled


@st.composite
def cases(draw: st.DrawFn) -> dict:
    """A convolution of any kernel, stride and padding, and tensors that fit it."""
    kh, kw, stride = (draw(st.integers(1, n)) for n in (5, 5, 3))
    pads = [draw(st.integers(0, k - 1)) for k in (kh, kh, kw, kw)]
    height, width = draw(st.integers(kh, 9)), draw(st.integers(kw, 9))
    depthwise = draw(st.booleans())
    batch, channels, out = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    g = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))

    def rand(low: int, high: int, *shape: int, dtype: torch.dtype = torch.int8) -> torch.Tensor:
        return torch.randint(low, high + 1, shape, generator=g, dtype=dtype)

    geometry = [kh, kw, stride, *pads, int(depthwise)]
    out = channels if depthwise else out
    rows = (height + pads[0] + pads[1] - kh) // stride + 1
    cols = (width + pads[2] + pads[3] - kw) // stride + 1
    cells = draw(st.integers(1, min(rows, cols)))
    return {
        "geometry": geometry,
        "x": rand(0, 127, batch, height, width, channels),
        "h": rand(-40, 127, batch, rows, cols, out).clamp(0, 127),
        "e": rand(-127, 127, batch, rows, cols, out),
        "error": rand(-127, 127, batch, cells * cells * out),
        "cells": cells,
        "w": rand(-127, 127, kh * kw, channels, 1 if depthwise else out),
        "b": rand(-4000, 4000, out, dtype=torch.int32),
        "shift": torch.tensor(draw(st.integers(0, 24)), dtype=torch.int32),
        "phase": torch.tensor(draw(st.integers(0, (1 << 16) - 1)), dtype=torch.int32),
    }


class Exactly(tiled.Tiled):
    """Tiles of the floor's size, whatever is alive beside them."""

    def _allowed(self, *alive: int) -> int:
        return self.floor


@pytest.mark.parametrize("floor", [1, 700, 1 << 20])
def test_tiles_of_any_size_give_the_definitions_bits(floor: int) -> None:
    by_tiles = Exactly(floor)

    @given(cases())
    @settings(max_examples=60, deadline=None)
    def check(case: dict) -> None:
        x, h, e, w, b = (case[name] for name in ("x", "h", "e", "w", "b"))
        shift, phase, geometry = case["shift"], case["phase"], case["geometry"]
        error, cells = case["error"], case["cells"]
        pairs = [
            (by_tiles.conv_sum(x, w, b, geometry), ops.conv_sum(x, w, b, geometry)),
            (by_tiles.conv_relu(x, w, b, 7, geometry), ops.conv_relu(x, w, b, 7, geometry)),
            (by_tiles.conv_back(e, w, geometry, *x.shape[1:3]),
             ops.conv_back(e, w, geometry, *x.shape[1:3])),
            (by_tiles.spread(error, h, cells), ops.spread(error, h, cells)),
            (by_tiles.conv_update(x, e, w, shift, phase, geometry),
             ops.conv_update(x, e, w, shift, phase, geometry)),
            (by_tiles.conv_update_pooled(x, error, h, cells, w, shift, phase, geometry),
             conv_update_pooled(x, error, h, cells, w, shift, phase, geometry)),
        ]  # fmt: skip
        for made, wanted in pairs:
            assert made.dtype == wanted.dtype
            assert torch.equal(made, wanted)

    check()


def test_tiles_cover_every_row_once_and_stay_within_what_is_allowed() -> None:
    # a row weighs 10: 2 samples of 4 rows fit into 80, 3 rows into 35, never less than one row
    assert [(t.b0, t.b1, t.r0, t.r1) for t in tiled.tiles(3, 4, 10, 80)] == [
        (0, 2, 0, 4), (2, 3, 0, 4),
    ]  # fmt: skip
    assert [(t.r0, t.r1) for t in tiled.tiles(1, 4, 10, 35)] == [(0, 3), (3, 4)]
    assert len(tiled.tiles(2, 4, 10, 1)) == 8
