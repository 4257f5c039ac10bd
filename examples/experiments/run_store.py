"""dfedge-run's files: every flipped bit, lost power, killed processes; and the same store in flash.

    dfedge export RUN --format c --target mps2-an386 --batch 1 --out BUNDLE
    python examples/experiments/run_store.py BUNDLE

2,000 single bits flipped in net.dfe and as many in a state file, each read by dfedge-run, which
must refuse the file, or open the slot that is whole and say so.  Power lost after every call that a
training of 200 saves made on its disk, and in every unit and sector that 8 saves program and erase
in simulated flash, by the store and by `net_save` of the exported folder; beside each, a control in
which losses must be found.  2,000 bits flipped in that flash.  500 trainings killed.
The bundle is of the digits.  Writes results/run_store.json.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from dated import dated
from trials import calls, flash, power
from trials.runner import (
    ACCEPTED,
    compile_runner,
    flip_bits,
    kill_trainings,
    slot_bytes_of,
    work_on,
)

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split

RESULTS = Path(__file__).parent / "results" / "run_store.json"
CONTROL = 4
CHIPS = ((4096, 4), (4096, 8), (2048, 16), (8192, 32))
"""Bytes of a sector and of a unit."""


def main(
    bundle: Path,
    flips: int = 2000,
    saves: int = 200,
    flash_saves: int = 8,
    kills: int = 500,
    seed: int = 0,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    opened, found = Bundle.open(bundle), {}
    manifest = opened.manifest
    _, split = load_split(
        "digits", None, manifest.input, manifest.classes, ("stream",), "rotate:90"
    )

    def timed(name: str, measure: Callable[[], dict[str, Any]]) -> None:
        start = time.perf_counter()
        found[name] = measure()
        found[name]["seconds"] = round(time.perf_counter() - start, 1)
        print(name, found[name], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        net = root / "net.dfe"
        net.write_bytes((opened.folder / "c" / "net.dfe").read_bytes())
        sources = opened.folder / "c"
        app = compile_runner(root / "dfedge-run", sources / "run", sources / "dfedge")

        def flipped(of: str) -> dict[str, Any]:
            work = work_on(app, net, split.take(np.arange(16)), root)
            state = root / "flipped"
            if not state.exists():
                subprocess.run(work.command(state), check=True, capture_output=True)
            outcomes = flip_bits(work, state, of, flips, seed)
            accepted = sum(outcomes[name] for name in ACCEPTED)
            return {"flips": flips, "accepted": accepted, "outcomes": dict(outcomes)}

        def lost(count: int, left_out: str | None) -> dict[str, Any]:
            work = work_on(app, net, split.take(np.arange(count)), root)
            state = root / f"lost-{left_out}"
            made = calls.record(work.command(state), root)
            losses = calls.lose_power(made, slot_bytes_of(net), left_out)
            return {"saves": count, **vars(losses)}

        def killed() -> dict[str, Any]:
            work = work_on(app, net, split, root, save_every=3)
            return vars(kill_trainings(work, root, kills, seed))

        def in_flash(chip: flash.Chip, count: int) -> dict[str, Any]:
            return {"saves": count, **vars(chip), **vars(flash.lose_power(chip, count, seed))}

        timed("bits of net.dfe", lambda: flipped("net"))
        timed("bits of a state file", lambda: flipped("state"))
        timed("power lost under dfedge-run", lambda: lost(saves, None))
        timed("the same without its flushes", lambda: lost(CONTROL, "s"))
        state_bytes = manifest.formats["c"].memory["train_b1"].state_bytes
        for sector, unit in CHIPS:
            chip = flash.Chip(state_bytes, sector, unit)
            timed(
                f"power lost in flash of units of {unit}", lambda c=chip: in_flash(c, flash_saves)
            )
        careless = flash.Chip(state_bytes, 4096, 64, careless=True)
        timed("the same where both slots are erased", lambda: in_flash(careless, CONTROL))
        for sector, unit in CHIPS:
            chances = power.Chances(sector, unit, flash_saves, flips=flips)
            timed(
                f"power lost in net_save, units of {unit}",
                lambda c=chances: vars(c) | power.lose_power(sources, root, c),
            )
        control = power.Chances(saves=CONTROL, stride=40, careless=True)
        timed(
            "net_save where both slots are erased",
            lambda: vars(control) | power.lose_power(sources, root, control),
        )
        timed("processes killed", killed)
    results.write_text(
        json.dumps({**dated(), "net": Path(manifest.net).name, **found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
