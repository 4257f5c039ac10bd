"""Does learning on what is known do harm: 5,000 steps on a trained net's own training data.

    python examples/experiments/own_data.py --data-dir .data

With the rates that the bundle comes with, which learn the demo's turned digits, at its pace and
at a constant rate: test accuracy at every 500th step at batch 16, and the fraction of weights that
moved in every layer.  Writes results/own_data.json.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.demo.route import weights_changed
from dfedge.device.care import NO_CARE
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import steps
from dfedge.device.session import Session
from dfedge.device.store import Job
from dfedge.export.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "own_data.json"
OUT, STEPS, BATCH, EVERY = Path("out/own_data"), 5000, 16, 500
DATA = ("digits", "mnist")


def part(bundle: Bundle, data_dir: Path | None, name: str) -> Split:
    manifest = bundle.manifest
    return load_split(manifest.data, data_dir, manifest.image, manifest.classes, (name,), None)[1]


def followed(bundle: Bundle, data_dir: Path | None, constant: bool) -> dict[str, Any]:
    session = Session.open(bundle, "onnx", OUT / "state", initial=True, care=NO_CARE)
    if constant:
        session.rates["pace"] = np.zeros((), np.int32)
    stream, test = (part(bundle, data_dir, name) for name in ("train", "test"))
    seen = [evaluate(session, test).accuracy]
    job = Job(bundle.manifest.data, "train", "", 0, BATCH, STEPS * BATCH)
    seen += [
        evaluate(session, test).accuracy
        for step in steps(session, stream, job)
        if step.done % (EVERY * BATCH) == 0
    ]
    return {
        "test_accuracy": seen,
        "largest_move_points": 100 * max(abs(one - seen[0]) for one in seen),
        "weights_changed": weights_changed(session),
    }


def main(data_dir: Annotated[Path | None, typer.Option()] = None) -> None:
    keep_freed_memory()
    rows = {}
    for data in DATA:
        run = train(TrainOptions(data, data_dir, qat=True), OUT / data)
        bundle = export(run, ExportOptions(("onnx",)), OUT / f"{data}-bundle")
        for constant in (False, True):
            name = f"{data}, {'constant rate' if constant else 'at its pace'}"
            rows[name] = followed(bundle, data_dir, constant)
            print(name, rows[name], flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
