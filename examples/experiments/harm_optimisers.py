"""Does a better integer optimiser pay: forms of the weight update, at equal bytes of state.

    OMP_NUM_THREADS=1 python examples/experiments/harm.py --cells 0:92        # trains the nets
    OMP_NUM_THREADS=1 python examples/experiments/harm_optimisers.py
    python examples/experiments/harm_optimisers.py --report

One net of `harm.py` of every group of data, three seeds, learns 2,500 presentations of what changed
under the product's replay and guard, at the measured rates and at half of them:

    dither           the product: rounded with a threshold that moves; no state of its own
    feedback 8, 4    what rounding threw away is kept, in 8 or 4 bits a weight
    momentum         the mean of the last moves, 8 bits a weight
    sign             the sign alone, as large as the mean move of a row of weights; no state
    sign momentum    the sign of the mean of the last moves, 8 bits a weight
    channels         each output channel's rate in proportion to its weights' size; no state
    dither, wider    the product in a net of about twice the weights: the same bytes as 8 bits more

The forms are `harm_optimisers.c`, compiled into a copy of the library.  Rows go to
out/harm/optimisers; writes results/harm_optimisers.json.
"""

import ctypes
import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from dated import dated
from harm import NETS, WORK, cells, learned, open_session, slower
from harm_cells import Cell
from harm_data import GROUPS, RESERVED, parts
from harm_nets import made

from dfedge.allocator import keep_freed_memory
from dfedge.device import native
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.native import build
from dfedge.native.library import load_from

HERE = Path(__file__).parent
RESULTS, ROWS = HERE / "results" / "harm_optimisers.json", Path("out/harm/optimisers")
FORMS = {
    "dither": 0, "feedback 8": 1, "feedback 4": 2, "momentum": 3, "sign": 4, "sign momentum": 5,
    "channels": 6,
}  # fmt: skip
"""Name -> number in the C file."""
BITS = {"feedback 8": 8, "feedback 4": 4, "momentum": 8, "sign momentum": 8}
"""More state for each weight."""
WIDER = "dither, wider"
OFFSETS = (0, 1)
MOST_CHANNEL = 2
"""By how much a channel's shift may differ."""


def library() -> ctypes.CDLL:
    """The product's, with the forms in the place of its write_back."""
    folder = Path("out/harm/optimisers-src").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(build.SOURCES, folder)
    text = (folder / "update.c").read_text()
    before, start, rest = text.partition("static void write_back(")
    after = rest[rest.index("\n}\n") + 3 :]
    assert start and "dfe_round" in rest
    forms = (HERE / "harm_optimisers.c").read_text()
    (folder / "update.c").write_text(before + forms + after)
    found = load_from(folder)
    found.lab_begin.argtypes = (ctypes.c_int32, *(ctypes.c_void_p,) * 3)
    return found


def begin(found: ctypes.CDLL, session: Session, form: int) -> list[Any]:
    """Let a form learn on a session's state; what must live as long as it."""
    program = session.runner.program  # type: ignore[attr-defined]
    side = np.zeros(program.state.nbytes, np.int8)
    delta = np.zeros(program.state.nbytes, np.int8)
    for name, tensor in program.table.tensors.items():
        if name.endswith(".weight"):
            w = program.read()[name].astype(float)
            size = np.sqrt((w**2).mean(axis=tuple(range(w.ndim - 1)))) + 1e-9
            whole = np.sqrt((w**2).mean())
            shift = np.round(np.log2(whole / size)).clip(-MOST_CHANNEL, MOST_CHANNEL)
            span = slice(tensor.offset, tensor.offset + tensor.bytes)
            delta[span] = np.broadcast_to(shift, w.shape).astype(np.int8).ravel()
    found.lab_begin(form, program.state.ctypes.data, side.ctypes.data, delta.ctypes.data)
    return [side, delta]


def chosen() -> list[Cell]:
    """Of every group the first net that dfedge trained to the end and that learns in batches."""
    return [
        next(c for c in cells() if c.group == group and not c.learn and c.batch > 1
             and c.trained == "to the end")
        for group in GROUPS
    ]  # fmt: skip


