"""What `harm.py --report` says: every cell's figures, each group's, and which bars are met.

A bar holds only where every group of data meets it.  A row that failed or is missing counts against
its group.  Points are percent of accuracy; a cell's figure is the mean over its seeds.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
from dated import dated
from harm_cells import Cell
from harm_data import GROUPS, RESERVED

RESULTS = Path(__file__).parent / "results" / "harm.json"
Row = dict[str, Any]
SEEDS, CELLS, SHIFTED, HELPED = 3, 80, 40, 20
"""At least: seeds of a cell, cells, cells under a shift, cells where the oracle gains."""
GAINS, LARGE_LOSS = 3.0, 20.0
MODES = (("", ""), ("_replace", "_free"))
"""What the product does, and the yardsticks that it is measured by: those under the same care."""


def facts(row: Row) -> dict[str, float]:
    """A row's figures in points.

    A collapse is a loss of more than half of the lead over chance, or of `LARGE_LOSS`.
    """
    start, before = row["own"]["0"], row["exam_before"]
    low = min(row["own"].values())
    fallen = start - low > max((start - row["chance"]) / 2, 0.03)
    found = {
        "start": 100 * start,
        "own_loss": 100 * (start - row["own"]["500"]),
        "own_loss_on_the_way": 100 * (start - low),
        "collapsed": float(fallen or 100 * (start - low) > LARGE_LOSS),
        "changed_start": 100 * before,
    }
    for mode, rival in MODES:
        found[f"gain{mode}"] = 100 * (row[f"exam{mode}"] - before)
        found[f"known_loss{mode}"] = 100 * (start - row[f"known{mode}"])
        if f"exam_oracle{rival}" in row:
            found[f"anchors_gain{mode}"] = 100 * (row[f"exam_anchors{rival}"] - before)
            found[f"oracle_gain{mode}"] = 100 * (max(row[f"exam_oracle{rival}"]) - before)
            found[f"compared_gain{mode}"] = found[f"gain{mode}"]  # of these rows alone
    return found


def cell_of(cell: Cell, rows: list[Row], errors: list[str]) -> dict[str, Any]:
    """A cell with its seeds' means and the worst of them."""
    found = {"cell": msgspec.to_builtins(cell), "seeds": len(rows), "errors": errors}
    if not rows:
        return found
    all_facts = [facts(row) for row in rows]
    names = dict.fromkeys(name for f in all_facts for name in f)
    means = {name: round(mean(f[name] for f in all_facts if name in f), 2) for name in names}
    worst = {
        "own_loss": max(f["own_loss"] for f in all_facts),
        "gain": min(f["gain"] for f in all_facts),
        "gain_replace": min(f["gain_replace"] for f in all_facts),
        "known_loss": max(f["known_loss"] for f in all_facts),
    }
    return found | {
        "mean": means,
        "worst": {name: round(value, 2) for name, value in worst.items()},
        "collapses": sum(int(f["collapsed"]) for f in all_facts),
        "below_start": sum(f["gain"] < -1 for f in all_facts),
        "learns": [row["learns"] for row in rows],
        "rows": [{name: row[name] for name in KEPT if name in row} for row in rows],
    }


KEPT = (
    "seed", "commit", "yardsticks_commit", "samples", "own", "exam_before", "learning", "shifts",
    "seconds",
    *(f"{judge}{mode}" for mode in ("", "_replace") for judge in ("exam", "known")),
    *(f"{judge}_{what}{mode}" for mode in ("", "_free") for what in ("anchors", "oracle")
      for judge in ("exam", "known")),
)  # fmt: skip


