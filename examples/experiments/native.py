"""The native interpreter beside its rivals, in one process, in turns: memory, speed, kernels.

    dfedge export out/mnist --format onnx --format executorch --rendering native --out out/native
    OMP_NUM_THREADS=1 python examples/experiments/native.py out/mnist-bundle out/native .data

The bundles are of one MNIST run, onnx and executorch in both renderings.  Times are processor time
of one thread, so that other work on the machine counts less; the median round counts.  The state is
put back before every step, so that every sample is as active as at first.  Writes
results/native.json beside this file (about five minutes of processor time).
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from msgspec.structs import replace
from onnx import TensorProto, helper
from trials.random_nets import Drawn, export_drawn, filled
from trials.runner import compile_runner

from dfedge.bench.measure import executorch_step
from dfedge.bench.rival import LEARNING_RATE, FloatLoss, example, write_executorch
from dfedge.bundle import Bundle
from dfedge.data.idx import read_idx
from dfedge.device.native import NativeRunner
from dfedge.device.onnx import OnnxRunner
from dfedge.device.runners import open_runner
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import load_spec
from dfedge.native.image import Identity, image
from dfedge.native.library import INT, POINTER, levels, load
from dfedge.native.program import INFER, TRAIN, NativeProgram
from dfedge.native.rendering import RENDERED, native_of
from dfedge.native.table import make_table
from dfedge.plan import Plan
from dfedge.rules import RULES
from dfedge.state import State

ROUNDS = 15
NATIVES = tuple(native_of(format) for format in RENDERED)
IMAGES = 500
Call = Callable[[], object]


def in_turns(calls: dict[str, tuple[Call, Call]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median processor time in ms of each call; what puts things back before it is not counted."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (before, call) in calls.items():
            before()
            start = time.process_time()
            call()
            if number:  # the first warms up
                took[name].append((time.process_time() - start) * 1000)
    return {name: round(statistics.median(row), 3) for name, row in took.items()}


def ratios(times: dict[str, float], base: str) -> dict[str, float]:
    """How many times as long as ``base``."""
    return {name: round(value / times[base], 2) for name, value in times.items()}


def nothing() -> None:
    """What precedes a call that leaves nothing behind."""


def plain() -> tuple[Plan, dict[str, np.ndarray]]:
    """Ten 3 x 3 convolutions of 64 channels at 32 x 32, with a random state."""
    plan = replace(skeleton(load_spec("plain-64"), (32, 32, 3), 10), feedback="fixed")
    drawn = filled(plan, random.Random(0), 16, None)
    return drawn.plan, {name: value.numpy() for name, value in drawn.state.items()}


def under(plan: Plan, state: dict[str, np.ndarray], rule: str) -> NativeProgram:
    down = RULES.all()[rule].feedback
    kept = {n: v for n, v in state.items() if down == "fixed" or not n.endswith("feedback")}
    changed = replace(plan, feedback=down)
    program = NativeProgram(changed, make_table(changed, kept))
    program.write(kept)
    return program


def memory(plan: Plan, state: dict[str, np.ndarray]) -> dict[str, object]:
    """Arenas of plain-64."""
    table: dict[str, object] = {"one_layers_input_and_output": 2 * 32 * 32 * 64}
    for rule in ("df", "df-o", "df-r"):
        program = under(plan, state, rule)
        table[rule] = {
            "state": program.table.state_bytes,
            **{
                f"{kind}_b{batch}": program.arena_bytes(call, batch)
                for batch in (1, 16)
                for kind, call in (("train", TRAIN), ("infer", INFER))
            },
        }
    return table


def kernels(plan: Plan) -> dict[str, object]:
    """GMAC/s of one 64-channel convolution of plain-64, and of a matrix product of its size."""
    batch, conv, rng = 4, plan.layers[1].convs[0], np.random.default_rng(0)
    table = make_table(plan, {"phase": np.zeros((), np.int32)})
    words = np.array(list(table.convs[1].values()), np.int32)
    x = rng.integers(0, 128, (batch, 32, 32, 64), np.int8)
    w, b = rng.integers(-127, 128, (9, 64, 64), np.int8), np.zeros(64, np.int32)
    h, library = np.empty_like(x), load()
    macs = batch * 32 * 32 * 9 * 64 * 64
    best = library.dfe_level_used()
    given = [array.ctypes.data for array in (x, w, b, h)]

    def forward() -> None:
        at = words.ctypes.data
        library.dfe_conv_relu(at, batch, *given)

    library.dfe_conv_relu.argtypes = [POINTER, INT, *[POINTER] * 4]
    session, inputs = product(batch * 32 * 32, 9 * 64, 64)
    calls: dict[str, tuple[Call, Call]] = {
        "onnxruntime u8s8 MatMulInteger": (nothing, lambda: session.run(None, inputs))
    }
    for number, name in enumerate(levels(library)):
        if library.dfe_use_level(number) == 0:

            def choose(number: int = number) -> None:
                library.dfe_use_level(number)

            calls[name] = (choose, forward)
    times = in_turns(calls)
    library.dfe_use_level(best)
    assert conv.channels == 64
    return {name: round(macs / value / 1e6, 1) for name, value in times.items()}


def product(m: int, k: int, n: int) -> tuple[ort.InferenceSession, dict[str, np.ndarray]]:
    """onnxruntime's own integer product [m, k] x [k, n] on one thread."""
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph(
        [node], "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [m, k]),
         helper.make_tensor_value_info("b", TensorProto.INT8, [k, n])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [m, n])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    return session, {"a": rng.integers(0, 128, (m, k), np.uint8),
                     "b": rng.integers(-127, 128, (k, n), np.int8)}  # fmt: skip


