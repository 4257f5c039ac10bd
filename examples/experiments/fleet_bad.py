"""One bad device of ten: what each rule of merging loses, for `fleet.py`.

garbage    differences drawn at random over all that a value may reach
labels     it learns every sample under the next class's name
huge       its differences eight times as large, as far as a value may reach, for 2^24 samples
stale      it sends what it learned in the first round again and again, as of today's base
late       the same file again and again: its base is an earlier one, and it is put aside; merged
with --late 16 where the row says so
damaged    a byte is flipped
"""

import shutil
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import numpy as np
from fleet_sets import Fleet

from dfedge.data.dataset import Split
from dfedge.fleet import delta
from dfedge.fleet.base import read_base
from dfedge.fleet.rules import RULES
from dfedge.fleet.shares import Member
from dfedge.fleet.sift import MOST_SAMPLES
from dfedge.fleet.simulate import Simulation, SimulationPlan

BAD = "0"
ROUNDS = 20
KINDS = ("none", "garbage", "labels", "huge", "stale", "damaged")


def reach(base: Any, name: str, move: Any) -> Any:
    """A move cut to what keeps every value in its range."""
    whole = base.state[name].astype(np.int64)
    least = 0 if name.endswith(".anchors") else -127
    return ((whole + move).clip(least, 127) - whole).astype(np.int16)


def spoiled(kind: str, sim: Simulation, first: dict[str, bytes]) -> Any:
    """What arrives from the bad device in the place of what it learned."""

    def sent(number: int, name: str, raw: bytes) -> bytes:
        if name != BAD or kind in ("none", "labels"):
            return raw
        if kind == "damaged":
            return raw[:100] + bytes([raw[100] ^ 1]) + raw[101:]
        if kind == "late":
            return first.setdefault("raw", raw)
        base, found = read_base(sim.bundle, sim.base(number - 1)), delta.decode(raw)
        header, moves, draw = found.header, dict(found.moves), np.random.default_rng(number)
        old = delta.decode(first.setdefault("raw", raw)).moves
        for part, move in moves.items():
            if kind == "garbage":
                wild = draw.integers(-127, 128, move.shape)
            else:
                wild = 8 * move.astype(np.int64) if kind == "huge" else old[part]
            moves[part] = reach(base, part, wild)
        if kind == "huge":
            header = msgspec.structs.replace(header, samples=MOST_SAMPLES)
        return delta.encode(header, moves)

    return sent


def one(
    fleet: Fleet, folder: Path, seed: int, options: dict[str, Any], kind: str
) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    members = fleet.members
    if kind == "labels":
        wrong = [(m.learns.y + 1) % 10 for m in members]
        members = [Member(m.name, Split(m.learns.x, wrong[i])) if m.name == BAD else m
                   for i, m in enumerate(members)]  # fmt: skip
    plan = SimulationPlan(
        fleet.bundle.sha256, kind, [m.name for m in members], seed=seed, **options
    )
    sim = Simulation(fleet.bundle, plan, members, fleet.test, folder, "native")
    sim.sent = spoiled(kind, sim, {})
    report = sim.run(ROUNDS)
    refused = sum(len(r.passed) for r in report.rounds)
    best = max(r.accuracy for r in report.rounds)
    return {"last": mean(r.accuracy for r in report.rounds[-3:]), "best": best, "refused": refused}


def bad_rows(fleet: Fleet, folder: Path, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Accuracy, mean of the last three rounds, by rule and kind."""
    found: dict[str, Any] = {}
    for rule in RULES:
        for kind in KINDS:
            found[f"{rule}, {kind}"] = one(fleet, folder, seed, {**options, "rule": rule}, kind)
            print(rule, kind, found[f"{rule}, {kind}"], flush=True)
    for late in (0, 16):
        row = one(fleet, folder, seed, {**options, "late": late}, "late")
        found[f"mean, late files, --late {late}"] = row
    return found