def gathered(cells: list[Cell], folder: Path) -> list[dict[str, Any]]:
    """All cells; rows of another draw are left out, with a word."""
    found = []
    for cell in cells:
        rows, errors = [], []
        for path in sorted(folder.glob(f"{cell.number:03d}-*.json")):
            row = json.loads(path.read_text())
            if row["cell"] != msgspec.to_builtins(cell):
                print(f"{path}: of another draw, left out")
            elif "error" in row:
                errors.append(f"seed {row['seed']}: {row['error']}")
            else:
                rows.append(row)
        found.append(cell_of(cell, rows, errors))
    return found


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one group, or of several."""
    whole = [one for one in cells if "mean" in one]
    learns = Counter(name for one in whole for name in one["learns"])
    found: dict[str, Any] = {
        "cells": len(cells),
        "with_rows": len(whole),
        "rows": sum(one["seeds"] for one in cells),
        "failed_rows": sum(len(one["errors"]) for one in cells),
        "cells_short_of_seeds": sum(one["seeds"] < SEEDS for one in cells),
        "learns": dict(learns),
    }
    if not whole:
        return found
    rows = max(sum(learns.values()), 1)
    return found | {
        **{
            name: round(mean(one["mean"][name] for one in whole if name in one["mean"]), 2)
            for name in dict.fromkeys(name for one in whole for name in one["mean"])
        },
        "worst_cell_own_loss": max(one["mean"]["own_loss"] for one in whole),
        "worst_seed_own_loss": max(one["worst"]["own_loss"] for one in whole),
        "cells_over_1": sum(one["mean"]["own_loss"] > 1 for one in whole),
        "cells_with_a_seed_over_3": sum(one["worst"]["own_loss"] > 3 for one in whole),
        "collapses": sum(one["collapses"] for one in whole),
        "worst_cell_gain": min(one["mean"]["gain"] for one in whole),
        "worst_seed_gain": min(one["worst"]["gain"] for one in whole),
        "cells_below_start": sum(one["mean"]["gain"] < -1 for one in whole),
        "seeds_below_start": sum(one["below_start"] for one in whole),
        "worst_cell_gain_replace": min(one["mean"]["gain_replace"] for one in whole),
        **_shares(whole),
        "worst_cell_known_loss": max(one["mean"]["known_loss"] for one in whole),
        "anchors_share": round(learns["anchors"] / rows, 3),
        "nothing_share": round(learns["nothing"] / rows, 3),
    }


def _shares(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the oracle's gain, over the cells where that is worth the name."""
    found: dict[str, Any] = {}
    for mode, _ in MODES:
        helped = [one["mean"] for one in cells if one["mean"].get(f"oracle_gain{mode}", 0) >= GAINS]
        oracle = sum(one[f"oracle_gain{mode}"] for one in helped)
        won = sum(one[f"compared_gain{mode}"] for one in helped)
        found[f"helped_cells{mode}"] = len(helped)
        found[f"oracle_share{mode}"] = round(won / oracle, 3) if helped else None
    return found


Bar = tuple[str, Callable[[dict[str, Any]], Any], Callable[[Any], bool]]
BARS: tuple[Bar, ...] = (
    ("no failed row, three seeds",
     lambda s: s["failed_rows"] + s["cells_short_of_seeds"], lambda v: v == 0),
    ("own data: mean loss of the worst cell at most 1",
     lambda s: s["worst_cell_own_loss"], lambda v: v <= 1),
    ("own data: loss of the worst seed at most 3",
     lambda s: s["worst_seed_own_loss"], lambda v: v <= 3),
    ("own data: mean loss at most 1", lambda s: s["own_loss"], lambda v: v <= 1),
    ("collapses: 0", lambda s: s["collapses"], lambda v: v == 0),
    ("shift: no cell's mean below its start by more than 1",
     lambda s: s["worst_cell_gain"], lambda v: v >= -1),
    ("shift: no seed below its start by more than 1",
     lambda s: s["worst_seed_gain"], lambda v: v >= -1),
    ("shift, replace: no cell's mean below its start by more than 1",
     lambda s: s["worst_cell_gain_replace"], lambda v: v >= -1),
    ("shift: mean gain above that of anchors alone",
     lambda s: round(s["compared_gain"] - s["anchors_gain"], 2), lambda v: v > 0),
    ("shift, replace: mean gain above that of anchors alone, unguarded",
     lambda s: round(s["compared_gain_replace"] - s["anchors_gain_replace"], 2), lambda v: v > 0),
    ("shift: at least 0.9 of the gain of the best of 8 rates with replay and guard",
     lambda s: s["oracle_share"], lambda v: v is None or v >= 0.9),
    ("shift, replace: at least 0.9 of the gain of the best of 8 rates without",
     lambda s: s["oracle_share_replace"], lambda v: v is None or v >= 0.9),
    ("known: no cell loses more than 2 in the mean",
     lambda s: s["worst_cell_known_loss"], lambda v: v <= 2),
    ("anchors alone: at most 0.1", lambda s: s["anchors_share"], lambda v: v <= 0.1),
    ("nothing learns: at most 0.03", lambda s: s["nothing_share"], lambda v: v <= 0.03),
)  # fmt: skip


