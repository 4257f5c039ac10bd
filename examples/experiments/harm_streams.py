"""Streams that never end and streams that should not be believed, learned with the defaults.

    OMP_NUM_THREADS=1 python examples/experiments/harm.py --cells 0:92        # trains the nets
    OMP_NUM_THREADS=1 python examples/experiments/harm_streams.py         # or: bad, long, report

**bad**: one net of `harm.py` of every group of data learns 2,500 presentations of wrong labels, of
drawn ones, of noise, of a camera that is blank or saturated, and of one class only, by `finetune`
and by `continual`.  What counts is the accuracy on what was known, on samples that nothing judges
by.

**long**: nets of five groups learn 200,000 steps of 8 presentations.  Every 500 steps the data
change, among four ways; in the other stream every fifth stretch is blank, saturated or of one
label.  Judged are what was known, where the state is saved, and each change at the end of its own
stretch, as the net is at that moment.

Rows go to out/harm/streams, and one that is there is not made again.  `report` writes
results/harm_streams.json.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from harm import NETS, QUIET, WORK, cells, job_of, open_session
from harm_cells import Cell
from harm_data import RESERVED, Parts, parts
from harm_nets import made
from harm_optimisers import chosen
from harm_shifts import shifted
from numpy.typing import NDArray

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.data.dataset import Split
from dfedge.data.streams import Experience, Stream
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session

RESULTS, ROWS = Path(__file__).parent / "results" / "harm_streams.json", Path("out/harm/streams")
PRESENTATIONS, BATCH = 2500, 16
STEPS, EARLY, STRETCH, SMALL_BATCH = 200_000, 10_000, 500, 8
LONG = (8, 40, 69, 70, 81)
"""Cells of `harm.py`: digits, photos, spoken digits, motion of a watch, a table."""
SAME = "light:1:0"
PICTURES = ("rotate:30", "light:0.7:-20", "noise:20", "zoom:1.4")
OTHERS = ("light:0.8:10", "light:1.2:-10", "noise:12", "light:0.7:-10")
"""Gains, offsets and noise."""
WITHIN = 0.02


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


Spoil = Callable[[Split, int, int], Split]
BAD: dict[str, Spoil] = {
    "wrong labels": lambda s, k, _: Split(s.x, (s.y + 1) % k),
    "drawn labels": lambda s, k, seed: Split(s.x, drawn(seed).integers(0, k, len(s))),
    "noise": lambda s, _, seed: Split(
        drawn(seed).integers(0, 256, s.x.shape).astype(np.uint8), s.y
    ),
    "blank": lambda s, _, __: Split(np.zeros_like(s.x), s.y),
    "saturated": lambda s, _, __: Split(np.full_like(s.x, 255), s.y),
    "one class": lambda s, _, seed: s.take(np.flatnonzero(s.y == s.y[seed])),
}
"""Name -> what becomes of a split, with its number of classes and a seed."""
STRETCHES = ("blank", "saturated", "one class")


def bundle_of(cell: Cell, seed: int, data_dir: Path) -> tuple[Bundle, Parts, Path]:
    """The cell's net, with data of which only the person is another one."""
    shift = cell.shift if cell.group in ("speech", "watch") else SAME
    data, folder = parts(cell.data, seed, shift, data_dir), WORK / f"streams-{cell.number}-{seed}"
    return made(cell, data, seed, folder, NETS)[0], data, folder


# -- bad -----------------------------------------------------------------------------------------


def by_finetune(session: Session, split: Split, _: Parts, seed: int) -> None:
    finetune(session, split, job_of(BATCH, PRESENTATIONS, seed), saving=QUIET)


def by_continual(session: Session, split: Split, data: Parts, seed: int) -> None:
    """As many new samples as `by_finetune`, for half of what is presented is replayed."""
    stream = Stream(data.classes, (Experience("bad", split, data.held),))
    passes = max(PRESENTATIONS // 2 // len(split), 1)
    run = StreamRun(
        session, stream, StreamSettings("labelled", "", passes=passes, seed=seed), resume=False
    )
    for _ in run.moments():
        pass


def bad(cell: Cell, seed: int, data_dir: Path) -> None:
    path = ROWS / f"bad-{cell.number:03d}-{seed}.json"
    if path.exists():
        return
    bundle, data, folder = bundle_of(cell, seed, data_dir)
    before = evaluate(open_session(bundle, folder / "state", Care()), data.held).accuracy
    rows = {}
    for name, spoil in BAD.items():
        split = spoil(data.stream, len(data.classes), seed)
        for command, learn in (("finetune", by_finetune), ("continual", by_continual)):
            session = open_session(bundle, folder / "state", Care())
            learn(session, split, data, seed)
            rows[f"{command}, {name}"] = evaluate(session, data.held).accuracy
    keep(path, {"cell": cell.number, "group": cell.group, "seed": seed, "before": before,
                "after": rows})  # fmt: skip
    shutil.rmtree(folder)
    moved = {name: round(100 * (after - before), 1) for name, after in rows.items()}
    print(cell.number, cell.data, seed, f"{100 * before:.1f}:", moved, flush=True)


def keep(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row | dated(), indent=1) + "\n")


