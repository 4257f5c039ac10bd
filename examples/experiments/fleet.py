"""Fleets: many devices learn together in integers, beside federated averaging in float.

    OMP_NUM_THREADS=1 PYTHONPATH=examples/experiments \
        python examples/experiments/fleet.py --data-dir .data

Of each fleet of `fleet_sets.py`: accuracy by round of integer means (8 fractional bits on the
server, and none), of anchors alone, of float FedAvg of the same net (`fleet_float.py`), of each
device alone, and of one device that has all data; bytes of a device and round.  Of ten devices
that learn turned digits also: 20 orders of replies with 30 % of devices silent; and one bad device
of ten by rule (`fleet_bad.py`).  `fleet_size.py` merges up to 2,000 deltas.

Devices take 8 steps of 16 samples a round at the measured rates and a constant pace, with neither
replay nor guard: the old may go.  These settings, and the rival's rate, were chosen on samples that
are in no test (`Fleet.chosen_on`).  In the fleets of people (a net of three or two people; a device
for each of the others) the product's defaults, replay and guard, are run as well.

MNIST's net is one of 3,500 weights, whose rates the trial at export halved five times.  Its 100
devices learn at twice the measured rates, watch's 7 at a half of them as well: the best by rows
"rates" of the bundle's own, a half of the measured, these, and twice as much.  MNIST's rival has
its rate from seed 0.

A row a fleet, way and seed goes to out/fleet, and one that is there is not made again.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from fleet_bad import bad_rows
from fleet_float import RATES, rival
from fleet_sets import FLEETS, HOMES, Fleet

from dfedge.data.dataset import Split
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.fleet.base import read_base
from dfedge.fleet.files import read_deltas
from dfedge.fleet.merge import merge
from dfedge.fleet.shares import Member
from dfedge.fleet.simulate import Simulation, SimulationPlan

RESULTS = Path(__file__).parent / "results" / "fleet.json"
ROWS = Path("out/fleet")
ROUNDS, STEPS, BATCH = 20, 8, 16
FEWER = {"mnist": 10}
"""Rounds of a home; others have `ROUNDS`."""
SEEDS = (0, 1, 2)
FREE = {"pace": 0, "guard": False}
KEPT = {"replay": True, "guard": True, "replace": False}
WAYS: dict[str, dict[str, Any]] = {
    "integer": FREE,
    "integer, no fraction": {**FREE, "bits": 0},
    "anchors only": {**FREE, "learn": "anchors", "share": ("anchors",)},
}
PEOPLE: dict[str, dict[str, Any]] = {
    **WAYS,
    "own anchors": {**FREE, "personal": ("anchors",)},
    "integer, kept": KEPT,
    "own anchors, kept": {**KEPT, "personal": ("anchors",)},
    "integer, half the rates": {**FREE, "slower": 1},
}
HUNDRED: dict[str, dict[str, Any]] = {
    "integer, twice the rates": {**FREE, "slower": -1},
    "anchors only": WAYS["anchors only"],
}
Row = dict[str, Any]


def simulated(fleet: Fleet, folder: Path, seed: int, options: Row, rounds: int = ROUNDS) -> Row:
    shutil.rmtree(folder, ignore_errors=True)
    names = [m.name for m in fleet.members]
    plan = SimulationPlan(fleet.bundle.sha256, "", names, STEPS, BATCH, seed=seed, **options)
    report = Simulation(fleet.bundle, plan, fleet.members, fleet.test, folder, "native").run(rounds)
    spoken = [(one.bytes_up + one.bytes_down) / one.merged for one in report.rounds]
    return {
        "before": report.before_own or {"all": report.before},
        "by_round": [one.own or {"all": one.accuracy} for one in report.rounds],
        "bytes": mean(spoken), "bytes_of_the_first_round": spoken[0],
        "bytes_up": mean(one.bytes_up / one.merged for one in report.rounds),
        "hash": report.rounds[-1].base_sha256,
    }  # fmt: skip


def judged_rates(fleet: Fleet, folder: Path, seed: int, rounds: int) -> Row:
    """Factors of the measured rates -> accuracy, mean of the last three rounds, on samples that are
    in no test; and the bundle's own rates.
    """
    members = [Member(one.name, one.learns) for one in fleet.members]
    blind = replace(fleet, members=members, test=fleet.chosen_on)

    def judged(slower: int) -> float:
        made = simulated(blind, folder, seed, {**FREE, "slower": slower}, rounds)
        return mean(one["all"] for one in made["by_round"][-3:])

    own = fleet.bundle.manifest.learning.slower
    return {"rates": {"own": judged(own), "0.5": judged(1), "1": judged(0), "2": judged(-1)},
            "rounds": rounds}  # fmt: skip


def rounds_of(name: str) -> int:
    """Of a fleet."""
    return FEWER.get(HOMES[name], ROUNDS)


def alone(
    fleet: Fleet, member: Member, tests: list[Split], seed: int, options: Row, rounds: int
) -> list[float]:
    """A device that learns by itself, at the bundle's rates, as much as it does in all rounds."""
    care = Care(options.get("replay", False), options["guard"], options.get("replace", True))
    state = ROWS / "alone"
    shutil.rmtree(state, ignore_errors=True)
    session = Session.open(fleet.bundle, "native", state, care=care)
    job = FinetuneJob("", "", "", seed, BATCH, rounds * STEPS * BATCH, pace=options.get("pace"))
    finetune(session, member.learns, job, saving=Saving(0))
    return [evaluate(session, one).accuracy for one in tests]


