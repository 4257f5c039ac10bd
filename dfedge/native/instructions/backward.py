"""How often the bodies of the loops run in ``src/update.c``, ``carry.c``, ``pool.c`` and others."""

from collections import Counter

from dfedge.native.instructions.forward import Counts
from dfedge.native.instructions.kernels import (
    CHANNELS,
    OUTPUTS,
    POSITIONS,
    Geometry,
    Kernels,
    parts,
)
from dfedge.native.instructions.unit import LayerInstructions

AT_ONCE = 16
"""``DFE_FEATURES_AT_ONCE``."""


def update(k: Kernels, c: Geometry, cells: bool, strip: bool = False) -> Counts:
    """``dfe_conv_update`` of one sample: every weight moves.

    Args:
        cells: the error is that of cells, not a map.
        strip: of the largest strip alone: a tap that reaches all, and a tile of outputs.
    """
    tiles = parts(c.channels, OUTPUTS)[: 1 if strip else None]
    if c.height == c.width == c.kernel_height * c.kernel_width == 1 and not c.depthwise:
        return Counter({
            "one": 1, "one.tile": len(tiles), "one.output": sum(tiles),
            "one.input": c.in_channels * len(tiles), "one.product": c.in_channels * sum(tiles),
        })  # fmt: skip
    found: Counts = Counter({"update": 1})
    inputs = [1] if c.depthwise else parts(c.in_channels, CHANNELS)
    down = [c.reached(ky, down=True) for ky in range(c.kernel_height)]
    across = [c.reached(kx, down=False) for kx in range(c.kernel_width)]
    for rows in [max(down)] if strip else down:
        for columns in [max(across)] if strip else across:
            for t in tiles:
                for s in inputs:
                    _tile(k, found, rows, columns, s, t, bool(c.depthwise), cells)
    return found