def float_calls(plan: Plan, batch: int) -> dict[str, tuple[Call, Call]]:
    """Back-propagation and inference of the same net in PyTorch, float32."""
    loss, (x, y) = FloatLoss(plan), example(plan, batch)
    optimiser = torch.optim.SGD(loss.parameters(), LEARNING_RATE)

    def learn() -> None:
        optimiser.zero_grad()
        loss(x, y)[0].backward()
        optimiser.step()

    @torch.no_grad()
    def answer() -> None:
        loss.logits(x)

    return {"pytorch bp step": (nothing, learn), "pytorch infer": (nothing, answer)}


def rival(plan: Plan, batch: int, scratch: Path) -> Call:
    """A step of ExecuTorch's own back-propagation: its training extension, float32, SGD."""
    path = scratch / f"train_b{batch}.pte"
    write_executorch(plan, batch, path)
    return executorch_step(path, 1)


def steps(
    bundle: Bundle, names: Iterable[str], kept: State, x: np.ndarray, y: np.ndarray
) -> dict[str, tuple[Call, Call]]:
    """A training step in each runtime, from the same state."""
    found: dict[str, tuple[Call, Call]] = {}
    for name in names:
        runner = open_runner(bundle, name)
        found[f"{name} step"] = partial(runner.set_state, kept), partial(runner.train, x, y)
    return found


def plain_speed(plan: Plan, state: dict[str, np.ndarray]) -> dict[str, object]:
    """plain-64, every sample active, against float32 back-propagation."""
    found: dict[str, object] = {}
    df, df_o = under(plan, state, "df"), under(plan, state, "df-o")
    kept = df.read()
    for batch in (1, 16):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 128, (batch, 32, 32, 3), np.int8)
        y = rng.integers(0, 10, batch, np.int32)
        tensors = {name: torch.from_numpy(value) for name, value in kept.items()}
        with tempfile.TemporaryDirectory() as scratch:
            drawn = Drawn(df.plan, tensors, batch, None)
            bundle = export_drawn(drawn, NATIVES, Path(scratch) / "bundle")
            inside = steps(bundle, NATIVES, kept, x, y)
            if batch == 1:  # its plain loops take sixteen times as long at 16
                inside["executorch bp step"] = nothing, rival(df.plan, batch, Path(scratch))
        times = in_turns(
            {
                **inside,
                "native step": (lambda: df.write(kept), lambda: df.train(x, y)),  # noqa: B023
                "native df-o step": (lambda: df_o.write(kept), lambda: df_o.train(x, y)),  # noqa: B023
                "native infer": (lambda: df.write(kept), lambda: df.infer(x)),  # noqa: B023
                **float_calls(df.plan, batch),
            },
            5,
        )
        df.write(kept)
        _, active = df.train(x, y)
        found[f"batch {batch}"] = {
            "ms": times, "ratio_to_native_infer": ratios(times, "native infer"),
            "ratio_to_native_step": ratios(times, "native step"),
            "active": [round(float(a) / batch, 2) for a in active],
        }  # fmt: skip
    return found


