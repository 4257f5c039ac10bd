"""Nets that learn on emulated boards of 32 and 256 KB: the host's bytes, and every byte they take.

    pip download --no-deps seglearn -d .data/wheels      # and the files of tiny_nets.py
    OMP_NUM_THREADS=1 python examples/experiments/boards.py

RAM is all that the linker counts, arena, state, what the guard keeps, one raw sample and one input
among it, and the deepest stack that was seen.  Flash is the whole image, code, constants and known
samples, without the samples that are learned and judged here.  A board of 256 KB is the Cortex-M4's
with that much left by its linker file.  "guard": dfe_learn, with replay and judgement, as of
net_known.h; else net_step.  Writes results/boards.json; runs and bundles stay in out/boards.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tiny_nets
import typer
from dated import dated
from trials.board import (
    PROGRAMS,
    Raw,
    built,
    data,
    emulated,
    flash_bytes,
    hosted,
    instructions,
    output,
    ram_bytes,
)

from dfedge import configs
from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bundle import Bundle
from dfedge.data import watch
from dfedge.data.reading import Reading
from dfedge.data.sources import load_split
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.native import build

RESULTS = Path(__file__).parent / "results" / "boards.json"
WORK, DATA, NETS = Path("out/boards"), Path(".data"), Path(__file__).parents[1]
PERSON, LEARNED = "3", 0.6
"""Who is left out of `watch`; share of each recording that the board learns."""
SMALL, LARGE = "mps2-an386", "m4-256k"


def large_board() -> str:
    """The Cortex-M4 of `SMALL` with 256 KB of RAM and 1 MB of flash, as a target of our own."""
    home = configs.folder("targets")
    text = (home / f"{SMALL}.toml").read_text().partition("\naliases")[0]
    text = text.replace("32_768", "262_144").replace("4_194_304", "1_048_576")
    rest = (home / f"{SMALL}.toml").read_text().partition("cpu =")[2]
    made = WORK / f"{LARGE}.toml"
    (WORK / LARGE).mkdir(parents=True, exist_ok=True)
    made.write_text(f"{text}\ncpu ={rest}")
    link = (home / SMALL / "link.ld").read_text()
    (WORK / LARGE / "link.ld").write_text(link.replace("LENGTH = 32K", "LENGTH = 256K"))
    return str(made)


@dataclass(frozen=True)
class Case:
    """A net, the board, and what it learns there.

    Attributes:
        run: makes its run, where that is not there yet.
        raw: samples to learn and to judge, of its bundle.
        guard: with known samples; else plain steps.
    """

    name: str
    board: str
    run: Callable[[Path], object]
    raw: Callable[[Bundle], Raw]
    guard: bool = True


def trained(source: str, net: str, **reading: Any) -> Callable[[Path], object]:
    options = TrainOptions(source, DATA, net=net, qat=True, reading=Reading(**reading))
    return lambda folder: train(options, folder)


def adopted(name: str, learn: str) -> Callable[[Path], object]:
    """Of MLPerf Tiny."""

    def make(folder: Path) -> object:
        tiny_nets.WORK.mkdir(parents=True, exist_ok=True)
        model = tiny_nets.MODELS / f"{tiny_nets.FILES[name]}.tflite"
        shutil.copy(tiny_nets.data_of(name), WORK / f"{name}.npz")
        return adopt(AdoptOptions(str(model), str(WORK / f"{name}.npz"), DATA, learn=learn), folder)

    return make


def split(shift: str | None, learn: int, judge: int) -> Callable[[Bundle], Raw]:
    """Of the bundle's own data, changed."""

    def make(bundle: Bundle) -> Raw:
        m = bundle.manifest
        found = [load_split(m.data, DATA, m.input, m.classes, parts, shift, cut=m.cut)[1]
                 for parts in (("stream", "train"), ("test",))]  # fmt: skip
        x, test = found[0].take(np.arange(learn)), found[1].take(np.arange(judge))
        return Raw("uint8_t", x.x, x.y, test.x, test.y, learn)

    return make


