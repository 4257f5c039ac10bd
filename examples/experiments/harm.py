"""Can learning do harm: nets of every make, every kind of data, what they know and a change of it.

    pip download --no-deps seglearn river -d .data/wheels                     # once
    python examples/experiments/harm.py --draw                                # once, before tuning
    OMP_NUM_THREADS=1 python examples/experiments/harm.py --cells 0:92 --seeds 0,1,2
    python examples/experiments/harm.py --report

`--draw` writes results/harm_cells.json from a committed seed.  `--cells` trains each cell's net,
exports it and learns with the product's defaults: 500 steps on the net's own training data, and
2,500 presentations of a stream that changed, once by default and once with `replace`.

The yardsticks set nothing.  The same stream is learned with anchors alone, and at eight rates
around the one from before the export's trial, with nothing frozen; the best of them on the very
exam is the oracle.  They are made with replay and guard (`care`), as what the default is measured
by, and without (`free`), as what `replace` is measured by; `--yardsticks` names which.

One row a cell and seed goes to out/harm/rows; a row that is there is not made again (give each
state of the library its own `--rows`), and one that fails is a row with its error.  Several
processes may share the cells out.  Trained nets are kept in out/harm/nets: no rate and no guard has
a part in training.  `--report` gathers the rows into results/harm.json and holds them to the bars.
"""

import json
import shutil
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from dated import commit
from harm_cells import CELLS, Cell, draw
from harm_data import KINDS, Parts, parts
from harm_nets import made, untried
from harm_report import reported
from numpy.typing import NDArray

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune, steps
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.plan import MAX_UPDATE_SHIFT as FROZEN
from dfedge.state import SHIFTS

OUT = Path("out/harm")
WORK, NETS = OUT / "work", OUT / "nets"
RUNTIME = "native"
STEPS, MARKS, PRESENTATIONS = 500, (2, 20, 100), 2500
OFFSETS = tuple(range(-2, 6))
YARDSTICKS = {"care": ("", Care()), "free": ("_free", NO_CARE)}
"""Their names -> the end of their fields in a row, and the care that they are made under."""
QUIET = Saving(steps=0)


def open_session(bundle: Bundle, folder: Path, care: Care) -> Session:
    """At the bundle's own state."""
    return Session.open(bundle, RUNTIME, folder, initial=True, care=care)


def job_of(batch: int, presentations: int, seed: int) -> FinetuneJob:
    return FinetuneJob("harm", "train", "", seed, batch, presentations)


def own_steps(session: Session, own: Split, held: Split, batch: int, seed: int) -> dict[str, float]:
    """Accuracy on held-out samples before, after some and after all steps on own data."""
    seen = {"0": evaluate(session, held).accuracy}
    left = list(MARKS)
    for step in steps(session, own, job_of(batch, STEPS * batch, seed), QUIET):
        if left and step.done >= left[0] * batch:
            seen[str(left.pop(0))] = evaluate(session, held).accuracy
    return seen | {str(STEPS): evaluate(session, held).accuracy}


def learned(session: Session, data: Parts, batch: int, seed: int) -> tuple[float, float]:
    """Accuracies on the exam and on what was known, after the stream."""
    finetune(session, data.stream, job_of(batch, PRESENTATIONS, seed), saving=QUIET)
    return evaluate(session, data.exam).accuracy, evaluate(session, data.held).accuracy


def yardsticks(
    cell: Cell,
    seed: int,
    data: Parts,
    start: Bundle,
    states: Path,
    care: Care,
    anchor_shift: NDArray[Any],
    mode: str,
) -> dict[str, Any]:
    """What anchors alone and the eight rates do under one care."""
    session = open_session(start, states, care)
    anchors_alone(session, session.rates["anchor_shift"] if care.guard else anchor_shift)
    exam, known = learned(session, data, cell.batch, seed)
    found: dict[str, Any] = {f"exam_anchors{mode}": exam, f"known_anchors{mode}": known}
    rates = []
    for offset in OFFSETS:
        session = open_session(start, states, care)
        slower(session, offset)
        rates.append(learned(session, data, cell.batch, seed))
    exams, knowns = zip(*rates, strict=True)
    return found | {f"exam_oracle{mode}": exams, f"known_oracle{mode}": knowns}


def anchors_alone(session: Session, chosen: NDArray[Any]) -> None:
    """No weight moves; anchors at the rates of the bundle, where it lets them move."""
    rates = session.rates
    rates["anchor_shift"] = np.where(chosen < FROZEN, chosen, rates["anchor_shift"])
    rates["weight_shift"] = np.full_like(rates["weight_shift"], FROZEN)


def slower(session: Session, offset: int) -> None:
    """Weights and anchors at the 2^offset-th part of the session's rates."""
    for name in SHIFTS:
        moved = (session.rates[name] + offset).clip(0, FROZEN)
        session.rates[name] = moved.astype(np.int8)


def learns(bundle: Bundle, state: dict[str, NDArray[Any]]) -> str:
    """What may move, of the layers that the cell lets learn: read off the shifts."""
    plan = bundle.manifest.plan
    moving = [
        state["weight_shift"][plan.number(i, j)] < FROZEN
        for i, layer in enumerate(plan.layers)
        if i >= plan.cut
        for j in range(len(layer.convs))
    ]
    frozen = plan.cut > 0 or not all(moving)
    if any(moving):
        return "upper layers" if frozen else "all"
    return "anchors" if bool((state["anchor_shift"][plan.cut :] < FROZEN).any()) else "nothing"