def wider(cell: Cell) -> Cell:
    """About twice the weights."""
    blocks = []
    for text in cell.blocks:
        kind, channels, *rest = text.split()
        blocks.append(" ".join([kind, str(round(int(channels) * 2**0.5)), *rest]))
    return msgspec.structs.replace(cell, number=cell.number + 900, blocks=blocks)


def tried(found: ctypes.CDLL, cell: Cell, seed: int, names: list[str], data_dir: Path) -> None:
    """A net's rows: each form at each rate."""
    path = ROWS / f"{cell.number:03d}-{seed}.json"
    if path.exists():
        return
    data, folder = parts(cell.data, seed, cell.shift, data_dir), WORK / f"opt-{cell.number}-{seed}"
    bundle, _ = made(cell, data, seed, folder, NETS)
    state = bundle.initial_state()
    rows: dict[str, Any] = {}
    for name in names:
        for offset in OFFSETS:
            session = open_session(bundle, folder / "state", Care())
            slower(session, offset)
            kept = begin(found, session, FORMS[name])
            before = evaluate(session, data.exam).accuracy, evaluate(session, data.held).accuracy
            exam, known = learned(session, data, cell.batch, seed)
            rows[f"{name} {offset:+d}"] = {
                "before": before[0], "gain": exam - before[0], "lost": before[1] - known,
            }  # fmt: skip
            del kept
    weights = sum(v.size for k, v in state.items() if k.endswith(".weight"))
    whole = sum(v.nbytes for v in state.values())
    ROWS.mkdir(parents=True, exist_ok=True)
    row = {"cell": msgspec.to_builtins(cell), "seed": seed, "state": whole, "weights": weights}
    path.write_text(json.dumps(row | {"forms": rows}, indent=1) + "\n")
    shutil.rmtree(folder)
    print(cell.number, cell.data, seed, {k: round(100 * v["gain"], 1) for k, v in rows.items()},
          flush=True)  # fmt: skip


def report() -> None:
    """Means over seeds, of every group, and over groups."""
    rows = [json.loads(path.read_text()) for path in sorted(ROWS.glob("*.json"))]
    table: dict[str, dict[str, Any]] = {}
    for name in (*FORMS, WIDER):
        form = "dither" if name == WIDER else name
        of = [row for row in rows if (row["cell"]["number"] >= 900) == (name == WIDER)]
        for offset in OFFSETS:
            key = f"{form} {offset:+d}"
            group = {
                g: {what: round(100 * mean(row["forms"][key][what] for row in of
                                           if row["cell"]["group"] == g), 2)
                    for what in ("before", "gain", "lost")}
                for g in GROUPS
            }  # fmt: skip
            more = mean(BITS.get(name, 0) / 8 * row["weights"] / row["state"] for row in of)
            table[f"{name} {offset:+d}"] = {
                "gain": round(mean(v["gain"] for v in group.values()), 2),
                "after": round(mean(v["gain"] + v["before"] for v in group.values()), 2),
                "lost": round(mean(v["lost"] for v in group.values()), 2),
                "more_state": round(more, 3), "state": round(mean(row["state"] for row in of)),
                "groups": group,
            }  # fmt: skip
            print(f"{name:15} {offset:+d}", {k: v for k, v in table[f"{name} {offset:+d}"].items()
                                            if k != "groups"})  # fmt: skip
    found = dated() | {"reserved": RESERVED, "forms": table, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def main(
    data_dir: Path = Path(".data"),
    seeds: str = "0,1,2",
    only_report: Annotated[bool, typer.Option("--report", help="Gather the rows.")] = False,
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if not only_report:
        found = library()
        native.load = lambda: found  # type: ignore[attr-defined]
        for seed in map(int, seeds.split(",")):
            for cell in chosen():
                tried(found, cell, seed, list(FORMS), data_dir)
                tried(found, wider(cell), seed, ["dither"], data_dir)
    report()


if __name__ == "__main__":
    typer.run(main)