# -- long ----------------------------------------------------------------------------------------


class Long:
    """One stream without an end."""

    def __init__(self, cell: Cell, seed: int, spoilt: bool, data_dir: Path) -> None:
        self.bundle, data, self.folder = bundle_of(cell, seed, data_dir)
        self.session = open_session(self.bundle, self.folder / "state", Care())
        self.held, self.classes, self.seed = data.held, len(data.classes), seed
        changes = OTHERS if cell.group in ("speech", "watch", "vectors") else PICTURES
        self.streams = [self._changed(data.stream, change, seed) for change in changes]
        self.exams = [self._changed(data.exam, change, seed + 1) for change in changes]
        self.every = len(changes) + spoilt
        self.seen = [0.0] * len(changes)

    @staticmethod
    def _changed(split: Split, change: str, seed: int) -> Split:
        return Split(shifted(split.x, change, seed), split.y)

    def known(self) -> float:
        """On what was known, once the state was judged, as it is where a session is saved."""
        self.session.keeper.judge()
        return evaluate(self.session, self.held).accuracy

    def stretch(self, number: int) -> None:
        """Learn `STRETCH` steps; then look, where it was one of the changes."""
        which = number % self.every
        changed = which < len(self.streams)
        split = self.streams[which if changed else 0]
        if not changed:
            name = STRETCHES[number // self.every % len(STRETCHES)]
            split = BAD[name](split, self.classes, number % len(split))
        q: NDArray[np.int8] = self.session.input(split.x)
        order = np.random.default_rng([self.seed, number])
        for _ in range(STRETCH):
            at = order.integers(0, len(split), SMALL_BATCH // 2)
            self.session.learn_with_care(q[at], split.y[at], SMALL_BATCH)
        if changed:
            self.seen[which] = evaluate(self.session, self.exams[which]).accuracy


def long(cell: Cell, seed: int, spoilt: bool, data_dir: Path) -> None:
    path = ROWS / f"long-{cell.number:03d}-{seed}-{'spoilt' if spoilt else 'plain'}.json"
    if path.exists():
        return
    made_here = Long(cell, seed, spoilt, data_dir)
    changes = [evaluate(made_here.session, exam).accuracy for exam in made_here.exams]
    before = {"known": made_here.known(), "changes": changes}
    curve = {}
    for number in range(STEPS // STRETCH):
        made_here.stretch(number)
        done = (number + 1) * STRETCH
        if done % EARLY == 0:
            curve[done] = {"known": made_here.known(), "changes": list(made_here.seen)}
            if done in (EARLY, STEPS // 2):
                print(cell.number, cell.data, seed, spoilt, done, curve[done], flush=True)
    keeper = made_here.session.keeper
    keep(path, {"cell": cell.number, "group": cell.group, "seed": seed, "spoilt": spoilt,
                "before": before, "curve": curve, "judgements": keeper.judgements,
                "partly": keeper.partly, "wholly": keeper.wholly})  # fmt: skip
    shutil.rmtree(made_here.folder)
    print(cell.number, cell.data, seed, spoilt, before, curve[STEPS], flush=True)


# -- report --------------------------------------------------------------------------------------


def report() -> None:
    rows = {kind: [json.loads(p.read_text()) for p in sorted(ROWS.glob(f"{kind}-*.json"))]
            for kind in ("bad", "long")}  # fmt: skip
    found: dict[str, Any] = dated() | {"reserved": RESERVED, "rows": rows}
    names = rows["bad"][0]["after"] if rows["bad"] else []
    lost = {name: [100 * (row["before"] - row["after"][name]) for row in rows["bad"]]
            for name in names}  # fmt: skip
    found["bad"] = {name: {"mean": round(mean(v), 2), "worst": round(max(v), 2),
                           "over_3": sum(one > 3 for one in v), "of": len(v)}
                    for name, v in lost.items()}  # fmt: skip
    found["long"] = {}
    for row in rows["long"]:
        ends = [row["curve"][str(at)] for at in (EARLY, STEPS)]
        known = [100 * end["known"] for end in ends]
        changes = [100 * mean(end["changes"]) for end in ends]
        key = f"{row['group']} {'spoilt' if row['spoilt'] else 'plain'} {row['seed']}"
        found["long"][key] = {
            "known_before": round(100 * row["before"]["known"], 2),
            "changes_before": round(100 * mean(row["before"]["changes"]), 2),
            "known": [round(v, 2) for v in known], "changes": [round(v, 2) for v in changes],
            "within_2": all(a - b <= 100 * WITHIN for a, b in (known, changes)),
        }  # fmt: skip
    for part in ("bad", "long"):
        for name, value in found[part].items():
            print(name, value)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def main(
    part: Annotated[str, typer.Argument(help="bad, long, report, or all.")] = "all",
    data_dir: Path = Path(".data"),
    seeds: str = "0,1,2",
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    every = cells()
    for seed in map(int, seeds.split(",")):
        for cell in chosen() if part in ("bad", "all") else ():
            bad(cell, seed, data_dir)
        for number in LONG if part in ("long", "all") else ():
            for spoilt in (False, True):
                long(every[number], seed, spoilt, data_dir)
    report()


if __name__ == "__main__":
    typer.run(main)
