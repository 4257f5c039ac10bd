"""How patient a guard should be: periods, rates within them, replay, and what keeps the known.

    OMP_NUM_THREADS=1 python examples/experiments/harm.py --cells 0:92 --seeds 0   # trains the nets
    OMP_NUM_THREADS=1 python examples/experiments/harm_guard.py

Fourteen nets of `harm.py`, of every kind of data that is not reserved, learn 2,500 presentations of
what changed, under guards that differ from the product's in one thing each.  For each: the share
that it wins of what the same rates win with neither replay nor guard, and how much of what was
known is lost, on samples that no guard sees.  Writes results/harm_guard.json.
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import typer
from dated import dated
from harm import NETS, WORK, cells, open_session
from harm_cells import Cell
from harm_data import parts
from harm_nets import kept_net

from dfedge.allocator import keep_freed_memory
from dfedge.device.care import NO_CARE, WAYS, part_way
from dfedge.device.known import Known, judging_samples, known_samples
from dfedge.device.rates import slowed
from dfedge.device.session import Session
from dfedge.export.options import ExportOptions
from dfedge.export.write import export
from dfedge.state import SHIFTS

RESULTS = Path(__file__).parent / "results" / "harm_guard.json"
CHOSEN = (0, 2, 5, 10, 12, 14, 34, 40, 43, 46, 70, 73, 85, 91)
PRESENTATIONS, SEED, CALLED_A_GAIN = 2500, 0, 0.03


@dataclass(frozen=True)
class Policy:
    """One guard.

    Attributes:
        steps, presentations: of the first period, whichever is longer; 0: the whole stream is one.
        doublings: how often it becomes twice as long.
        halvings: of the rates, at a half, three quarters and seven eighths of a period.
        replay: part of what is presented.
        samples: of the training data, to replay.
        lost: one in so many known samples may be lost.
        again: after a failure periods are as short as at first.
        hope: at a period's half, one in ten more may be lost.
    """

    steps: int = 32
    presentations: int = 512
    doublings: int = 2
    halvings: int = 3
    replay: float = 0.5
    samples: int = 512
    lost: int = 100
    again: bool = False
    hope: bool = True


BASE = Policy()
IMPATIENT = Policy(4, 0, 4, 0, 0.5, 256, 50, True, False)
POLICIES = {
    "the product's": BASE,
    "judged after 4 steps, then up to 64": IMPATIENT,
    "the same, rates halved in each period": replace(IMPATIENT, halvings=3),
    "rates constant": replace(BASE, halvings=0),
    "rates halved twice": replace(BASE, halvings=2),
    "one period": replace(BASE, steps=0),
    "periods of 32 steps at first": replace(BASE, presentations=0),
    "a quarter is replayed": replace(BASE, replay=0.25),
    "three quarters are replayed": replace(BASE, replay=0.75),
    "128 samples to replay": replace(BASE, samples=128),
    "2 in 100 may be lost": replace(BASE, lost=50),
    "no look at the half": replace(BASE, hope=False),
}


class Learner:
    """A cell's net with its data, and the guards that it is taught under."""

    def __init__(self, cell: Cell, data_dir: Path) -> None:
        self.cell, self.data = cell, parts(cell.data, SEED, cell.shift, data_dir)
        folder = WORK / f"guard-{cell.number:03d}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run, _ = kept_net(cell, self.data, SEED, NETS)
        rule = cell.rule if cell.learn else None
        options = ExportOptions(("c",), batch=cell.batch if cell.batch > 1 else 16, rule=rule)
        bundle = export(run, options, folder / "bundle")
        self.session: Session = open_session(bundle, folder / "state", NO_CARE)
        self.first = bundle.initial_state()
        self.replayed, self.judging = known_samples(bundle), judging_samples(bundle)
        self.exam, self.held = self._input(self.data.exam), self._input(self.data.held)
        self.stream = self._input(self.data.stream)

    def _input(self, split: Any) -> Known:
        return self.session.input(split.x), split.y

    def count(self, samples: Known) -> int:
        """How many the state recognises."""
        return int((self.session.scores_of_input(samples[0]).argmax(1) == samples[1]).sum())

    def accuracies(self) -> tuple[float, float]:
        """On what changed and on what was known."""
        return (
            self.count(self.exam) / len(self.exam[1]),
            self.count(self.held) / len(self.held[1]),
        )

    def free(self) -> tuple[float, float]:
        """After the stream with neither replay nor guard."""
        self.session.runner.set_state(self.first)
        (x, y), batch = self.stream, self.cell.batch
        for step in range(PRESENTATIONS // batch):
            at = np.arange(step * batch, (step + 1) * batch) % len(y)
            self.session.learn_input(x[at], y[at])
        return self.accuracies()

    def guarded(self, policy: Policy) -> tuple[float, float]:
        """After the stream under a guard."""
        self.session.runner.set_state(self.first)
        Guarded(self, policy).learn()
        return self.accuracies()


class Guarded:
    """One stream under one guard."""

    def __init__(self, learner: Learner, policy: Policy) -> None:
        self.learner, self.policy, self.batch = learner, policy, learner.cell.batch
        self.runner, self.judging = learner.session.runner, learner.judging
        self.r, (x, y) = np.random.default_rng(SEED), learner.stream
        order = self.r.permutation(len(y))
        few = min(len(order) // 8, 64)
        self.new, self.stream = (x[order[:few]], y[order[:few]]), (x[order[few:]], y[order[few:]])
        known = len(self.judging[1])
        self.least = learner.count(self.judging) - max(known // policy.lost, 1)
        self.least_at_half = self.least - known // 10
        self.good, self.least_new = learner.first, learner.count(self.new) - few // 32
        self.done = 0

    def learn(self) -> None:
        """Period by period."""
        left, doublings, policy = PRESENTATIONS // self.batch, 0, self.policy
        shortest = max(policy.steps, policy.presentations // self.batch)
        while left:
            length = min(shortest << doublings, left) if policy.steps else left
            length = left if left - length < length // 2 else length
            left -= self.period(length)
            whole = self.judged()
            doublings = min(doublings + whole, policy.doublings)
            if policy.again and not whole:
                doublings = 0

    def period(self, length: int) -> int:
        """Steps taken."""
        before = 0
        self.rates(0)
        for step in range(length):
            halvings = sum((length - step) << k <= length for k in (1, 2, 3))
            at_half = halvings > before == 0 and self.policy.hope
            if at_half and self.learner.count(self.judging) < self.least_at_half:
                return step
            if halvings != before:
                self.rates(min(halvings, self.policy.halvings))
            before = halvings
            self.step()
        return length

    def step(self) -> None:
        """New samples and old ones."""
        (x, y), (rx, ry) = self.stream, (v[: self.policy.samples] for v in self.learner.replayed)
        old = self.r.random(self.batch) < self.policy.replay
        a = np.arange(self.done, self.done + self.batch) % len(y)
        b = self.r.integers(0, len(ry), self.batch)
        q = np.where(old[:, None, None, None], rx[b], x[a]).astype(np.int8)
        self.learner.session.learn_input(q, np.where(old, ry[b], y[a]))
        self.done += self.batch

    def judged(self) -> bool:
        """Whether the whole period is kept; the state is a good one then in any case."""
        self.rates(0)
        now = self.runner.get_state()
        for kept, of in ((1, 1), *WAYS):
            now = part_way(self.good, now, kept, of)
            self.runner.set_state(now)
            found = self.learner.count(self.new)
            if self.learner.count(self.judging) >= self.least and found >= self.least_new:
                self.good, self.least_new = now, found - len(self.new[1]) // 32
                return (kept, of) == (1, 1)
        self.runner.set_state(self.good)
        return False

    def rates(self, halvings: int) -> None:
        """Halve the first rates so many times."""
        slower = slowed(self.learner.first, halvings)
        self.runner.set_state(
            self.runner.get_state() | {n: slower[n] for n in SHIFTS if n in slower}
        )


def main(data_dir: Path = Path(".data"), chosen: str = ",".join(map(str, CHOSEN))) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in POLICIES}
    for cell in (cells()[int(number)] for number in chosen.split(",")):
        learner = Learner(cell, data_dir)
        before, free = learner.accuracies(), learner.free()
        for name, policy in POLICIES.items():
            new, known = learner.guarded(policy)
            rows[name].append(
                {"cell": cell.number, "gain": new - before[0], "free": free[0] - before[0],
                 "lost": before[1] - known}
            )  # fmt: skip
        print(cell.number, cell.data, *(f"{100 * rows[n][-1]['gain']:.1f}" for n in POLICIES))
    found: dict[str, Any] = dated() | {"policies": {}}
    for name, made in rows.items():
        helped = [row for row in made if row["free"] >= CALLED_A_GAIN]
        share = sum(row["gain"] for row in helped) / max(sum(row["free"] for row in helped), 1e-9)
        lost = [100 * row["lost"] for row in made]
        found["policies"][name] = {
            "share": round(share, 3), "gain": round(100 * mean(row["gain"] for row in made), 2),
            "known_lost": round(mean(lost), 2), "known_lost_worst": round(max(lost), 2),
            "rows": made,
        }  # fmt: skip
        print(f"{name:40} share {share:.2f}, known lost {mean(lost):+.2f}, worst {max(lost):+.2f}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
