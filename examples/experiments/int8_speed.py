"""The native interpreter beside ONNX Runtime's and LiteRT's (XNNPACK) int8 operators.

    OMP_NUM_THREADS=1 PYTHONPATH=examples/experiments python examples/experiments/int8_speed.py

Inference, and of adopted nets a step of the head: the native one at samples it has not seen and at
samples it has, against int8 features of the others and a step of a float head in NumPy.  One
process, in turns, one thread, processor time, the median of rounds.  Weights and images are drawn:
times do not depend on them.  Prints, and writes results/int8_speed.json beside this file.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adopt_nets import MobileNetV2
from dated import dated
from native import in_turns, nothing, plain, ratios, under

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bench import int8_litert, int8_onnx
from dfedge.bench.measure import WRITTEN
from dfedge.bundle import Bundle
from dfedge.device.latents import LatentRunner
from dfedge.device.native import NativeRunner
from dfedge.exporters.write import ExportOptions, export
from dfedge.native.program import NativeProgram
from dfedge.plan import Plan

RESULTS, WORK = Path(__file__).parent / "results/int8_speed.json", Path("out/int8_speed")
ADOPTED: dict[str, tuple[str, int]] = {
    "ResNet-8": ("tiny_shapes:resnet8", 32),
    "MobileNetV2-0.35, 32 x 32": ("int8_speed:mobilenet_v2_32", 32),
    "MobileNetV2-0.35, 128 x 128": ("adopt_nets:mobilenet_v2_128", 128),
    "MobileNetV1-0.25, 96 x 96": ("tiny_shapes:mobilenet", 96),
}  # fmt: skip
"""Name -> the net and the side of its images."""
BATCHES = (1, 16)
SAMPLES = 96


def mobilenet_v2_32() -> torch.nn.Module:
    """Strides for images of 32 x 32."""
    torch.manual_seed(0)
    return MobileNetV2().eval()


def adopted(name: str, model: str, side: int, learn: str = "head") -> Bundle:
    """The net with drawn weights, its head alone learning; kept from run to run."""
    place = WORK / name.replace(" ", "")
    if not (place / "bundle").exists():
        place.mkdir(parents=True, exist_ok=True)
        classes = 2 if model == "tiny_shapes:mobilenet" else 10
        x = np.random.default_rng(0).integers(0, 256, (SAMPLES, side, side, 3), np.uint8)
        np.savez(place / "noise.npz", x=x, y=np.arange(SAMPLES) % classes)
        run = adopt(AdoptOptions(model, str(place / "noise.npz"), learn=learn), place / "run").run
        export(run, ExportOptions(("c",), batch=16, trial=False), place / "bundle")
    return Bundle.open(place / "bundle")


def programs() -> dict[str, NativeProgram]:
    """Every net, ready to be called."""
    found = {"plain-64": under(*plain(), "df")}
    for name, (model, side) in ADOPTED.items():
        found[name] = NativeRunner(adopted(name, model, side)).program
    return found


def rivals(plan: Plan, batch: int, place: Path) -> dict[str, Any]:
    """Calls of the same net in int8 operators."""
    place.mkdir(parents=True, exist_ok=True)
    onnx, litert = place / f"{batch}.onnx", place / f"{batch}.tflite"
    if not onnx.exists():
        int8_onnx.write(plan, batch, onnx)
    if not litert.exists():
        int8_litert.write(plan, batch, litert)
    return {
        "ONNX Runtime": WRITTEN["onnx-int8"](onnx, 1),
        "LiteRT": WRITTEN["litert-int8"](litert, 1),
    }


def float_head(features: int, classes: int, batch: int) -> Callable[[], object]:
    """A step of softmax regression, float32, SGD."""
    rng = np.random.default_rng(0)
    f = rng.random((batch, features), np.float32)
    w, y = np.zeros((features, classes), np.float32), np.arange(batch) % classes

    def step() -> None:
        logits = f @ w
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(batch), y] -= 1
        w[:] -= 0.01 / batch * (f.T @ p)

    return step


def head_steps(bundle: Bundle, batch: int, others: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of a step at new samples, at samples seen before, and of the others' way."""
    first, second = (LatentRunner(NativeRunner(bundle), bundle) for _ in range(2))
    plan = bundle.manifest.plan
    x = np.random.default_rng(0).integers(0, 128, (batch, *plan.input_shape), np.int8)
    y = np.arange(batch, dtype=np.int32) % plan.classes
    head = float_head(int(np.prod(plan.latent_shape)), plan.classes, batch)
    calls = {
        "first pass": (first.held.clear, partial(first.train, x, y)),
        "second pass": (nothing, partial(second.train, x, y)),
    }
    for name, call in others.items():
        calls[name] = nothing, lambda call=call: (call(), head())
    return in_turns(calls, rounds=41)


def main(names: list[str]) -> None:
    table: dict[str, Any] = {}
    for name, program in programs().items():
        if names and name not in names:
            continue
        plan = program.plan
        for batch in BATCHES:
            x = np.random.default_rng(0).integers(0, 128, (batch, *plan.input_shape), np.int8)
            others = rivals(plan, batch, WORK / name.replace(" ", ""))
            calls = {"native": partial(program.infer, x)} | others
            times = in_turns({key: (nothing, call) for key, call in calls.items()}, rounds=41)
            table[f"{name}, batch {batch}"] = {"ms": times, "ratio": ratios(times, "native")}
            if name in ADOPTED:
                steps = head_steps(adopted(name, *ADOPTED[name]), batch, others)
                table[f"{name}, batch {batch}"]["head step, ms"] = steps
            print(name, batch, table[f"{name}, batch {batch}"], flush=True)
    if not names:
        RESULTS.write_text(json.dumps({**dated(), "nets": table}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
