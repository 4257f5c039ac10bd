"""What the rates of learning on the device are worth.

    python examples/experiments/adaptation.py

Digits turned by 90 degrees, 2,000 presentations of 437 images, three nets times three orders.  Each
row changes one thing of the default.  Writes results/adaptation.json (about four minutes).
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train
from dfedge.plan import MAX_UPDATE_SHIFT

HERE, OUT = Path(__file__).parent, Path("out/adaptation")
SHIFT = "rotate:90"
Rates = dict[str, np.ndarray]


def add(**changes: int) -> Callable[[Rates], None]:
    """Add to shifts: one more is half the learning rate."""

    def change(rates: Rates) -> None:
        for name, amount in changes.items():
            moved = rates[f"{name}_shift"].astype(np.int32) + amount
            rates[f"{name}_shift"] = moved.clip(0, MAX_UPDATE_SHIFT).astype(np.int8)

    return change


def paced(most: int) -> Callable[[Rates], None]:
    """How far the rates may slow down while there is little to learn."""

    def change(rates: Rates) -> None:
        rates["pace"] = np.array(most, np.int32)

    return change


VARIANTS: dict[str, Callable[[Rates], None]] = {
    "default": add(),
    "constant rate": paced(0),
    "pace 2": paced(2),
    "pace 6": paced(6),
    "weights' rate doubled": add(weight=-1),
    "weights' rate halved": add(weight=1),
    "anchors' rate doubled": add(anchor=-1),
    "anchors' rate halved": add(anchor=1),
    "all rates doubled": add(weight=-1, anchor=-1),
    "all rates halved": add(weight=1, anchor=1),
    "weights kept, anchors learn": add(weight=MAX_UPDATE_SHIFT),
}


def bundle_of(seed: int) -> Bundle:
    run = train(TrainOptions(qat=True, seed=seed), OUT / f"run{seed}")
    return export(run, ExportOptions(("onnx",)), OUT / f"bundle{seed}")


def adapt(bundle: Bundle, order: int, change: Callable[[Rates], None]) -> float:
    manifest = bundle.manifest
    stream, test = (
        load_split("digits", None, manifest.input, manifest.classes, (name,), SHIFT)[1]
        for name in ("stream", "test")
    )
    session = Session.open(bundle, "onnx", OUT / "state", initial=True, care=Care(replace=True))
    change(session.rates)
    finetune(session, stream, FinetuneJob("digits", "stream", SHIFT, order, 16, 2000))
    return evaluate(session, test).accuracy


def main() -> None:
    bundles = [bundle_of(seed) for seed in (0, 1, 2)]
    rows = {}
    for name, change in VARIANTS.items():
        found = [adapt(b, order, change) for b in bundles for order in (0, 1, 2)]
        rows[name] = {"mean": statistics.mean(found), "worst": min(found), "all": found}
        print(f"{name:32} mean {statistics.mean(found):.3f}  worst {min(found):.3f}", flush=True)
    text = json.dumps(rows, indent=1)
    (HERE / "results" / "adaptation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