def mnist_speed(bundles: list[Bundle]) -> dict[str, object]:
    """The MNIST net on golden batches: every rendering, float32 back-propagation."""
    bundle = bundles[0]
    native, stock, golden = NativeRunner(bundle), OnnxRunner(bundle), bundle.golden()
    kept, found = bundle.initial_state(), {}
    for batch in (1, 16):
        x, y = golden["x"][1][:batch], golden["y"][1][:batch]
        with tempfile.TemporaryDirectory() as scratch:
            other = rival(bundle.manifest.plan, batch, Path(scratch))
        inside = {}
        for one in bundles:
            here = [name for name in (*RENDERED, *NATIVES) if name in one.manifest.formats]
            inside |= steps(one, here, kept, x, y)
        times = in_turns(
            {
                "native step": (lambda: native.set_state(kept), lambda: native.train(x, y)),  # noqa: B023
                **inside,
                "executorch bp step": (nothing, other),
                "native infer": (nothing, lambda: native.infer(x)),  # noqa: B023
                "onnx infer": (nothing, lambda: stock.infer(x)),  # noqa: B023
                **float_calls(bundle.manifest.plan, batch),
            }
        )
        native.set_state(kept)
        _, active = native.train(x, y)
        found[f"batch {batch}"] = {
            "ms": times, "ratio_to_native_step": ratios(times, "native step"),
            "active": [round(float(a) / batch, 2) for a in active],
        }  # fmt: skip
    return found


PEAK = "print('peak', open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"


def python_peak(bundle: Bundle, images: Path, state: Path) -> dict[str, int]:
    """KiB resident at most, each in a process of its own; none imports torch or a runtime."""
    words = ["finetune", str(bundle.folder), "--data", str(images), "--split", "all",
             "--runtime", "native", "--samples", str(IMAGES), "--state", str(state)]  # fmt: skip
    run = f"from dfedge.cli.app import app\napp({words!r}, standalone_mode=False)\n"
    clean = "import sys\nassert 'torch' not in sys.modules and 'onnxruntime' not in sys.modules\n"
    found = {}
    learn = (
        "import numpy as np\nfrom dfedge.device.session import Session\n"
        f"session = Session.open({str(bundle.folder)!r}, 'native', {str(state)!r}, initial=True)\n"
        f"for i in range({IMAGES}): session.learn(np.zeros((28, 28), np.uint8), i % 10)\n"
    )
    for name, code in (
        ("dfedge finetune", run), ("session.learn", learn), ("numpy alone", "import numpy\n")
    ):  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code + clean + PEAK], check=True,
                              capture_output=True, text=True)  # fmt: skip
        found[name] = int(done.stdout.split("peak ")[1])
    return found


def runner_peak(bundle: Bundle, data: Path, scratch: Path) -> int:
    """KiB resident at most of dfedge-run while it learns MNIST's 60,000 images."""
    program, app, net = NativeRunner(bundle).program, scratch / "dfedge-run", scratch / "net.dfe"
    identity = Identity(semantics_version=bundle.manifest.semantics_version)
    net.write_bytes(image(program.table, program.state, identity))
    compile_runner(app)
    files = [data / "mnist" / f"train-{part}-ubyte" for part in ("images-idx3", "labels-idx1")]
    command = [app, "train", net, *files, "--state", scratch / "learned"]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status")
            text = status.read_text() if status.exists() else ""
            if "VmHWM" in text and "dfedge-run" in text.splitlines()[0]:
                peak = max(peak, int(text.split("VmHWM:")[1].split()[0]))
            time.sleep(0.01)
        print("dfedge-run:", process.stdout.read().strip())
    return peak


def resident(bundle: Bundle, data: Path) -> dict[str, object]:
    """KiB resident at most."""
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images.npz"
        x = read_idx(data / "mnist" / "t10k-images-idx3-ubyte", 3)[:IMAGES]
        y = read_idx(data / "mnist" / "t10k-labels-idx1-ubyte", 1)[:IMAGES]
        np.savez(images, x=x, y=y.astype(np.int64))
        return {
            **python_peak(bundle, images, Path(scratch) / "state"),
            "dfedge-run": runner_peak(bundle, data, Path(scratch)),
        }


def main() -> None:
    *folders, data = map(Path, sys.argv[1:])
    bundles = [Bundle.open(folder) for folder in folders]
    assert len({bundle.manifest.state_sha256 for bundle in bundles}) == 1
    torch.set_num_threads(1)
    plan, state = plain()
    table: dict[str, object] = {
        "processor": "".join(
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )[:40],
        "load": os.getloadavg()[0],
        "level": load().dfe_level_name(load().dfe_level_used()).decode(),
    }
    for name, part in (
        ("plain-64 memory, bytes", lambda: memory(plan, state)),
        ("kernel, GMAC/s", lambda: kernels(replace(plan, feedback="none"))),
        ("plain-64", lambda: plain_speed(plan, state)),
        ("mnist", lambda: mnist_speed(bundles)),
        ("resident, KiB", lambda: resident(bundles[0], data)),
    ):
        table[name] = part()
        print(name, json.dumps(table[name]), flush=True)
    path = Path(__file__).parent / "results" / "native.json"
    path.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
