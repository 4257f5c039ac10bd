"""Adopted nets in the C interpreter beside stock onnxruntime: arenas, and milliseconds in turns.

    dfedge export out/adopted --format onnx --format c --batch 16 --out out/adopted-bundle
    OMP_NUM_THREADS=1 python examples/experiments/native_adopted.py out/adopted-bundle

Times are processor time of one thread, the median of rounds in turns; onnx is left out where a
bundle has no such programs.  Prints, and adds to results/native_adopted.json beside this file.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from native import in_turns, nothing, ratios

from dfedge.bundle import Bundle
from dfedge.device.native import NativeRunner
from dfedge.device.runners import Runner, open_runner
from dfedge.native.program import CALLS

RESULTS = Path(__file__).parent / "results/native_adopted.json"


def measured(bundle: Bundle) -> dict[str, object]:
    """One bundle."""
    plan, formats = bundle.manifest.plan, bundle.manifest.formats
    native = NativeRunner(bundle)
    runners: dict[str, Runner] = {"native": native}
    if "onnx" in formats:
        runners["onnx"] = open_runner(bundle, "onnx")
    fields, rng = native.program.table.program, np.random.default_rng(0)
    found: dict[str, object] = {
        "image": int(np.prod(plan.input_shape)),
        "trunk's workspace": fields["workspace"],
        "constants": fields["constant_bytes"],
        "state": fields["state_bytes"],
    }
    for method in bundle.manifest.methods:
        arenas = {"native": native.program.arena_bytes(CALLS[method.kind], method.batch)}
        if "onnx" in formats:
            arenas["onnx"] = formats["onnx"].memory[method.name].arena_bytes
        found[method.name] = entry = {"arena": arenas}
        if method.kind not in ("infer", "train"):
            continue
        x = rng.integers(0, 128, (method.batch, *plan.input_shape), np.int8)
        y = rng.integers(0, plan.classes, method.batch, np.int32)
        given = (x, y) if method.kind == "train" else (x,)
        times = in_turns({
            name: (nothing, partial(getattr(runner, method.kind), *given))
            for name, runner in runners.items()
        })  # fmt: skip
        entry |= {"ms": times, "ratio": ratios(times, "native")}
    return found


def main(folders: list[str]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for folder in folders:
        bundle = Bundle.open(Path(folder))
        kept[Path(folder).name] = measured(bundle)
        print(folder, json.dumps(kept[Path(folder).name]))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
