"""Does learning on what is known do harm: 5,000 steps on a trained net's own training data.

    python examples/experiments/own_data.py --data-dir .data

By default (replay and guard); with neither, at the bundle's rates and pace; the same at a constant
rate: test accuracy at every 500th step at batch 16, and the fraction of weights that moved in
every layer.  Writes results/own_data.json.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from dated import dated

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.demo.route import weights_changed
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import steps
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "own_data.json"
OUT, STEPS, BATCH, EVERY = Path("out/own_data"), 5000, 16, 500
DATA, RUNTIME = ("digits", "mnist"), "native"
WAYS = {
    "by default": (Care(), False),
    "at its pace": (NO_CARE, False),
    "constant rate": (NO_CARE, True),
}
"""Name -> care, and whether the rate is constant."""


def part(bundle: Bundle, data_dir: Path | None, name: str) -> Split:
    manifest = bundle.manifest
    return load_split(manifest.data, data_dir, manifest.input, manifest.classes, (name,), None)[1]


def followed(bundle: Bundle, data_dir: Path | None, care: Care, constant: bool) -> dict[str, Any]:
    session = Session.open(bundle, RUNTIME, OUT / "state", initial=True, care=care)
    if constant:
        session.rates["pace"] = np.zeros((), np.int32)
    stream, test = (part(bundle, data_dir, name) for name in ("train", "test"))
    seen = [evaluate(session, test).accuracy]
    job = FinetuneJob(bundle.manifest.data, "train", "", 0, BATCH, STEPS * BATCH)
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
    rows: dict[str, Any] = dated()
    for data in DATA:
        run = train(TrainOptions(data, data_dir, qat=True), OUT / data)
        bundle = export(run, ExportOptions(("c",)), OUT / f"{data}-bundle")
        for way, (care, constant) in WAYS.items():
            name = f"{data}, {way}"
            rows[name] = followed(bundle, data_dir, care, constant)
            print(name, rows[name], flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
