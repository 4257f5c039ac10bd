"""2,000 manifests, .pt2 and .onnx files each, changed on purpose: run or refused with one line.

    python examples/experiments/strangers.py out/demo/bundle

Structure is changed and every checksum made right again, so that what is changed is read.  A
manifest is taken from `Session.open` to the first learning step on every runtime that is installed;
a net is adopted, exported, and learns.  A fault is another exception than a refusal, one of more
than a line, more than 5 s of processor time, more than 1 GiB, or code of the file that was run.
Writes results/strangers.json.
"""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from harm_report import commit

from dfedge.device.runners import NATIVE, RUNTIMES, installed
from dfedge.faults.archives import mutate_archives
from dfedge.faults.manifests import mutate_manifests
from dfedge.faults.onnx_files import mutate_onnx
from dfedge.faults.trial import Trials

RESULTS = Path(__file__).parent / "results" / "strangers.json"
MOST_SECONDS = 5.0


def main(
    bundle: Path,
    trials: int = 2000,
    seed: int = 0,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    torch.set_num_threads(1)
    home = Path.cwd()

    def manifests(folder: Path) -> Trials:
        shutil.copytree(home / bundle, folder / "bundle")
        runtimes = [name for name in (*RUNTIMES, NATIVE) if installed(name)]
        return mutate_manifests(folder / "bundle", folder / "state", runtimes, trials, seed)

    kinds = {
        "manifest.json": manifests,
        ".pt2": lambda folder: mutate_archives(folder, trials, seed),
        ".onnx": lambda folder: mutate_onnx(folder, trials, seed),
    }
    report: dict[str, object] = {"trials": trials, "seed": seed, "commit": commit()}
    for name, mutate in kinds.items():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            found = mutate(Path(folder))
            os.chdir(home)
        if found.slowest > MOST_SECONDS:
            found.faults["slow"] += 1
        report[name] = {
            "run": found.run,
            "refused": found.refused,
            "faults": dict(found.faults),
            "slowest_s": round(found.slowest, 2),
            "seconds": round(time.perf_counter() - start),
        }
        print(name, report[name], flush=True)
    results.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
