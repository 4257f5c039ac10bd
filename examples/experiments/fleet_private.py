"""Fleets with differential privacy: accuracy beside epsilon, by noise multiplier.

    OMP_NUM_THREADS=1 PYTHONPATH=examples/experiments \
        python examples/experiments/fleet_private.py --data-dir .data

Fleets, bundles and settings are those of `fleet.py`; a third one has 1,000 devices with 60 images
of MNIST each, a sixth of which, upright, trained the net.  The clip norm is the best of three at
multiplier 1, by the mean of the last three rounds, on samples that are in no test
(`Fleet.chosen_on`); that of 100 devices serves 1,000.  Epsilon holds at delta 1e-5 for a device
that took part in every round.  One seed.  A row that is in the file of results is not made again.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from dated import dated
from fleet import FREE, simulated
from fleet_sets import FLEETS, HOMES, Fleet

from dfedge.data.sources import load_split
from dfedge.fleet.privacy import Privacy, Spent
from dfedge.fleet.shares import Member, shared_out

RESULTS, WORK = Path(__file__).parent / "results" / "fleet_private.json", Path("out/fleet")
DIGITS, HUNDRED, THOUSAND = "digits", "mnist, 100 devices", "mnist, 1,000 devices"
TWICE = {**FREE, "slower": -1}
ROUNDS = {DIGITS: 20, HUNDRED: 10, THOUSAND: 4}
OPTIONS = {DIGITS: FREE, HUNDRED: TWICE, THOUSAND: TWICE}
CLIPS = {DIGITS: (80.0, 160.0, 320.0), HUNDRED: (50.0, 100.0, 200.0)}
"""The longest is about as long as most devices' first differences of the net's own samples."""
NOISE: dict[str, tuple[float | None, ...]] = {
    DIGITS: (None, 1.0), HUNDRED: (None, 0.5, 1.0, 2.0, 4.0), THOUSAND: (4.0,)
}  # fmt: skip
Row = dict[str, Any]


def fleet_of(name: str, data_dir: Path | None) -> Fleet:
    """A fleet, and its bundle of seed 0."""
    home = HUNDRED if name == THOUSAND else name
    found = FLEETS[home](WORK / f"{HOMES[home]}-0", data_dir, 0)
    if name != THOUSAND:
        return found
    own = found.bundle.manifest
    images = load_split("mnist", data_dir, own.input, own.classes, ("train",), "rotate:90")[1]
    return replace(found, members=shared_out(images, "equal", 1000, 0))


def chosen_clip(name: str, fleet: Fleet) -> Row:
    """Clip norm -> accuracy on samples that are in no test."""
    members = [Member(one.name, one.learns) for one in fleet.members]
    blind = replace(fleet, members=members, test=fleet.chosen_on)
    return {f"{clip:g}": mean(last_three(name, blind, Privacy(1.0, clip))) for clip in CLIPS[name]}


def last_three(name: str, fleet: Fleet, privacy: Privacy | None) -> list[float]:
    """Accuracy of the last three rounds."""
    options = {**OPTIONS[name], "privacy": privacy}
    made = simulated(fleet, WORK / "private", 0, options, ROUNDS[name])
    return [one["all"] for one in made["by_round"][-3:]]


def main(data_dir: Annotated[Path | None, typer.Option()] = None) -> None:
    rows: Row = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep(key: str, row: Row) -> None:
        rows[key] = {**row, **dated()}
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
        print(key, row, flush=True)

    for name, multipliers in NOISE.items():
        fleet = None
        home = HUNDRED if name == THOUSAND else name
        for z in multipliers:
            key, choice = f"{name}, {z or 'no'} noise", f"{home}, clip norm"
            if key in rows:
                continue
            fleet = fleet or fleet_of(name, data_dir)
            if choice not in rows:
                keep(choice, chosen_clip(home, fleet))
            judged = {clip: value for clip, value in rows[choice].items() if clip[0].isdigit()}
            privacy = Privacy(z, float(max(judged, key=judged.__getitem__))) if z else None
            spent = (Spent(z, ROUNDS[name]),) if z else ()
            keep(key, {
                "last_three": last_three(name, fleet, privacy), "rounds": ROUNDS[name],
                "clip_norm": privacy.clip_norm if privacy else None,
                "epsilon": privacy.epsilon(spent) if privacy else None,
            })  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
