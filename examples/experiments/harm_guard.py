"""What each part of replay and guard does: the product, and the product with one thing changed.

    OMP_NUM_THREADS=1 python examples/experiments/harm.py --cells 0:92 --seeds 0  # trains the nets
    OMP_NUM_THREADS=1 python examples/experiments/harm_guard.py

Fourteen nets of `harm.py`, of every kind of data that is not reserved, learn 2,500 presentations of
what changed, and as many of their stream with every label wrong.  For each way: what is won on what
changed, and how much of what was known is lost in both cases, on samples that no guard sees.
Writes results/harm_guard.json.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import typer
from dated import dated
from harm import NETS, WORK, cells, learned, open_session
from harm_data import Parts, parts
from harm_nets import made
from harm_streams import BAD
from msgspec.structs import replace

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device import care as product
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate

RESULTS = Path(__file__).parent / "results" / "harm_guard.json"
CHOSEN = (0, 2, 5, 10, 12, 14, 34, 40, 43, 46, 70, 73, 85, 91)
SEED, NEVER = 0, 1 << 30


@dataclass(frozen=True)
class Way:
    """One way to take care: constants of `dfedge.device.care` that differ from the product's."""

    care: Care = field(default_factory=Care)
    constants: dict[str, int] = field(default_factory=dict)


WAYS = {
    "the product": Way(),
    "neither replay nor guard": Way(NO_CARE),
    "replay alone": Way(Care(guard=False)),
    "guard alone": Way(Care(replay=False)),
    "judged after 4 steps, then up to 16": Way(
        constants={"SHORTEST": 0, "SHORTEST_STEPS": 4}
    ),
    "one period": Way(constants={"SHORTEST": NEVER}),
    "constant rates": Way(constants={"HALVINGS": 0}),
    "replayed samples are not watched": Way(constants={"WATCHED": NEVER}),
    "1 in 50 may be lost": Way(constants={"KNOWN_LOST": 50}),
    "1 in 25 may be lost": Way(constants={"KNOWN_LOST": 25}),
}  # fmt: skip


@contextmanager
def changed(constants: dict[str, int]) -> Iterator[None]:
    """The product with other constants."""
    before = {name: getattr(product, name) for name in constants}
    try:
        for name, value in constants.items():
            setattr(product, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(product, name, value)


def row(bundle: Bundle, data: Parts, way: Way, batch: int, folder: Path) -> dict[str, float]:
    """Gain on what changed, and losses of what was known."""
    wrong = BAD["wrong labels"](data.stream, len(data.classes), SEED)
    with changed(way.constants):
        session = open_session(bundle, folder, way.care)
        exam, known = (evaluate(session, part).accuracy for part in (data.exam, data.held))
        after = learned(session, data, batch, SEED)
        session = open_session(bundle, folder, way.care)
        spoilt = learned(session, _with(data, wrong), batch, SEED)
    return {"gain": after[0] - exam, "lost": known - after[1], "lost_to_wrong": known - spoilt[1]}


def _with(data: Parts, stream: Split) -> Parts:
    return Parts(data.train, data.held, stream, data.exam, data.classes)


def main(data_dir: Path = Path(".data"), chosen: str = ",".join(map(str, CHOSEN))) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    every = cells()
    for cell in (
        replace(every[int(n)], batch=max(every[int(n)].batch, 16)) for n in chosen.split(",")
    ):
        data, folder = parts(cell.data, SEED, cell.shift, data_dir), WORK / f"guard-{cell.number}"
        bundle, _ = made(every[cell.number], data, SEED, folder, NETS)
        for name, way in WAYS.items():
            rows[name].append(
                {"cell": cell.number} | row(bundle, data, way, cell.batch, folder / "state")
            )
        shutil.rmtree(folder)
        print(
            cell.number, cell.data, *(f"{100 * rows[n][-1]['gain']:.1f}" for n in WAYS), flush=True
        )
    found: dict[str, Any] = dated() | {"ways": {}}
    for name, of in rows.items():
        figures = {what: round(100 * mean(r[what] for r in of), 2)
                   for what in ("gain", "lost", "lost_to_wrong")}  # fmt: skip
        worst = {f"worst_{what}": round(100 * max(r[what] for r in of), 2)
                 for what in ("lost", "lost_to_wrong")}  # fmt: skip
        found["ways"][name] = figures | worst | {"rows": of}
        print(f"{name:40}", figures, worst)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
