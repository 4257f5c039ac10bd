"""The measuring process.

    python -m dfedge.bench.measure CONTENDER MODEL METHOD THREADS SECONDS

CONTENDER is a runtime or ``pytorch-bp`` (MODEL is a bundle), or a rival whose MODEL was written
beforehand (`dfedge.bench.report.RIVALS`).  Prints one JSON object.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from dfedge.bundle import LEARNING, Bundle

Call = Callable[[], object]


class Timed(msgspec.Struct, frozen=True):
    """The median of ``calls`` calls, in milliseconds."""

    ms: float
    calls: int


def clock(call: Call, seconds: float) -> Timed:
    """Call for ``seconds``, five times at least; the first call does not count."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return Timed(statistics.median(times), len(times))


def _program(runtime: str, folder: Path, method: str, threads: int) -> Call:
    """A method of the bundle, on golden inputs."""
    from dfedge.device.replay import golden_call
    from dfedge.device.runners import open_runner

    bundle = Bundle.open(folder)
    return golden_call(bundle, open_runner(bundle, runtime, threads), method, 1)


def _pytorch(folder: Path, method: str, threads: int) -> Call:
    """An eager step, forward, backward and SGD; or inference."""
    import torch

    from dfedge.bench.rival import LEARNING_RATE, FloatLoss, example

    torch.set_num_threads(threads)
    plan, (kind, batch) = Bundle.open(folder).manifest.plan, method.split("_b")
    module, (x, y) = FloatLoss(plan), example(plan, int(batch))
    optimizer = torch.optim.SGD(module.parameters(), LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        module(x, y)[0].backward()
        optimizer.step()

    if kind in LEARNING:
        return step
    return torch.inference_mode()(lambda: module.logits(x))


def executorch_step(path: Path, threads: int) -> Call:
    """A step of ExecuTorch's training extension; beside the program lies an example, .pt."""
    from dfedge.bench.rival import LEARNING_RATE
    from dfedge.device.executorch import use_threads
    from dfedge.quiet import quiet

    with quiet():
        from executorch.extension.training import (
            _load_for_executorch_for_training,
            get_sgd_optimizer,
        )

    import torch

    use_threads(threads)
    module = _load_for_executorch_for_training(str(path))
    x, y = torch.load(path.with_suffix(".pt"), weights_only=True)
    module.forward_backward("forward", (x, y))  # parameters are known after a first call
    optimizer = get_sgd_optimizer(module.named_parameters(), LEARNING_RATE)

    def step() -> None:
        module.forward_backward("forward", (x, y))
        optimizer.step(module.named_gradients())

    return step


def _onnx_int8(path: Path, threads: int) -> Call:
    """An inference by onnxruntime's own int8 operators."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = {given.name: np.random.default_rng(0).random(given.shape, np.float32)}
    return lambda: session.run(None, x)


def _litert_int8(path: Path, threads: int) -> Call:
    """An inference by LiteRT's own int8 operators."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=threads).get_signature_runner("infer")
    (given,) = runner.get_input_details().values()
    x = np.random.default_rng(0).integers(-128, 128, given["shape"]).astype(np.int8)
    return lambda: runner(x=x)


WRITTEN = {
    "executorch-bp": executorch_step, "onnx-int8": _onnx_int8, "litert-int8": _litert_int8,
}  # fmt: skip
"""Rivals whose model is a file."""


def main(contender: str, model: str, method: str, threads: str, seconds: str) -> None:
    """Measure and print."""
    count = int(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    where = Path(model)
    if contender == "pytorch-bp":
        call = _pytorch(where, method, count)
    elif contender in WRITTEN:
        call = WRITTEN[contender](where, count)
    else:
        call = _program(contender, where, method, count)
    print(msgspec.json.encode(clock(call, float(seconds))).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
