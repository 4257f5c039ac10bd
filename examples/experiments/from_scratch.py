"""Integer learning from random weights, on the device side alone: one epoch of MNIST.

    python examples/experiments/from_scratch.py --data-dir .data

A net that was never trained is exported; its anchors are set to the class means of the first 500
images and it then learns 55,000 images once, at batch 16, inside the ONNX program.  Rates are
chosen on the 5,000 images left, the test split is looked at once.  Writes
results/from_scratch.json.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device.anchors import set_anchors
from dfedge.device.care import NO_CARE
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, calibrate_run, train

RESULTS = Path(__file__).parent / "results" / "from_scratch.json"
OUT = Path("out/from_scratch")
HELD_OUT, FIRST = 5000, 500
RATES = [(weight, anchor) for weight in (-2, -1, 0) for anchor in (-1, 0, 1)]
"""Added to the shifts: -1 doubles the rate."""


def bundle_of(seed: int, data_dir: Path | None) -> Bundle:
    options = TrainOptions("mnist", data_dir, seed=seed, settings={"epochs": 0})
    run = train(options, OUT / f"run{seed}")
    calibrate_run(run, "pow2-mse")
    return export(run, ExportOptions(("onnx",)), OUT / f"bundle{seed}")


def part(bundle: Bundle, data_dir: Path | None, name: str) -> Split:
    manifest = bundle.manifest
    return load_split("mnist", data_dir, manifest.input, manifest.classes, (name,), None)[1]


def learned(bundle: Bundle, stream: Split, rates: tuple[int, int], samples: int) -> Session:
    session = Session.open(bundle, "onnx", OUT / "state", initial=True, care=NO_CARE)
    set_anchors(session, stream.take(np.arange(FIRST)))
    for name, add in zip(("weight_shift", "anchor_shift"), rates, strict=True):
        session.rates[name] = session.rates[name] + np.int8(add)
    finetune(session, stream, FinetuneJob("mnist", "train", "", 0, 16, samples))
    return session


def main(data_dir: Annotated[Path | None, typer.Option()] = None) -> None:
    keep_freed_memory()
    bundle = bundle_of(0, data_dir)
    whole = part(bundle, data_dir, "train")
    stream = whole.take(np.arange(len(whole) - HELD_OUT))
    held_out = whole.take(np.arange(len(whole) - HELD_OUT, len(whole)))
    tried = {}
    for rates in RATES:
        found = evaluate(learned(bundle, stream, rates, 16_000), held_out).accuracy
        tried["weight {:+d}, anchor {:+d}".format(*rates)] = found
        print(rates, found, flush=True)
    best = RATES[int(np.argmax(list(tried.values())))]
    rows = []
    for seed in (0, 1, 2):
        bundle = bundle_of(seed, data_dir)
        test = part(bundle, data_dir, "test")
        session = Session.open(bundle, "onnx", OUT / "state", initial=True, care=NO_CARE)
        set_anchors(session, stream.take(np.arange(FIRST)))
        anchors = evaluate(session, test).accuracy
        after = evaluate(learned(bundle, stream, best, len(stream)), test).accuracy
        rows.append({"seed": seed, "anchors_only": anchors, "after": after})
        print(rows[-1], flush=True)
    found = {"validation_after_16000": tried, "rates": best, "test": rows}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
