"""500 SIGKILLs at random instants of real fine-tunes: nothing lost, every byte resumed.

    python examples/experiments/kills.py out/demo/bundle

A fine-tune of 240 steps on the digits, turned, is killed and repeated until it reaches its end,
then a new one begins.  After every kill the store must hold the last save that was acknowledged, or
a newer one; at every end both slots must be, byte for byte, those of a run that was never
interrupted.  Writes results/kills.json.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from trials.kills import Kills, Work, kill_finetunes

RESULTS = Path(__file__).parent / "results" / "kills.json"


def main(
    bundle: Path,
    kills: int = 500,
    steps: int = 240,
    save_every: int = 3,
    seed: int = 0,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    start = time.perf_counter()

    def watch(found: Kills) -> None:
        if found.kills % 25 == 0:
            print(found, flush=True)

    with tempfile.TemporaryDirectory() as root:
        found = kill_finetunes(Work(bundle, steps, save_every), Path(root), kills, seed, watch)
    report = {"steps": steps, "save_every": save_every, "seed": seed, **vars(found)}
    report["seconds"] = round(time.perf_counter() - start, 1)
    results.write_text(json.dumps(report, indent=2) + "\n")
    print(report)


if __name__ == "__main__":
    typer.run(main)
