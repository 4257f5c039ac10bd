"""Training memory of dfedge beside back-propagation, on ExecuTorch's own plans (32 x 32 colour).

    python examples/experiments/memory.py --out examples/experiments/results/memory.json

plain-64 at depth 10, 20 and 40, and ten, at batch 1 and 16, under df, df-o and df-r.  `stock` is
exported for real, in tiles of 32 KiB, and its arena is ExecuTorch's, or (``computed``) the liveness
of the same rendering where an export takes too long.  `native` is what the C interpreter asks for.
plain-64 stands with its own 4 x 4 anchor cells and with 2 x 2.  ten is taken with 2 x 2: with its
own 4 x 4 the features of its last layers exceed what the integer step holds, and an export is
refused.  A rival is the smaller of two plans by the same ExecuTorch, see `dfedge.profile.rivals`.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from msgspec.structs import replace
from trials.random_nets import filled

from dfedge.compile.blank import blank
from dfedge.exporters import executorch, planned
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.program import Method
from dfedge.plan import Plan
from dfedge.profile.compare import rivals_of
from dfedge.profile.untrained import plan_of

TILE_BYTES = 32 * 1024
INPUT, CLASSES = "3x32x32", 10


class Case(NamedTuple):
    """A net of so many layers under a rule at a batch size; whether its stock program is exported.

    ``cells`` by ``cells`` anchor cells a layer, in the place of the net's own.
    """

    net: str
    depth: int | None
    rule: str
    batch: int
    export: bool = False
    cells: int | None = None


CASES = [
    Case("plain-64", 10, "df", 1, export=True),
    Case("plain-64", 10, "df", 16, export=True),
    Case("plain-64", 10, "df", 1, cells=2),
    Case("plain-64", 10, "df", 16, cells=2),
    *(Case("plain-64", 10, rule, batch) for rule in ("df-o", "df-r") for batch in (1, 16)),
    *(
        Case("ten", None, rule, batch, cells=2)
        for rule in ("df", "df-o", "df-r")
        for batch in (1, 16)
    ),
    Case("plain-64", 20, "df", 1),
    Case("plain-64", 40, "df", 1),
]


def exported(plan: Plan, method: Method) -> dict[str, Any]:
    """What ExecuTorch's planner gives a program of this one method."""
    state = filled(plan, random.Random(0), 1, None).state
    source = ExportSource(plan, state, (method,), tile_bytes=TILE_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        written = executorch.write(source, Path(scratch), lambda *_: None)
        size = (Path(scratch) / executorch.PROGRAM).stat().st_size
    memory, found = written.memory[method.name], written.footprints[method.name]
    return {
        "arena_bytes": memory.arena_bytes,
        "state_bytes": memory.state_bytes,
        "lower_bound_bytes": found.lower_bound_bytes,
        "stored_activation_bytes": found.stored_activation_bytes,
        "program_bytes": size,
        "source": written.memory_source,
    }


def computed(plan: Plan, found: Any, source: str) -> dict[str, Any]:
    state = planned.state_bytes(blank(plan))
    return {
        "arena_bytes": found.lower_bound_bytes,
        "state_bytes": state,
        "lower_bound_bytes": found.lower_bound_bytes,
        "stored_activation_bytes": found.stored_activation_bytes,
        "source": source,
    }


def row(case: Case) -> dict[str, Any]:
    plan, batch = plan_of(case.net, INPUT, CLASSES, case.depth, case.rule), case.batch
    if case.cells:
        layers = tuple(replace(layer, cells=case.cells) for layer in plan.layers)
        plan = replace(plan, layers=layers)
    method = Method("train", batch)
    native = computed(plan, planned.native(plan, method), "the C interpreter")
    native["arena_bytes"] = planned.native_arena(plan, method)
    if case.export:
        stock = exported(plan, method)
    else:
        found = planned.stock(plan, method, "executorch", TILE_BYTES)
        stock = computed(plan, found, "computed liveness of the stock rendering")
    theirs = {
        name: {
            key: value for key, value in msgspec.to_builtins(rival).items() if key != "footprint"
        }
        for name, rival in rivals_of(plan, batch).items()
    }

    def together(of: dict[str, Any]) -> int:
        return of["arena_bytes"] + of["state_bytes"]

    ratios = {
        f"{name}_to_{rival}": round(together(ours) / together(theirs[rival]), 4)
        for name, ours in (("stock", stock), ("native", native))
        for rival in ("bp", "bp_checkpoint")
    }
    ratios |= {
        f"{name}_arena_to_bp_int8_ideal": round(
            ours["arena_bytes"] / theirs["bp_int8_ideal"]["arena_bytes"], 4
        )
        for name, ours in (("stock", stock), ("native", native))
    }
    return {
        "net": case.net, "depth": len(plan.layers), "rule": case.rule, "batch": batch,
        "cells": plan.layers[0].cells,
        "stock": stock, "native": native, "rivals": theirs, "ratios": ratios,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    key = ("net", "depth", "rule", "batch", "cells")
    rows = {tuple(one[name] for name in key): one for one in kept}
    for number in options.cases:
        made = row(CASES[number])
        rows[tuple(made[name] for name in key)] = made
        print(
            *(made[name] for name in key), made["stock"]["arena_bytes"], made["ratios"], flush=True
        )
        options.out.write_text(
            json.dumps({"tile_bytes": TILE_BYTES, "rows": list(rows.values())}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
