"""Whole calls of an exported net: an upper bound of the instructions of each.

A bound is the sum of how often the bodies of all loops run, times the instructions of each
(instructions.toml), where every input is other than zero, every sample is misjudged and every
weight moves.  Instructions are not cycles: how long one takes depends on processor, caches and
flash.  What a medium's functions (read, program, erase, flush) take comes to it.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import resources
from math import ceil
from typing import NamedTuple

import msgspec

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
from dfedge.native.instructions.kernels import SETS, Kernels
from dfedge.native.instructions.slices import slices
from dfedge.native.instructions.trunk import checked, trunk, values
from dfedge.native.instructions.unit import SIGN_CONCORDANT, LayerInstructions, units
from dfedge.native.store import slot_bytes
from dfedge.native.table import ProgramTable

TABLE = "instructions.toml"
MARGIN = 11, 10
"""By which a bound lies above what the constants give: a compiler lays loops out otherwise."""
ALONE = 27, 20
"""More for a slice: one kernel stands alone there, and no other one's slack makes up for a shape
that the table knows little of."""
BETWEEN = 300
"""Of a slice, beside what it computes: read off the code of ``dfe_go`` and ``net_go``."""
HEADER, SLOTS, ROOM = 128, 2, 128
ROUNDS, HALVINGS, FURTHEST = 64, 6, 32
"""Of ``src/store.h`` and ``src/place.c``."""


class KnownCounts(NamedTuple):
    """Samples that a new class is placed among, and those that judge."""

    among: int
    judging: int


@cache
def constants() -> dict[str, dict[str, float]]:
    """Instructions of each body, by set of kernels."""
    text = resources.files(__package__).joinpath(TABLE).read_bytes()
    return msgspec.toml.decode(text, type=dict[str, dict[str, float]], strict=False)


def instructions(k: Kernels, counts: Counts) -> int:
    """The bound for a set of kernels."""
    each = constants()[k.name]
    total = sum(each[name] * count for name, count in counts.items() if count)
    return ceil(total * MARGIN[0] / MARGIN[1])


def _begun(table: ProgramTable, samples: int) -> Counts:
    return checked(table) + Counter(
        {
            "begin": 1,
            "begin.layer": len(table.layers),
            "begin.conv": len(table.convs),
            "begin.value": samples,
            "call": 1,
            "call.class": table.program["classes"],
        }
    )


def _forward(k: Kernels, unit: LayerInstructions) -> Counts:
    found: Counts = Counter({"layer": 1, "layer.conv": len(unit.convs)})
    for c in unit.convs[: unit.chain - 1]:
        found += convolution(k, c)
    inputs = None
    if unit.row["joined"]:
        inputs = unit.skip.in_channels if unit.skip else 0
    return found + convolution(k, unit.convs[unit.chain - 1], skip=inputs)


def _handed(unit: LayerInstructions) -> Counts:
    found: Counts = Counter()
    if unit.row["mean"]:
        found += cells_of(unit.output, unit.row["cells"])
    return found + (pooled(unit.output) if unit.row["pool"] else Counter())


def _passed(k: Kernels, unit: LayerInstructions, sees: bool) -> Counts:
    found = _forward(k, unit) + _handed(unit)
    if sees:
        found += cells_of(unit.output, unit.row["cells"])
    return found


def _frozen(k: Kernels, table: ProgramTable, unit: LayerInstructions) -> Counts:
    """It answers, and does not learn."""
    if not unit.row["counted"]:
        return _passed(k, unit, False)
    return _passed(k, unit, True) + judged(table.program["classes"], unit.features)


def infer(k: Kernels, table: ProgramTable) -> Counts:
    """``dfe_infer`` of one sample."""
    found = _begun(table, values(table.program)) + trunk(k, table)
    for unit in units(table):
        found += _frozen(k, table, unit)
    return found


def features(k: Kernels, table: ProgramTable) -> Counts:
    """``dfe_features`` of one sample, without its latent."""
    found = _begun(table, values(table.program)) + trunk(k, table)
    found["features"] = len(table.layers)
    for unit in units(table):
        found += _passed(k, unit, True)
    return found


def step(k: Kernels, table: ProgramTable) -> Counts:
    """``dfe_step`` of one sample."""
    program, all_units = table.program, units(table)
    found = _begun(table, values(program)) + trunk(k, table)
    waits, signs = program["feedback"] > 0, program["feedback"] == SIGN_CONCORDANT
    for i, unit in enumerate(all_units):
        if i < program["cut"]:
            found += _frozen(k, table, unit)
            continue
        found += Counter({"learn": 1, "learn.conv": len(unit.convs)})
        found += _forward(k, unit) + cells_of(unit.output, unit.row["cells"])
        found += contrasted(program["classes"], unit.features) + settled(unit.features)
        last = i == len(all_units) - 1
        if waits and i > program["cut"]:
            found += _down(k, unit, all_units[i - 1], signs)
        found += _move(k, unit, not waits or last or bool(unit.row["mean"]), signs)
        found += _handed(unit)
    return found


def _move(k: Kernels, unit: LayerInstructions, cells: bool, signs: bool) -> Counts:
    found: Counts = Counter()
    if unit.skip:
        found += update(k, unit.skip, cells)
    for j in range(unit.chain - 1, -1, -1):
        found += update(k, unit.convs[j], cells)
        if j:
            found += inside(k, unit.convs[j], cells, signs)
        cells = False
    return found


def _down(k: Kernels, unit: LayerInstructions, under: LayerInstructions, signs: bool) -> Counts:
    found: Counts = Counter()
    cells = True
    for j in range(unit.chain - 1, 0, -1):
        found += inside(k, unit.convs[j], cells, signs)
        cells = False
    return found + handed_down(k, unit, under, carried(k, unit.convs[0], cells, signs), signs)


def predict(k: Kernels, table: ProgramTable) -> Counts:
    """``net_predict``."""
    return infer(k, table) + Counter({"answer": table.program["classes"]})


def learn(k: Kernels, table: ProgramTable) -> Counts:
    """``net_learn``."""
    return step(k, table) + Counter({"answer": table.program["classes"]})


def begin(table: ProgramTable) -> Counts:
    """``net_begin_predict``, ``net_begin_learn``."""
    return _begun(table, values(table.program)) + Counter({"layer": 1})


def longest(k: Kernels, table: ProgramTable, learns: bool) -> int:
    """Instructions of the longest slice at most."""
    most = max(instructions(k, one) for one in slices(k, table, learns))
    return BETWEEN + most * ALONE[0] // ALONE[1]


def add_class(k: Kernels, table: ProgramTable, count: int, known: KnownCounts) -> Counts:
    """``net_add_class`` of so many samples, where the anchors of all classes move."""
    one, n = features(k, table), count + known.among
    seen, classes = sum(unit.features for unit in units(table)), table.program["classes"]
    looks = n + known.judging
    found = Counter({name: times * looks for name, times in one.items()}) + checked(table)
    found += Counter({"place": looks, "place.seen": n * seen})
    trials, moved = HALVINGS + 1, ROUNDS * (HALVINGS * classes + 1)  # in the last one row moves
    judgements = trials + FURTHEST + 1
    looked = (ROUNDS * trials + trials + 1) * n + (judgements + 1) * known.judging
    scored = (moved + 2 * classes) * n + (judgements + 1) * known.judging * classes
    return found + Counter({
        "place.pair": (2 + trials) * n * n, "place.sample": looked,
        "place.class": looked * classes, "place.score": scored * seen,
        "place.anchor": moved * seen, "place.move": moved * n * seen,
        "place.start": (2 + judgements) * classes * seen, "place.away": FURTHEST * n * seen,
    })  # fmt: skip


def load(table: ProgramTable, slot_bytes: int) -> Counts:
    """``net_load`` from two slots of so many bytes."""
    state, scanned = table.state_bytes, SLOTS * slot_bytes
    return checked(table) + Counter(
        {
            "store": 1,
            "store.crc": table.words.nbytes + 2 * state + 2 * HEADER + scanned,
            "store.blank": scanned,
            "store.chunk": -(-scanned // ROOM),
            "store.state": state,
            "store.layer": len(table.layers),
            "store.conv": len(table.convs),
        }
    )


def save(table: ProgramTable) -> Counts:
    """``net_save``, which erases one slot and programs it."""
    state = table.state_bytes
    return Counter(
        {
            "save": 1,
            "store.crc": 2 * (state + HEADER),
            "store.blank": state + HEADER,
            "store.chunk": -(-state // ROOM),
        }
    )


SAMPLES, SECTOR, UNIT = 8, 4096, 8
"""Of a new class; bytes of a sector of flash, and those that are programmed at once."""
PREDICT, LEARN = "net_predict", "net_learn"
BEGIN = "net_begin_predict"
GO = "net_go"
ADD_CLASS = f"net_add_class, {SAMPLES} samples"
LOAD, SAVE = "net_load", "net_save"


def bounds(table: ProgramTable, known: KnownCounts | None = None) -> dict[str, dict[str, int]]:
    """Instructions at most, by call and set of kernels.

    Nothing of a net in the label-plane form, whose loops are not counted.

    Args:
        known: samples that a net brings; None: no class can be added.
    """
    if table.program["form"]:
        return {}
    slot = slot_bytes(table.state_bytes, UNIT, SECTOR)

    def each(count: Callable[[Kernels], Counts]) -> dict[str, int]:
        return {k.name: instructions(k, count(k)) for k in SETS}

    found = {PREDICT: each(lambda k: predict(k, table)), LEARN: each(lambda k: learn(k, table))}
    found[BEGIN] = each(lambda _: begin(table))
    found[GO] = {k.name: longest(k, table, True) for k in SETS}
    if known:
        found[ADD_CLASS] = each(lambda k: add_class(k, table, SAMPLES, known))
    found[LOAD] = each(lambda k: load(table, slot))
    found[SAVE] = each(lambda k: save(table))
    return found
