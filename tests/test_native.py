"""The C kernels against the torch definitions: integers, so exactly, at every instruction set."""

import ctypes
import dataclasses
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trials.random_nets import Drawn, draw

from dfedge.bundle import Bundle
from dfedge.compile import step
from dfedge.compile.pace import error_after, paced
from dfedge.device.runners import open_runner
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.int8 import ops
from dfedge.native import build
from dfedge.native.library import levels, load
from dfedge.native.program import FEATURES, INFER, TRAIN, TRAIN_FROM, NativeProgram
from dfedge.native.table import make_table
from dfedge.plan import Conv, Layer
from dfedge.verify.reference import TorchRunner

CI = os.environ.get("DFEDGE_CI") == "1"
pytestmark = pytest.mark.skipif(
    build.compiler() is None and not CI, reason="no C compiler; make tools installs one"
)

CELLS, MAP = 0, 1


class Error(ctypes.Structure):
    """``dfe_error``."""

    _fields_ = [
        ("kind", ctypes.c_int), ("values", ctypes.c_void_p), ("h", ctypes.c_void_p),
        ("acts", ctypes.c_void_p), ("height", ctypes.c_int32), ("width", ctypes.c_int32),
        ("channels", ctypes.c_int32), ("cells", ctypes.c_int32),
    ]  # fmt: skip


class Back(ctypes.Structure):
    """``dfe_back``."""

    _fields_ = [
        ("conv", ctypes.c_void_p), ("w", ctypes.c_void_p), ("signs", ctypes.c_void_p),
        ("error", ctypes.c_void_p),
    ]  # fmt: skip


class Shape(ctypes.Structure):
    """``dfe_shape``."""

    _fields_ = [(name, ctypes.c_int32) for name in ("height", "width", "channels")]


def at(array: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data if array is not None else None)


def each_level(call: Any) -> list[Any]:
    """What a call gives at every instruction set that this processor has, portable C first."""
    library = load()
    best, numbers = library.dfe_level_used(), range(len(levels(library)))
    found = [call() for number in numbers if library.dfe_use_level(number) == 0]
    library.dfe_use_level(best)
    return found


def all_equal(found: list[np.ndarray], wanted: torch.Tensor) -> None:
    for number, one in enumerate(found):
        assert np.array_equal(one, wanted.numpy()), f"level {number}"