def beside(fleet: Fleet, seed: int, options: Row, rounds: int = ROUNDS) -> Row:
    """Each device alone, and one with all of their data."""
    some = fleet.members[:10]
    own = {m.name: alone(fleet, m, [fleet.test or m.tested], seed, options, rounds)[0]  # type: ignore[list-item]
           for m in some}  # fmt: skip
    every = Split(np.concatenate([m.learns.x for m in fleet.members]),
                  np.concatenate([m.learns.y for m in fleet.members]))  # fmt: skip
    names = ["all"] if fleet.test is not None else [m.name for m in fleet.members]
    tests = [fleet.test] if fleet.test is not None else [m.tested for m in fleet.members]
    together = alone(fleet, Member("all", every), tests, seed, options, rounds)  # type: ignore[arg-type]
    return {"alone": own, "together": dict(zip(names, together, strict=True))}


def orders(fleet: Fleet, folder: Path, seed: int) -> Row:
    """With 30 % silent: every round merged again in 20 orders."""
    options = {**FREE, "drop": 0.3}
    made = simulated(fleet, folder, seed, options)
    report = json.loads((folder / "report.json").read_bytes())
    finals = set()
    for order in range(20):
        for number, one in enumerate(report["rounds"], 1):
            before = folder / f"base-{number - 1:04}" if number > 1 else None
            base = read_base(fleet.bundle, before, 8)
            files = list(read_deltas([folder / f"round-{number:04}"]))
            random.Random(order).shuffle(files)
            found = merge(fleet.bundle, base, files).base.sha256
            assert found == one["base_sha256"], (order, number)
        finals.add(found)
    return {"orders": 20, "rounds": ROUNDS, "silent": 0.3, "hashes": len(finals), **made}


def make_rows(name: str, data_dir: Path | None, seed: int) -> None:
    """Rows of a fleet and seed that are not there yet."""
    made: list[Fleet] = []

    def fleet() -> Fleet:
        if not made:
            made.append(FLEETS[name](ROWS / f"{HOMES[name]}-{seed}", data_dir, seed))
        return made[0]

    def row(what: str, make: Callable[[], Row]) -> None:
        path = ROWS / f"{name}, {what}, {seed}.json"
        if not path.exists():
            path.write_text(json.dumps(make()))
            print(path.stem, flush=True)

    people, large = HOMES[name] in ("watch", "fsdd"), HOMES[name] == "mnist"
    rounds = rounds_of(name)
    ways = PEOPLE if people else HUNDRED if large else WAYS
    for way, options in ways.items():
        row(way, partial(lambda o: simulated(fleet(), ROWS / "sim", seed, o, rounds), options))
    rates = (found_rate(name),) if large and seed else RATES
    row("float FedAvg", lambda: rival(fleet(), rounds, STEPS, BATCH, seed, rates))
    row("beside", lambda: beside(fleet(), seed, FREE, rounds))
    if people:
        row("beside, kept", lambda: beside(fleet(), seed, KEPT))
    if not seed:
        row("rates", lambda: judged_rates(fleet(), ROWS / "sim", seed, rounds))
    if name == "digits" and seed == 0:
        row("orders", lambda: orders(fleet(), ROWS / "orders", seed))
    if name == "digits" and seed == 0:
        row("bad", lambda: bad_rows(fleet(), ROWS / "bad", seed, FREE))


def found_rate(name: str) -> float:
    """The rival's, of seed 0."""
    return float(json.loads((ROWS / f"{name}, float FedAvg, 0.json").read_text())["rate"])


def last(row: Row) -> float:
    """Mean over devices, or the common test's."""
    return mean(row["by_round"][-1].values())


def summary(rows: list[Row]) -> Row:
    """Of each fleet and way: the last round's accuracy, mean of seeds, and bytes."""
    found: Row = {}
    for row in rows:
        told = found.setdefault(row["fleet"], {})
        if "alone" in row:
            kept = row["way"].removeprefix("beside")
            told.setdefault(f"alone{kept}", []).append(mean(row["alone"].values()))
            told.setdefault(f"one with all data{kept}", []).append(mean(row["together"].values()))
        elif "by_round" in row:
            told.setdefault("before", []).append(mean(row["before"].values()))
            told.setdefault(row["way"], []).append(last(row))
            told.setdefault(f"{row['way']}, bytes", []).append(row["bytes"])
    return {fleet: {key: mean(each) for key, each in told.items()} for fleet, told in found.items()}


def main(
    data_dir: Annotated[Path, typer.Option(help="Where MNIST, FSDD and the wheels lie.")] = Path(
        ".data"
    ),
    fleets: Annotated[str, typer.Option(help="Which, joined by +.")] = "+".join(FLEETS),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    ROWS.mkdir(parents=True, exist_ok=True)
    for name in fleets.split("+"):
        for seed in SEEDS:
            make_rows(name, data_dir, seed)
    rows = [one for name in FLEETS for one in there(name)]
    found = summary(rows)
    RESULTS.write_text(json.dumps({**dated(), "summary": found, "rows": rows}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def there(name: str) -> list[Row]:
    """Rows that are there."""
    found = []
    for path in sorted(ROWS.glob("*.json")):
        fleet, way, seed = _parts(path.stem)
        if fleet == name:
            found.append({"fleet": fleet, "way": way, "seed": seed, **json.loads(path.read_text())})
    return found


def _parts(stem: str) -> tuple[str, str, int]:
    rest, seed = stem.rsplit(", ", 1)
    fleet = max((name for name in FLEETS if rest.startswith(f"{name}, ")), key=len)
    return fleet, rest[len(fleet) + 2 :], int(seed)


if __name__ == "__main__":
    typer.run(main)
