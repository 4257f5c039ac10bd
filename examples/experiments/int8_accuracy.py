"""What int8 costs: test accuracy of the float net, of its fake-quantised self, of the program.

    python examples/experiments/int8_accuracy.py --data-dir .data

MNIST with the net and settings of `dfedge train`; Fashion-MNIST and CIFAR-10 shortened to what two
cores train in minutes (`SETTINGS`).  The exported program answers the whole test split.  Writes
results/int8_accuracy.json; a row that is there is not made again (about half an hour in all).
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.allocator import keep_freed_memory
from dfedge.data.sources import load_split
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, calibrate_run, train

RESULTS = Path(__file__).parent / "results" / "int8_accuracy.json"
OUT = Path("out/int8_accuracy")
SETTINGS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "mnist": (None, {}),
    "fashion-mnist": (None, {"samples": 20_000, "validation": 1000, "epochs": 5}),
    "cifar10": ("ten-slim", {"samples": 20_000, "validation": 1000, "epochs": 8, "qat_epochs": 2}),
}


def measured(data: str, data_dir: Path | None) -> dict[str, float]:
    """Accuracy after the float and the fake-quantised epochs, and of the exported program."""
    net, settings = SETTINGS[data]
    run = train(TrainOptions(data, data_dir, net, "df", True, 0, settings), OUT / data)
    calibrate_run(run, "pow2-mse")
    bundle = export(run, ExportOptions(("onnx",), batch=16), OUT / f"{data}-bundle")
    session = Session.open(bundle, "onnx", OUT / "state", initial=True)
    manifest = bundle.manifest
    test = load_split(data, data_dir, manifest.input, manifest.classes, ("test",), None)[1]
    rows = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    trained = {row["phase"]: row["test_accuracy"] for row in rows if "test_accuracy" in row}
    return trained | {"int8": round(evaluate(session, test).accuracy, 4)}


def main(data_dir: Annotated[Path | None, typer.Option()] = None) -> None:
    keep_freed_memory()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for data in SETTINGS:
        if data not in rows:
            rows[data] = measured(data, data_dir)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
            print(data, rows[data], flush=True)


if __name__ == "__main__":
    typer.run(main)
