"""The same bits after 1,000 steps: PyTorch, ONNX Runtime, ExecuTorch and LiteRT.

    python examples/experiments/same_bits.py --data-dir .data

The ten-convolution net, briefly trained on MNIST and on CIFAR-10, learns on under every rule of the
device.  After each step the scores and every byte of the state are compared with PyTorch's.  Writes
results/same_bits.json beside this file; a row that is there is not made again (about an hour).
"""

import json
import time
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer

import dfedge
from dfedge.allocator import keep_freed_memory
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, calibrate_run, train
from dfedge.runtimes import formats
from dfedge.verify import verify

RESULTS = Path(__file__).parent / "results" / "same_bits.json"
RUNS = Path("out/same_bits")
BATCH = 4
BRIEF = {"validation": 200, "epochs": 1, "qat_epochs": 1, "batch": 32, "test_samples": 200}
SAMPLES = {"one-pass": 2000, "label-plane": 800}
CASES = [
    (data, rule, form)
    for data in ("mnist", "cifar10")
    for rule, form in (
        ("df", "one-pass"),
        ("df-o", "one-pass"),
        ("df-r", "one-pass"),
        ("df", "label-plane"),
    )
]


def net_for(data: str) -> str:
    """ten-slim; with 3 x 3 anchor cells for MNIST, whose last maps are that small."""
    if data != "mnist":
        return "ten-slim"
    shipped = Path(dfedge.__file__).parent / "learn" / "nets" / "ten-slim.toml"
    own = RUNS / "ten-slim-28.toml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(shipped.read_text().replace("anchors = 4", "anchors = 3"))
    return str(own)


def run_of(data: str, form: str, data_dir: Path | None) -> Run:
    folder = RUNS / f"{data}-{form}"
    settings = BRIEF | {"samples": SAMPLES[form]}
    net = net_for(data)
    run = train(TrainOptions(data, data_dir, net, "df", True, 0, settings, form), folder)
    calibrate_run(run, "pow2-mse")
    return run


def main(data_dir: Annotated[Path | None, typer.Option()] = None, steps: int = 1000) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for data, rule, form in CASES:
        name = f"{data} {rule} {form}"
        if rows.get(name, {}).get("steps") == steps:
            continue
        start = time.time()
        options = ExportOptions(tuple(formats()), batch=BATCH, rule=rule)
        bundle = export(run_of(data, form, data_dir), options, RUNS / name.replace(" ", "-"))
        found = msgspec.to_builtins(verify(bundle, steps))
        rows[name] = found | {"batch": BATCH, "seconds": round(time.time() - start)}
        RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
        print(name, found["identical"], set(found["runtimes"].values()), flush=True)


if __name__ == "__main__":
    typer.run(main)
