"""The longest slice of a call: what passes at most between two calls of ``net_go``."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from dfedge.native.instructions.backward import (
    carried,
    cells_of,
    contrasted,
    handed_down,
    inside,
    judged,
    pooled,
    settled,
    update,
)
from dfedge.native.instructions.forward import Counts, convolution
from dfedge.native.instructions.kernels import LEAST, OUTPUTS, Geometry, Kernels
from dfedge.native.instructions.trunk import slices as trunk_slices
from dfedge.native.instructions.unit import SIGN_CONCORDANT, LayerInstructions, units
from dfedge.native.table import ProgramTable

PANEL_WIDTH = 4
"""``DFE_PANEL_WIDTH``."""


def part(
    k: Kernels, c: Geometry, groups: int = 1, scaled: bool = False, skip: int | None = None
) -> Counts:
    """As many outputs of a convolution as ``dfe_conv_slice`` gives a slice."""
    words = c.channels % 4 == 0
    if groups > 1 and not c.depthwise:
        own, each = c.channels // groups, c.in_channels // groups
        groups = min(groups, -(-OUTPUTS // own) + 1)
        some = replace(c, channels=own * groups, in_channels=each * groups)
        return convolution(k, some, groups, scaled, skip)
    packed = not c.depthwise and c.positions >= LEAST
    some = replace(c, channels=min(c.channels, PANEL_WIDTH if packed else OUTPUTS))
    return convolution(k, some, groups, scaled, skip, words)


def slices(k: Kernels, table: ProgramTable, learns: bool) -> Iterator[Counts]:
    """One of each kind that a call has, the longest of its kind."""
    program, all_units = table.program, units(table)
    classes, waits = program["classes"], program["feedback"] > 0
    signs = program["feedback"] == SIGN_CONCORDANT
    yield Counter({"call.class": classes, "answer": classes})
    yield from trunk_slices(k, table, part)
    for i, unit in enumerate(all_units):
        cells = cells_of(unit.output, unit.row["cells"])
        for j, c in enumerate(unit.convs[: unit.chain]):
            joins = j == unit.chain - 1 and unit.row["joined"]
            skip = (unit.skip.in_channels if unit.skip else 0) if joins else None
            yield Counter({"layer": 1, "layer.conv": 1}) + part(k, c, skip=skip)
        yield (cells if unit.row["mean"] else Counter()) + (
            pooled(unit.output) if unit.row["pool"] else Counter()
        )
        if not learns or i < program["cut"]:
            yield cells + judged(classes, unit.features)
            continue
        yield (
            Counter({"learn": 1})
            + cells
            + contrasted(classes, unit.features)
            + settled(unit.features)
        )
        for j, c in enumerate(unit.convs):
            for error in (True, False):
                yield Counter({"learn.conv": 1}) + update(k, c, error, strip=True)
                if 0 < j < unit.chain:
                    yield inside(k, c, error, signs, row=True)
        if waits and i > program["cut"]:
            yield _down(k, unit, all_units[i - 1], signs)


def _down(k: Kernels, unit: LayerInstructions, under: LayerInstructions, signs: bool) -> Counts:
    first = carried(k, unit.convs[0], True, signs, row=True)
    first |= carried(k, unit.convs[0], False, signs, row=True)
    return handed_down(k, unit, under, first, signs, row=True)
