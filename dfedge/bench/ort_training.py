"""Steps of onnxruntime-training 1.19.2, in an environment of its own.

    PYTHON ort_training.py MODEL.onnx BATCH CLASSES THREADS SECONDS

A file that stands alone: that environment has NumPy 1 and no dfedge.  Prints one JSON object.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import onnxruntime.training.api as api
from onnxruntime.training import artifacts


def load(path: Path, folder: Path, threads: int) -> tuple[Any, Any]:
    """Training module and optimiser made from a forward graph."""
    model = onnx.load(path)
    weights = [
        t.name
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.FLOAT and ".frozen." not in t.name
    ]
    artifacts.generate_artifacts(
        model,
        requires_grad=weights,
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=str(folder),
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    state = api.CheckpointState.load_checkpoint(str(folder / "checkpoint"))
    module = api.Module(
        str(folder / "training_model.onnx"), state, device="cpu", session_options=options
    )
    module.train()
    return module, api.Optimizer(str(folder / "optimizer_model.onnx"), module)


def main(path: str, batch: str, classes: str, threads: str, seconds: str) -> None:
    """Train for some seconds; the median step."""
    rng = np.random.default_rng(0)
    shape = [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    x = rng.random((int(batch), *shape[1:]), np.float32)
    y = rng.integers(int(classes), size=int(batch))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        module, optimizer = load(Path(path), Path(scratch), int(threads))
        end = time.perf_counter() + float(seconds)
        while time.perf_counter() < end or len(times) < 6:
            start = time.perf_counter()
            module(x, y)
            optimizer.step()
            module.lazy_reset_grad()
            times.append(1000 * (time.perf_counter() - start))
    print(json.dumps({"ms": statistics.median(times[1:]), "calls": len(times) - 1}))


if __name__ == "__main__":
    main(*sys.argv[1:])
