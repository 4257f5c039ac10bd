"""Power lost at every instant of a run of 200 saves: the last acknowledged one is always found.

    python examples/experiments/power_loss.py out/demo/bundle

Every save follows a real training step.  Beside the store, a shorter recording is judged as if one
of its flushes had been left out: a simulator that finds no loss there would prove nothing.  Writes
results/power_loss.json.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from trials.saves import record_saves, survey

from dfedge.bundle import Bundle

RESULTS = Path(__file__).parent / "results" / "power_loss.json"
CONTROL = 8


def main(
    bundle: Path, saves: int = 200, results: Annotated[Path, typer.Option()] = RESULTS
) -> None:
    opened = Bundle.open(bundle)
    found = {}
    for name, left_out, count in (
        ("the store", None, saves),
        ("without the flush of files", "sync", CONTROL),
        ("without the flush of the folder", "sync_folder", CONTROL),
    ):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            losses = survey(record_saves(opened, Path(folder), count), left_out)
        seconds = round(time.perf_counter() - start, 1)
        found[name] = {"saves": count, **vars(losses), "seconds": seconds}
        print(name, found[name], flush=True)
    report = {"net": opened.manifest.net, **found}
    results.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