def measured(
    cell: Cell, seed: int, data_dir: Path, made_by: list[str], loss: str | None
) -> dict[str, Any]:
    """One row."""
    folder = WORK / f"{cell.number:03d}-{seed}{loss or ''}"
    nets = NETS / loss if loss else NETS
    clock, spent = time.perf_counter(), {}

    def passed(what: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        spent[what], clock = round(now - clock, 1), now

    data = parts(cell.data, seed, cell.shift, data_dir)
    passed("data")
    bundle, own = made(cell, data, seed, folder, nets, loss)
    passed("net")
    states = folder / "state"
    row: dict[str, Any] = {"chance": 1 / KINDS[cell.data].classes, "seconds": spent}
    row["samples"] = {
        "own": len(own),
        **{k: len(getattr(data, k)) for k in ("held", "stream", "exam")},
    }
    session = open_session(bundle, states, Care())
    initial = bundle.initial_state()
    row["learns"], row["learns_free"] = learns(bundle, session.rates), learns(bundle, initial)
    row["learning"] = msgspec.to_builtins(getattr(bundle.manifest, "learning", None))
    row["shifts"] = {name: session.rates[name].tolist() for name in SHIFTS}
    row["exam_before"] = evaluate(session, data.exam).accuracy
    row["own"] = own_steps(session, own, data.held, cell.batch, seed)
    passed("own")
    for mode, care in (("", Care()), ("_replace", Care(replace=True))):
        session = open_session(bundle, states, care)
        judged = learned(session, data, cell.batch, seed)
        row[f"exam{mode}"], row[f"known{mode}"] = judged
    passed("shift")
    start = untried(cell, data, seed, folder, nets, loss) if made_by else bundle
    for mode, care in (YARDSTICKS[name] for name in made_by):
        row |= yardsticks(cell, seed, data, start, states, care, initial["anchor_shift"], mode)
    passed("yardsticks")
    shutil.rmtree(folder)
    return row


def run(
    cell: Cell, seed: int, data_dir: Path, rows: Path, made_by: list[str], loss: str | None
) -> None:
    """Make one row and keep it, whatever comes."""
    path = rows / f"{cell.number:03d}-{seed}.json"
    if path.exists():
        return
    start = time.perf_counter()
    row = {"seed": seed, "cell": msgspec.to_builtins(cell), "commit": commit(), "loss": loss}
    try:
        row |= measured(cell, seed, data_dir, made_by, loss)
        after = 100 * (row["own"][str(STEPS)] - row["own"]["0"])
        said = f"own {100 * row['own']['0']:.1f} {after:+.1f}, shift {100 * row['exam_before']:.1f}"
        for mode, rival in (("", ""), ("_replace", "_free")):
            gain = 100 * (row[f"exam{mode}"] - row["exam_before"])
            said += f" {gain:+.1f}"
            if f"exam_oracle{rival}" in row:
                best = 100 * (max(row[f"exam_oracle{rival}"]) - row["exam_before"])
                said += f" (oracle {best:+.1f})"
    except Exception as error:  # a cell that fails is a finding
        row["error"] = f"{type(error).__name__}: {error}"
        row["where"] = traceback.format_exc()[-2000:]
        said = row["error"][:300]
    row["total_seconds"] = round(time.perf_counter() - start, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1) + "\n")
    print(cell.number, cell.data, cell.net, cell.learn, f"seed {seed}:", said, row["total_seconds"],
          "s", flush=True)  # fmt: skip


def cells() -> list[Cell]:
    """As drawn and committed."""
    return msgspec.json.decode(CELLS.read_bytes(), type=list[Cell])


def _wanted(made_by: str) -> list[str]:
    names = [name for name in made_by.split(",") if name]
    for name in names:
        if name not in YARDSTICKS:
            raise typer.BadParameter(f"{name}: no yardstick; allowed: {', '.join(YARDSTICKS)}")
    return names


def _drawn() -> None:
    lines = [json.dumps(msgspec.to_builtins(cell)) for cell in draw()]
    CELLS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{CELLS}: {len(lines)} cells")


def main(
    draw: Annotated[bool, typer.Option("--draw", help="Draw the cells.")] = False,
    only: Annotated[str, typer.Option("--cells", help="From:to, the last left out.")] = "",
    seeds: str = "0,1,2",
    kinds: Annotated[str, typer.Option(help="Groups or data sets, by commas.")] = "",
    report: Annotated[bool, typer.Option("--report", help="Gather the rows.")] = False,
    made_by: Annotated[
        str, typer.Option("--yardsticks", help="By commas; '' makes none.")
    ] = ",".join(YARDSTICKS),
    loss: Annotated[
        str | None, typer.Option(help="That dfedge trains its own nets by; give it own --rows.")
    ] = None,
    data_dir: Path = Path(".data"),
    rows: Annotated[Path, typer.Option(help="One folder for each state of the library.")] = OUT
    / "rows",
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if draw:
        _drawn()
    if only:
        first, _, end = only.partition(":")
        chosen = cells()[int(first) : int(end) if end else int(first) + 1]
        named = set(kinds.split(",")) - {""}
        for seed in map(int, seeds.split(",")):
            for cell in chosen:
                if not named or named & {cell.group, cell.data}:
                    run(cell, seed, data_dir, rows, _wanted(made_by), loss)
    if report:
        reported(cells(), rows)


if __name__ == "__main__":
    typer.run(main)
