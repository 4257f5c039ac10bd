"""2,000 manifests, .pt2, .onnx, .tflite and net.dfe files each, changed on purpose: run or refused
with one line.

    python examples/experiments/strangers.py out/long/bundle

Structure is changed and every checksum made right again, so that what is changed is read.  A
manifest is taken from `Session.open` to the first learning step on every runtime that is installed;
a net is adopted, exported, and learns; a net.dfe learns in dfedge-run.  The bundle is of digits, in
all formats.  A fault is another exception than a refusal, one of more than a line, more than 5 s of
processor time, more than 1 GiB, or code of the file that was run.
Writes results/strangers.json.
"""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from dated import dated
from trials.archives import mutate_archives
from trials.manifests import mutate_manifests
from trials.net_files import mutate_nets
from trials.onnx_files import mutate_onnx
from trials.runner import compile_runner, work_on
from trials.tflite_files import mutate_tflite
from trials.trial import Trials

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.runners import installed
from dfedge.runtimes import NATIVE, formats

RESULTS = Path(__file__).parent / "results" / "strangers.json"
MOST_SECONDS, LOOKED_AT = 5.0, 200
"""Files .tflite are looked at by `adopt --check`, and one of so many goes all the way."""


def main(
    bundle: Path,
    trials: int = 2000,
    seed: int = 0,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only these; what was found of others is kept.")
    ] = None,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    torch.set_num_threads(1)
    home = Path.cwd()

    def manifests(folder: Path) -> Trials:
        shutil.copytree(home / bundle, folder / "bundle")
        runtimes = [name for name in (*formats(), NATIVE) if installed(name)]
        return mutate_manifests(folder / "bundle", folder / "state", runtimes, trials, seed)

    def nets(folder: Path) -> Trials:
        image = Bundle.open(home / bundle).manifest.input
        zeros = np.zeros((4, *image.shape), np.uint8)
        sources = home / bundle / "c"
        shutil.copyfile(sources / "net.dfe", folder / "net.dfe")
        app = compile_runner(folder / "dfedge-run", sources / "run", sources / "dfedge")
        work = work_on(app, folder / "net.dfe", Split(zeros, np.arange(4)), folder)
        return mutate_nets(work, folder, trials, seed)

    kinds = {
        "manifest.json": manifests,
        ".pt2": lambda folder: mutate_archives(folder, trials, seed),
        "net.dfe": nets,
        ".onnx": lambda folder: mutate_onnx(folder, trials, seed),
        ".tflite": lambda folder: mutate_tflite(folder, trials, seed, LOOKED_AT),
    }
    for name in kind or kinds:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            found = kinds[name](Path(folder))
            os.chdir(home)
        if found.slowest > MOST_SECONDS:
            found.faults["slow"] += 1
        report = json.loads(results.read_text()) if results.exists() else {}
        report[name] = {
            **dated(),
            "trials": trials,
            "seed": seed,
            "run": found.run,
            "refused": found.refused,
            "of_forms": len(found.refusals),
            "faults": dict(found.faults),
            "slowest_s": round(found.slowest, 2),
            "seconds": round(time.perf_counter() - start),
        }
        print(name, report[name], flush=True)
        results.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
