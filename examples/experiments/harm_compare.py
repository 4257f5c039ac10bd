"""Two folders of rows of `harm.py` side by side: what a change of the product did to each net.

    python examples/experiments/harm.py --seeds 0 --yardsticks '' --rows BEFORE
    (at the other commit, the same with --rows AFTER)
    python examples/experiments/harm_compare.py BEFORE AFTER --what CHANGE --out FILE.json

Points won, and the int8 program's accuracy at export in %: mean of the nets that are in both, and
the worst net.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from dated import dated

Row = dict[str, Any]


def won(row: Row) -> dict[str, float]:
    """Of one net: on own data, on changed data by default and with `--replace`, of the known; and
    its accuracy at export.
    """
    own = row["own"]["0"]
    found = {
        "own": row["own"]["500"] - own,
        "shift": row["exam"] - row["exam_before"],
        "replace": row["exam_replace"] - row["exam_before"],
        "known": row["known"] - own,
        "at_export": own,
    }
    return {name: round(100 * value, 2) for name, value in found.items()}


def rows_of(folder: Path) -> dict[str, Row]:
    read = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {name: row for name, row in read.items() if "error" not in row}


def table(rows: dict[str, Row], names: list[str]) -> dict[str, Any]:
    """Means of all, of each kind of data, and the worst."""
    every = {name: won(rows[name]) for name in names}

    def means(of: list[str]) -> dict[str, float]:
        return {part: round(mean(every[name][part] for name in of), 2) for part in every[of[0]]}

    groups = sorted({rows[name]["cell"]["group"] for name in names})
    return {
        "commits": sorted({rows[name]["commit"] for name in names}),
        "all": means(names),
        "worst": {part: min(one[part] for one in every.values()) for part in every[names[0]]},
        **{g: means([n for n in names if rows[n]["cell"]["group"] == g]) for g in groups},
        "nets": every,
    }


def main(
    before: Path,
    after: Path,
    what: Annotated[str, typer.Option(help="What was changed.")],
    out: Annotated[Path, typer.Option(help="File of results.")],
) -> None:
    """Read, print, write."""
    old, new = rows_of(before), rows_of(after)
    both = sorted(old.keys() & new.keys())
    found = {"before": table(old, both), "after": table(new, both)}
    for name, made in found.items():
        print(f"{name:7} {len(both)} nets", made["commits"], made["all"], "worst", made["worst"])
    out.write_text(json.dumps(dated() | {"what": what} | found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
