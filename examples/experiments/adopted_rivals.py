"""Adopted nets beside back-propagation of the part that learns, and beside plain int8 inference.

    export PYTHONPATH=MODELS/efficientnet_lite_pytorch:examples/experiments
    OMP_NUM_THREADS=1 python examples/experiments/adopted_rivals.py MODELS [ORT_TRAINING_PYTHON]

`dfedge bench` (one thread, native) and `dfedge profile` of MLPerf Tiny's nets and of
EfficientNet-Lite0 at 128 x 128 (MODELS as in pretrained.py).  Images are noise and the small nets'
weights are drawn: neither sizes nor times depend on them, zeros apart.  Writes
results/adopted_rivals.json, net by net; a net that is there is not run again.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from dated import dated
from pretrained import MEAN, STD

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bench.report import bench
from dfedge.exporters.write import ExportOptions, export
from dfedge.profile.report import profile

RESULTS, WORK = Path(__file__).parent / "results/adopted_rivals.json", Path("out/adopted_rivals")
SAMPLES, SECONDS = 96, 0.5
NETS: dict[str, dict[str, Any]] = {
    "ResNet-8": {"model": "tiny_shapes:resnet8", "shape": (32, 32, 3), "batch": 16,
                 "learn": ("head", "all")},
    "MobileNetV1-0.25": {"model": "tiny_shapes:mobilenet", "shape": (96, 96, 3), "batch": 1,
                         "learn": ("head", "last:4")},
    "EfficientNet-Lite0": {"model": "pretrained:net", "shape": (128, 128, 3), "batch": 1,
                           "learn": ("head", "last:2"), "mean": MEAN, "std": STD},
}  # fmt: skip


def measured(net: dict[str, Any], learn: str, ort_training: Path | None) -> dict[str, Any]:
    """One net, one part of it learning."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    classes = 2 if net["model"] == "tiny_shapes:mobilenet" else 10
    x = np.random.default_rng(0).integers(0, 256, (SAMPLES, *net["shape"]), np.uint8)
    np.savez(WORK / "noise.npz", x=x, y=np.arange(SAMPLES) % classes)
    options = AdoptOptions(net["model"], str(WORK / "noise.npz"), learn=learn,
                           mean=net.get("mean", ()), std=net.get("std", ()))  # fmt: skip
    run = adopt(options, WORK / "run").run
    made = export(run, ExportOptions(("c",), batch=net["batch"], trial=False), WORK / "bundle")
    speed = bench(made, ["native"], (1,), SECONDS, ort_training)
    memory = profile(made, ["native"], calls=5)
    native = memory.renderings["native"].methods
    return {
        "computer": speed.computer,
        "bench": [msgspec.to_builtins(row) for row in speed.rows],
        "not_run": speed.not_run,
        "native": {name: [one.arena_bytes, one.state_bytes] for name, one in native.items()},
        "rivals": {
            batch: {name: [one.arena_bytes, one.state_bytes] for name, one in found.items()}
            for batch, found in memory.rivals_by_batch.items()
        },
    }


def main() -> None:
    ort_training = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    rows = json.loads(RESULTS.read_text())["nets"] if RESULTS.exists() else {}
    for name, net in NETS.items():
        for learn in net["learn"]:
            if f"{name}, {learn}" not in rows:
                rows[f"{name}, {learn}"] = measured(net, learn, ort_training)
                print(name, learn, rows[f"{name}, {learn}"]["bench"], flush=True)
                RESULTS.write_text(json.dumps({**dated(), "nets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