def moved(bundle: Bundle) -> Raw:
    """Windows of the person who was left out: the first 3/5 of each recording, then the rest."""
    parts: dict[str, list[tuple[Any, int]]] = {"learn": [], "judge": []}
    for one in watch.load(DATA).recordings["all"]:
        if one.groups["person"] != PERSON:
            continue
        at = int(len(one.x) * LEARNED)
        for name, x in (("learn", one.x[:at]), ("judge", one.x[at:])):
            starts = range(0, len(x) - watch.WINDOW + 1, watch.HOP)
            parts[name] += [(x[i : i + watch.WINDOW], one.label) for i in starts]
    rule: Any = bundle.manifest.input
    raw = {name: np.stack([np.stack([s.raw(x[:, c]) for c, s in enumerate(rule.scales)], -1)
                           for x, _ in rows]) for name, rows in parts.items()}  # fmt: skip
    y = {name: np.array([label for _, label in rows]) for name, rows in parts.items()}
    order = np.random.default_rng(0).permutation(len(y["learn"]))
    return Raw("int32_t", raw["learn"][order], y["learn"][order], raw["judge"], y["judge"], 300)


CASES = (
    Case("digits, mcu_net", SMALL, trained("digits", str(NETS / "mcu_net.toml")),
         split("rotate:90", 300, 100)),
    Case("watch, mcu_watch", SMALL,
         trained("watch", str(NETS / "mcu_watch.toml"), leave_out=f"person:{PERSON}"), moved),
    Case("watch, imu", LARGE, trained("watch", "imu", leave_out=f"person:{PERSON}"), moved),
    Case("DS-CNN, head", LARGE, adopted("DS-CNN", "head"), split(None, 20, 20), guard=False),
    Case("DS-CNN, last:4", LARGE, adopted("DS-CNN", "last:4"), split(None, 20, 20), guard=False),
    Case("MobileNetV1-0.25, head", LARGE, adopted("MobileNetV1-0.25", "head"),
         split("rotate:90", 20, 20), guard=False),
)  # fmt: skip


def measured(case: Case) -> dict[str, Any]:
    """Export, build for the board and for this machine, run both, compare, weigh."""
    target = large_board() if case.board == LARGE else case.board
    run, bundle = WORK / "runs" / case.name, WORK / "bundles" / case.name
    if not run.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        case.run(run)
    if not bundle.exists():
        export(Run.open(run), ExportOptions(("c",), target, batch=1, trial=case.guard), bundle)
    opened = Bundle.open(bundle)
    memory = opened.manifest.formats["c"].memory["train_b1"]
    main, raw = PROGRAMS / ("care.c" if case.guard else "main.c"), case.raw(opened)
    with tempfile.TemporaryDirectory() as scratch:
        here, there = (Path(scratch) / name for name in ("host", "board"))
        for folder in (here, there):
            folder.mkdir()
            data(raw, folder)
        host = output(hosted(opened.folder / "c", here, main, build.required_compiler()))
        app = built(opened.folder / "c", there, main, target)
        found = emulated(target, app)
        same = host.keys() - {"stack", "step_ticks", "infer_ticks", "care"}
        assert all(found[name] == host[name] for name in same), "not the host's bits"
        row = {
            "board": case.board,
            "arena": memory.arena_bytes,
            "state": memory.state_bytes,
            "care": int(found.get("care", 0)),
            "sample": raw.x[0].size * {"uint8_t": 1, "int32_t": 4}[raw.kind],
            "stack": int(found["stack"]),
            "ram": ram_bytes(app) + int(found["stack"]),
            "flash": flash_bytes(app),
            "steps": raw.steps,
            "judged": len(raw.test),
            "before": int(found["before"]),
            "after": int(found["after"]),
        }
        for kind in ("infer", "step"):
            if f"{kind}_ticks" in found:
                row[kind] = instructions(target, found[f"{kind}_ticks"])
    return row


def main(wanted: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    rows = json.loads(RESULTS.read_text())["nets"] if wanted and RESULTS.exists() else {}
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        rows[case.name] = measured(case)
        print(case.name, rows[case.name], flush=True)
        RESULTS.write_text(json.dumps({**dated(), "nets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