@st.composite
def convs(draw: st.DrawFn) -> tuple[Conv, int, np.random.Generator]:
    """Any geometry: kernels larger than the image, strides, uneven padding, odd channels."""

    def small(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    height, width, depthwise = small(1, 11), small(1, 11), draw(st.booleans())
    pads = (small(0, 3), small(0, 3), small(0, 3), small(0, 3))
    kernel = (
        small(1, min(5, height + pads[0] + pads[1])),
        small(1, min(5, width + pads[2] + pads[3])),
    )
    inputs = draw(st.sampled_from([1, 2, 3, 5, 16, 33, 64, 70]))
    outputs = inputs if depthwise else draw(st.sampled_from([1, 3, 16, 31, 32, 33, 64, 65, 130]))
    conv = Conv(
        height, width, inputs, outputs, kernel, small(1, 3), pads, depthwise,
        shift=small(0, 14), back=small(0, 14),
    )  # fmt: skip
    return conv, small(1, 3), np.random.default_rng(small(0, 1 << 30))


class Case:
    """A convolution's operands as both sides take them."""

    def __init__(self, conv: Conv, batch: int, rng: np.random.Generator) -> None:
        self.conv, self.batch = conv, batch
        net = msgspec.structs.replace(draw(0).plan, layers=(Layer((conv,)),), feedback="none")
        shapes = {"layer0.conv0.weight": np.zeros(1, np.int8), "phase": np.zeros((), np.int32)}
        self.words = np.array(list(make_table(net, shapes).convs[0].values()), np.int32)
        out = (batch, conv.out_height, conv.out_width, conv.channels)
        rows = 1 if conv.depthwise else conv.channels
        self.x = rng.integers(0, 128, (batch, conv.height, conv.width, conv.in_channels), np.int8)
        self.x[rng.random(self.x.shape) < 0.3] = 0
        self.w = rng.integers(-127, 128, (conv.taps, conv.in_channels, rows), np.int8)
        self.b = rng.integers(-(1 << 20), 1 << 20, conv.channels, np.int32)
        self.e = rng.integers(-127, 128, out, np.int8)
        self.h = np.maximum(rng.integers(-60, 128, out, np.int8), 0)
        self.shift, self.phase = int(rng.integers(0, 25)), int(rng.integers(0, 1 << 16))

    def error(self) -> Error:
        shape = (self.conv.out_height, self.conv.out_width, self.conv.channels)
        return Error(MAP, at(self.e), None, None, *shape, 0)


def tensors(*arrays: np.ndarray | int) -> list[torch.Tensor]:
    return [torch.from_numpy(a) if isinstance(a, np.ndarray) else torch.tensor(a, dtype=torch.int32)
            for a in arrays]  # fmt: skip


@given(convs())
@settings(max_examples=60, deadline=None)
def test_convolution_forward_equals_its_definition_at_every_level(drawn: Any) -> None:
    case = Case(*drawn)

    def run() -> np.ndarray:
        h = np.full_like(case.e, -1)
        load().dfe_conv_relu(at(case.words), case.batch, at(case.x), at(case.w), at(case.b), at(h))
        return h

    x, w, b = tensors(case.x, case.w, case.b)
    all_equal(each_level(run), ops.conv_relu(x, w, b, case.conv.shift, case.conv.geometry))


def weights_move_as_defined(case: Case) -> None:
    def weights() -> np.ndarray:
        w = case.w.copy()
        load().dfe_conv_update(
            at(case.words), case.batch, at(case.x), ctypes.byref(case.error()), at(w), case.shift,
            case.phase,
        )  # fmt: skip
        return w

    x, e, w, shift, phase = tensors(case.x, case.e, case.w, case.shift, case.phase)
    all_equal(each_level(weights), ops.conv_update(x, e, w, shift, phase, case.conv.geometry))


@given(convs())
@settings(max_examples=60, deadline=None)
def test_weights_move_in_place_as_defined_at_every_level(drawn: Any) -> None:
    weights_move_as_defined(Case(*drawn))


@pytest.mark.parametrize("pads", list(product((0, 1), repeat=4)))
@pytest.mark.parametrize("stride", [1, 2])
def test_weights_over_one_pixel_move_as_defined_however_it_is_padded(
    pads: tuple[int, int, int, int], stride: int
) -> None:
    one_pixel = Conv(1, 1, 5, 3, (1, 1), stride, pads, False, shift=0, back=0)
    for seed in range(5):
        weights_move_as_defined(Case(one_pixel, 1, np.random.default_rng(seed)))


@given(convs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_error_is_carried_through_weights_or_their_signs_as_defined(
    drawn: Any, concordant: bool
) -> None:
    case = Case(*drawn)
    signs = case.w[::-1].copy()

    def run() -> np.ndarray:
        carried, error = np.full_like(case.x, -1), case.error()
        back = Back(at(case.words), at(case.w), at(signs if concordant else None),
                    ctypes.addressof(error))  # fmt: skip
        load().dfe_carry_inside(ctypes.byref(back), case.batch, at(case.x), at(carried))
        return carried

    x, e, w, s = tensors(case.x, case.e, case.w, signs)
    through = ops.signed_as(w, s) if concordant else w
    size = (case.conv.height, case.conv.width)
    carried = ops.conv_back(e, through, case.conv.geometry, *size)
    all_equal(each_level(run), ops.gate(ops.narrow(carried, case.conv.back), x))


@given(convs(), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_error_of_pooled_features_is_spread_where_it_is_read(drawn: Any, cells: int) -> None:
    case = Case(*drawn)
    cells = min(cells, *case.h.shape[1:3])
    rng = np.random.default_rng(case.phase)
    pooled = rng.integers(-127, 128, (case.batch, cells * cells * case.conv.channels), np.int8)
    error = Error(CELLS, at(pooled), at(case.h), None, *case.h.shape[1:], cells)
    found = np.full_like(case.h, -1)
    for b in range(case.batch):
        for y in range(case.h.shape[1]):
            load().dfe_error_row(
                ctypes.byref(error), b, y, 0, case.h.shape[2], 0, case.conv.channels,
                at(found[b, y]), ctypes.c_ssize_t(case.conv.channels),
            )  # fmt: skip
    assert np.array_equal(found, ops.spread(*tensors(pooled, case.h), cells).numpy())


@given(convs(), st.integers(1, 4), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_pools_equal_their_definitions_and_shrink_in_place(
    drawn: Any, cells: int, gain: int
) -> None:
    case, library = Case(*drawn), load()
    cells = min(cells, *case.h.shape[1:3])
    shape = Shape(*case.h.shape[1:])
    p = np.empty((case.batch, cells * cells * case.conv.channels), np.int8)
    for b in range(case.batch):
        library.dfe_pool_cells(at(case.h[b]), shape, cells, gain, at(p[b]))
    h = torch.from_numpy(case.h)
    assert np.array_equal(p, ops.pool_cells(h, cells, gain).numpy())
    if min(case.h.shape[1:3]) < 2:
        return
    wanted = ops.max_pool(h).numpy()
    for end in (False, True):
        inside = case.h.copy().reshape(-1)
        skipped = inside.size - wanted.size if end else 0
        to = ctypes.c_void_p(inside.ctypes.data + skipped)
        library.dfe_max_pool(at(inside), case.batch, shape, to)
        assert np.array_equal(inside[skipped:][: wanted.size], wanted.reshape(-1)), end


def both(drawn: Drawn, level: int) -> tuple[NativeProgram, dict[str, torch.Tensor]]:
    load().dfe_use_level(level)
    state = {name: value.numpy() for name, value in drawn.state.items()}
    program = NativeProgram(drawn.plan, make_table(drawn.plan, state))
    program.write(state)
    return program, drawn.state


@given(st.integers(0, 100_000))
@settings(max_examples=25, deadline=None)
def test_random_nets_learn_the_same_bytes_as_pytorch(seed: int) -> None:
    """Every rule and form, frozen layers, spare classes, residual and separable units."""
    drawn, best = draw(seed), load().dfe_level_used()
    plan, rng = drawn.plan, np.random.default_rng(seed)
    program, state = both(drawn, seed % (best + 1))
    for _ in range(2):
        x = rng.integers(0, 128, (drawn.batch, *plan.input_shape), np.int8)
        y = rng.choice(np.flatnonzero(drawn.state["live"].numpy()), drawn.batch).astype(np.int32)
        tx, ty = tensors(x, y)
        state, scores, active = step.train(plan, state, tx, ty)
        found = program.train(x, y)
        assert np.array_equal(found[0], scores.numpy())
        assert np.array_equal(found[1], active.numpy())
        same_state(program, state)
        assert np.array_equal(program.infer(x), step.infer(plan, state, tx).numpy())
    if plan.form == "one-pass":
        seen = program.features(x)
        for one, wanted in zip(seen, step.features(plan, state, tx), strict=True):
            assert np.array_equal(one, wanted.numpy())
        if plan.cut:
            state, scores, _ = step.train_from(plan, state, torch.from_numpy(seen[-1]), ty)
            assert np.array_equal(program.train(seen[-1], y, latent=True)[0], scores.numpy())
            same_state(program, state)
    load().dfe_use_level(best)


def same_state(program: NativeProgram, state: dict[str, torch.Tensor]) -> None:
    now = program.read()
    for name, value in state.items():
        assert np.array_equal(now[name], value.numpy()), name


def test_bundle_learns_a_thousand_steps_in_the_native_runtime_as_in_onnx(bundle: Bundle) -> None:
    native, onnx = open_runner(bundle, "native"), open_runner(bundle, "onnx")
    golden = bundle.golden()
    for number in range(1000):
        x, y = golden["x"][number % 8], golden["y"][number % 8]
        assert np.array_equal(native.train(x, y)[0], onnx.train(x, y)[0]), number
    now, wanted = native.get_state(), onnx.get_state()
    assert set(now) == set(wanted)
    assert all(now[name].tobytes() == wanted[name].tobytes() for name in wanted)
    with pytest.raises(AssertionError):  # the comparison sees a difference
        assert now["layer0.conv0.weight"].tobytes() == bundle.initial_state()[
            "layer0.conv0.weight"].tobytes()  # fmt: skip


def test_native_session_takes_any_batch_and_reference_agrees(bundle: Bundle) -> None:
    native, reference = open_runner(bundle, "native"), TorchRunner(bundle)
    x, y = bundle.golden()["x"][0][:5], bundle.golden()["y"][0][:5]
    assert np.array_equal(native.train(x, y)[0], reference.train(x, y)[0])
    assert np.array_equal(native.infer(x), reference.infer(x))


def plain(depth: int) -> NativeProgram:
    conv = Conv(32, 32, 64, 64, (3, 3), pads=(1, 1, 1, 1), shift=12)
    drawn = draw(0)
    layers = tuple(Layer((conv,), cells=4) for _ in range(depth))
    plan = msgspec.structs.replace(drawn.plan, layers=layers, feedback="none", classes=10, cut=0)
    state: dict[str, np.ndarray] = {}
    for i in range(depth):
        state[f"layer{i}.conv0.weight"] = np.zeros((9, 64, 64), np.int8)
        state[f"layer{i}.conv0.bias"] = np.zeros(64, np.int32)
        state[f"layer{i}.anchors"] = np.zeros((10, 1024), np.int8)
    state |= {"live": np.ones(10, np.int8), "phase": np.zeros((), np.int32)}
    state |= {"error": np.zeros((), np.int32), "pace": np.zeros((), np.int32)}
    state |= {"usual_error": np.zeros((), np.int32)}
    for name in ("weight_shift", "anchor_shift"):
        state[name] = np.full(depth, 8, np.int8)
    return NativeProgram(plan, make_table(plan, state))


def test_training_needs_hardly_more_memory_than_inference_at_any_depth() -> None:
    shallow, deep = plain(2), plain(10)
    maps = 2 * 32 * 32 * 64  # input and output of one layer
    for batch in (1, 16):
        assert deep.arena_bytes(TRAIN, batch) == shallow.arena_bytes(TRAIN, batch)
        assert deep.arena_bytes(TRAIN, batch) <= 1.01 * maps * batch
        assert deep.arena_bytes(INFER, batch) <= deep.arena_bytes(TRAIN, batch)


def program_of(bundle: Bundle) -> NativeProgram:
    return open_runner(bundle, "native").program  # type: ignore[attr-defined]


def call(program: NativeProgram, x: np.ndarray, y: np.ndarray, arena: np.ndarray, size: int) -> int:
    scores, active = np.zeros((len(x), 10), np.int32), np.zeros(3, np.int32)
    words = program.table.words
    return program.library.dfe_step(
        at(words), at(program.state), len(x), at(x), at(y), at(scores), at(active), at(arena), size
    )


def test_bad_input_is_refused_and_leaves_the_state_as_it_was(bundle: Bundle) -> None:
    program, golden = program_of(bundle), bundle.golden()
    x, y = golden["x"][0], golden["y"][0]
    before, needs = program.state.copy(), program.arena_bytes(TRAIN, len(x))
    arena = np.zeros(needs + 8, np.uint8)
    negative, wrong = x.copy(), y.copy()
    negative[3, 2, 1, 0] = -1
    wrong[5] = 10
    assert call(program, x, y, arena, needs - 1) == 4
    assert call(program, x, y, arena[1:], needs) == 5
    assert call(program, negative, y, arena, needs) == 6
    assert call(program, x, wrong, arena, needs) == 7
    assert np.array_equal(program.state, before)
    with pytest.raises(DfedgeError, match="5000000 samples: the batch is larger"):
        program.arena_bytes(TRAIN, 5_000_000)
    with pytest.raises(DfedgeError, match="no such entry point"):
        program.arena_bytes(TRAIN_FROM, 1)
    bad = bundle.initial_state()
    bad["weight_shift"] = bad["weight_shift"] + 30
    with pytest.raises(DfedgeError, match="the state: the state holds a value that learning can"):
        program.write(bad)
    assert np.array_equal(program.state, before)
    assert call(program, x, y, arena, needs) == 0
    assert not np.array_equal(program.state, before)
    assert program.arena_bytes(FEATURES, 1) > 0


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [(0, 99, "another version"), (1, 64, "cannot hold"), (2, 0, "cannot hold")],
)
def test_table_of_another_version_or_size_is_refused(
    bundle: Bundle, place: int, value: int, reason: str
) -> None:
    program = program_of(bundle)
    field = list(program.table.program)[place]
    table = program.table
    changed = dataclasses.replace(table, program={**table.program, field: value})
    with pytest.raises(DfedgeError, match=reason):
        NativeProgram(program.plan, changed)


def test_without_a_compiler_the_native_runtime_says_what_is_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(DfedgeError, match="'native' is not installed; a C compiler"):
        open_runner(bundle, "native")
    assert Session.open(bundle, initial=True).runtime == "onnx"


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run(
        [build.compiler() or "false", "-fsanitize=address", "-xc", "-", "-o", os.devnull],
        input=b"int main(void) { return 0; }", capture_output=True, check=False,
    ).returncode != 0 and not CI,
    reason="the C compiler has no address sanitizer",
)  # fmt: skip
def test_kernels_run_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path: Path) -> None:
    """Random nets and damaged tables in a process of its own, over a library built with both."""
    place = tmp_path / "libdfedge.so"
    flags = ["-std=c99", "-O1", "-g", "-fPIC", "-shared", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all"]  # fmt: skip
    sources = [str(path) for path in sorted(build.SOURCES.glob("*.c"))]
    compiler = build.required_compiler()
    subprocess.run([compiler, *flags, "-o", str(place), *sources], check=True)
    runtime = subprocess.run([compiler, "-print-file-name=libasan.so"], check=True,
                             capture_output=True, text=True).stdout.strip()  # fmt: skip
    environment = os.environ | {
        "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    script = Path(__file__).parent / "native_sanitized.py"
    done = subprocess.run(
        [sys.executable, str(script), str(place)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("24 nets clean, ")


@given(st.integers(1, 400), st.integers(0, 1 << 16), st.integers(0, 8), st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_pace_follows_the_error_as_defined(batch: int, error: int, pace: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (batch, 5), np.int32)
    y = rng.integers(0, 5, batch, np.int32)
    given_state = {"error": error, "usual_error": 0, "pace": pace, "weight_shift": 3}
    state = {name: torch.tensor(value, dtype=torch.int32) for name, value in given_state.items()}
    wanted = error_after(state, *tensors(scores, y))
    found = load().dfe_error_after(error, batch, 5, at(scores), at(y))
    assert found == int(wanted)
    assert 3 + load().dfe_slowing(error, pace) == int(paced(state)["weight_shift"])