def _tile(
    k: Kernels, found: Counts, rows: int, columns: int, s: int, t: int, alone: bool, cells: bool
) -> None:
    positions = rows * columns
    full, rest = divmod(positions, POSITIONS)
    flushes = full + (rest > 0)
    found["update.tile"] += 1
    found["update.row"] += rows
    found["update.call"] += rows + flushes if columns else 0
    found["update.position"] += positions
    found["update.flush"] += flushes
    found["update.fill"] += -rest % 4
    _error(k, found, "update", positions, t, cells)
    found["update.channel"] += s
    found["update.weight"] += s * t
    found["update.four"] += s * -(-t // 4)
    if alone:
        found["update.alone"] += positions * t
    elif k.name == "plain":
        found["update.value"] += positions * s
        found["update.product"] += positions * s * t
    elif k.name == "simd32":
        pairs, both, quads = full * 8 + -(-rest // 2), -(-s // 2), -(-t // 4)
        found["update.errors"] += pairs * quads
        found["update.inputs"] += pairs * both
        found["update.quad"] += pairs * both * quads
        found["update.start"] += flushes * both * quads
    else:
        found["update.turned"] += positions * -(-s // 16)
        found["update.start"] += flushes * s
        found["update.quad"] += flushes * s * -(-t // 4)


def _error(k: Kernels, found: Counts, name: str, positions: int, t: int, cells: bool) -> None:
    """``dfe_error_row``: what is gated by h, or copied of a map."""
    if not cells:
        found[f"{name}.map"] += positions * t
        found[f"{name}.map_row"] += positions
        return
    wide, rest = divmod(t, 16) if k.name == "mve" else (0, t)
    found[f"{name}.gate16"] += positions * wide
    found[f"{name}.gate4"] += positions * (rest // 4)
    found[f"{name}.gate1"] += positions * (rest % 4)


def carried(k: Kernels, c: Geometry, cells: bool, signs: bool, row: bool = False) -> Counts:
    """``dfe_carry_at`` at every position of the input.

    Args:
        row: of the row alone that most taps reach.
    """
    found: Counts = Counter()
    hits = sum(c.reached(kx, down=False) for kx in range(c.kernel_width))
    down = sum(c.reached(ky, down=True) for ky in range(c.kernel_height))
    hits *= min(-(-c.kernel_height // c.stride), down) if row else down
    places = c.width if row else c.height * c.width
    tiles = parts(c.channels, OUTPUTS)
    for n in parts(c.in_channels, OUTPUTS):
        found["carry.place"] += places
        found["carry.row"] += places * c.kernel_height
        found["carry.tap"] += places * c.kernel_height * c.kernel_width
        if c.depthwise:
            found["carry.hit"] += hits
            _error(k, found, "carry", hits, n, cells)
            found["carry.signed" if signs else "carry.alone"] += hits * n
            continue
        for t in tiles:
            found["carry.hit"] += hits
            _error(k, found, "carry", hits, t, cells)
            _dots(k, found, hits, n, t, signs)
    return found


def _dots(k: Kernels, found: Counts, hits: int, n: int, t: int, signs: bool) -> None:
    if signs:
        found["carry.signed"] += hits * n * t
        found["carry.signed_row"] += hits * n
        hits, n = hits * n, 1
    if k.name == "simd32":
        pairs = hits * -(-n // 2)
        found["carry.pair"] += pairs
        found["carry.four"] += pairs * (t // 4)
        found["carry.one"] += pairs * (t % 4)
    else:
        found["carry.channel"] += hits * n
        if k.name == "plain":
            found["carry.product"] += hits * n * t


def inside(k: Kernels, c: Geometry, cells: bool, signs: bool, row: bool = False) -> Counts:
    """``dfe_carry_inside`` of one sample, or of one row of it."""
    found = carried(k, c, cells, signs, row)
    found["inside"] = 1
    found["inside.value"] = (1 if row else c.height) * c.width * c.in_channels
    return found


def below(
    k: Kernels,
    first: Counts,
    own: tuple[int, int, int],
    window: int,
    joined: Counts | None,
    rows: int | None = None,
) -> Counts:
    """``dfe_carry_below`` of one sample.

    Args:
        first: what the unit's first convolution carries down.
        own: shape of the map of the layer below.
        window: positions of its maximum; 1: it has none.
        joined: of a residual unit: what its skip carries; none: the error itself.
        rows: that come down; all of them unless a slice has fewer.
    """
    height, width, channels = own
    found = first + (joined or Counter())
    places = height * width // window
    if rows is not None:
        places = min(places, rows * width)
    found["below"] = 1
    found["below.row"] = height
    _error(k, found, "below", height * width, channels, True)
    found["below.place"] = places * -(-channels // OUTPUTS)
    found["below.down"] = places * channels
    found["below.joined"] = 0 if joined is None else places * channels
    if window > 1:
        found["below.pooled"] = places * channels
        found["below.corner"] = places * window * channels
    else:
        found["below.added"] = places * channels
    return found


def cells_of(shape: tuple[int, int, int], cells: int) -> Counts:
    """``dfe_pool_cells``."""
    height, width, channels = shape
    tiles, count = -(-channels // OUTPUTS), min(cells, height) * min(cells, width)
    return Counter({
        "cells": 1, "cells.cell": count * tiles, "cells.row": min(cells, width) * height * tiles,
        "cells.position": height * width * tiles, "cells.value": height * width * channels,
        "cells.mean": count * channels,
    })  # fmt: skip


def pooled(shape: tuple[int, int, int]) -> Counts:
    """``dfe_max_pool`` of one sample."""
    height, width, channels = shape
    places = (height // min(2, height)) * (width // min(2, width))
    return Counter({
        "pool": 1, "pool.place": places, "pool.tile": places * -(-channels // OUTPUTS),
        "pool.value": places * channels,
    })  # fmt: skip


def judged(classes: int, d: int) -> Counts:
    """``dfe_judge``."""
    return Counter({"judge": 1, "judge.class": classes, "judge.product": classes * d})


def contrasted(classes: int, d: int) -> Counts:
    """``dfe_contrast``."""
    return Counter({
        "contrast": 1, "contrast.class": classes, "contrast.product": classes * d,
        "contrast.value": d,
    })  # fmt: skip


def settled(d: int) -> Counts:
    """``dfe_settle`` of one sample that moves both anchors."""
    return Counter({"settle": 1, "settle.part": -(-d // AT_ONCE), "settle.value": d})


def handed_down(
    k: Kernels,
    unit: LayerInstructions,
    under: LayerInstructions,
    first: Counts,
    signs: bool,
    row: bool = False,
) -> Counts:
    """From a unit to the one under it.

    Args:
        first: what the unit's first convolution carries down.
        row: one row of the map alone.
    """
    joined: Counts | None = None
    if unit.row["joined"]:
        joined = carried(k, unit.skip, True, signs, row=row) if unit.skip else Counter()
    if under.row["mean"]:
        return below(k, first, (1, 1, under.features), 1, joined)
    return below(k, first, under.output, under.window, joined, rows=1 if row else None)
