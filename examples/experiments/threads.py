"""10,000 mixed calls of 8 threads on each runtime, with care and without: `trials.threads`.

    python examples/experiments/threads.py out/long/bundle

On every runtime that is installed; the bundle has all formats.
Writes results/threads.json.
"""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import typer
from dated import dated
from trials.threads import compare

from dfedge.bundle import Bundle
from dfedge.device.care import NO_CARE, Care
from dfedge.device.runners import installed
from dfedge.native.rendering import exactly
from dfedge.runtimes import NATIVE, formats

RESULTS = Path(__file__).parent / "results" / "threads.json"


def main(bundle: Path, calls: int = 10_000, results: Path = RESULTS) -> None:
    opened, report, faults = Bundle.open(bundle), {**dated(), "calls": calls}, 0
    for runtime in map(exactly, filter(installed, (*formats(), NATIVE))):
        for kind, care in (("care", Care()), ("no care", NO_CARE)):
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = compare(opened, runtime, Path(folder), care, calls)
            faults += found.faults
            row = {**asdict(found), "seconds": round(time.perf_counter() - start)}
            report[f"{runtime}, {kind}"] = row
            print(runtime, kind, row, flush=True)
            results.write_text(json.dumps(report, indent=1) + "\n")
    raise typer.Exit(faults > 0)


if __name__ == "__main__":
    typer.run(main)