def held_to(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each bar: its value in every group that has rows, and where it is not met."""
    found = {}
    for text, value_of, met in BARS:
        values = {name: value_of(s) for name, s in groups.items() if s["with_rows"]}
        missed = [name for name, value in values.items() if not met(value)]
        missed += [name for name, s in groups.items() if not s["with_rows"]]
        found[text] = {"met": not missed, "missed_in": missed, "values": values}
    whole = groups["all"]
    shifted, helped = whole["with_rows"], whole.get("helped_cells", 0)
    for text, count, least in (
        (f"at least {CELLS} cells", whole["with_rows"], CELLS),
        (f"at least {SHIFTED} cells under a shift", shifted, SHIFTED),
        (f"at least {HELPED} cells where the oracle gains {GAINS:g}", helped, HELPED),
    ):
        missed = [] if count >= least else ["all"]
        found[text] = {"met": not missed, "missed_in": missed, "values": {"all": count}}
    return found


SHOWN = (
    "with_rows", "failed_rows", "start", "own_loss", "worst_cell_own_loss", "worst_seed_own_loss",
    "collapses", "changed_start", "gain", "anchors_gain", "oracle_gain", "oracle_share",
    "worst_cell_gain", "worst_seed_gain", "known_loss", "worst_cell_known_loss", "gain_replace",
    "anchors_gain_replace", "oracle_gain_replace", "oracle_share_replace",
    "worst_cell_gain_replace", "known_loss_replace",
)  # fmt: skip


def _text(found: dict[str, Any]) -> str:
    """JSON with one bar, one group, one cell a line."""
    parts = []
    for name, value in found.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f"{json.dumps(name)}: {{\n{inner}\n}}")
        elif isinstance(value, list):
            inner = ",\n".join(json.dumps(one) for one in value)
            parts.append(f"{json.dumps(name)}: [\n{inner}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def reported(cells: list[Cell], folder: Path) -> None:
    """Write results/harm.json and print it."""
    every = gathered(cells, folder)
    own = [one for one in every if one["cell"]["group"] not in RESERVED]
    kept = [one for one in every if one["cell"]["group"] in RESERVED]
    groups = {
        name: summary([one for one in every if one["cell"]["group"] == name]) for name in GROUPS
    }
    groups |= {"tuned on": summary(own), "reserved": summary(kept), "all": summary(every)}
    bars = held_to(groups)
    found = dated() | {"reserved": RESERVED, "bars": bars, "groups": groups, "cells": every}
    RESULTS.write_text(_text(found))
    commits = Counter(row["commit"] for one in every for row in one.get("rows", ()))
    print("rows by commit (+: changed since):", dict(commits))
    print(f"{'':22}", *(f"{name:>9.9}" for name in groups))
    for what in SHOWN:
        values = [s.get(what) for s in groups.values()]
        print(f"{what:22}", *(f"{'-' if v is None else v:>9}" for v in values))
    learns = {name: s["learns"] for name, s in groups.items()}
    print("what learns (rows):", *(f"{name} {value}" for name, value in learns.items() if value))
    for one in every:
        for error in one["errors"]:
            print(f"failed: cell {one['cell']['number']}, {one['cell']['data']}, {error[:200]}")
    for text, bar in bars.items():
        missed = ", ".join(f"{name} {bar['values'].get(name, 'no rows')}"
                           for name in bar["missed_in"])  # fmt: skip
        print(f"{'met    ' if bar['met'] else 'NOT met'} {text}{': ' * bool(missed)}{missed}")
    print(f"reserved, never used to choose anything: {', '.join(RESERVED)}")
