"""The native rendering in its runtimes: which one a session picks, what is refused, how large."""

import ctypes
import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from trials.random_nets import filled

from dfedge.bundle import Bundle
from dfedge.device.runners import open_best, open_runner, remedy
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters import calls
from dfedge.exporters.formats import ExportSource, load_writer
from dfedge.exporters.program import Method, methods
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import load_spec
from dfedge.native import build, glue
from dfedge.native.library import Buffer, Buffers, load
from dfedge.native.program import FEATURES, INFER, TRAIN, TRAIN_FROM
from dfedge.native.rendering import RENDERED, native_of
from dfedge.native.table import ABI, ABI_NAME
from dfedge.verify import verify

CI = os.environ.get("DFEDGE_CI") == "1"
pytestmark = pytest.mark.skipif(
    (build.compiler() is None or glue.cxx_compiler() is None) and not CI,
    reason="no C and C++ compiler; make tools installs them",
)
NATIVES = [native_of(format) for format in RENDERED]


def of_version(bundle: Bundle, version: str) -> Bundle:
    """The bundle as if its native programs were for another version of the library."""
    formats = dict(bundle.manifest.formats)
    for name in NATIVES:
        versions = formats[name].versions | {ABI_NAME: version}
        formats[name] = msgspec.structs.replace(formats[name], versions=versions)
    manifest = msgspec.structs.replace(bundle.manifest, formats=formats)
    return dataclasses.replace(bundle, manifest=manifest)


def test_manifest_names_library_and_version_and_one_plan_for_each_rendering(
    bundle: Bundle,
) -> None:
    for format in RENDERED:
        stock, native = (bundle.format(name) for name in (format, native_of(format)))
        assert native.versions[ABI_NAME] == str(ABI)
        assert ABI_NAME not in stock.versions
        assert native.memory.keys() == stock.memory.keys()
        for name, plan in native.memory.items():
            assert plan.arena_bytes < stock.memory[name].arena_bytes / 2, name
        assert native.verified_steps == 8


@pytest.mark.parametrize("format", RENDERED)
def test_session_picks_the_native_rendering_and_says_so(format: str, bundle: Bundle) -> None:
    for wanted, runs in (
        (format, native_of(format)), (native_of(format), native_of(format)),
        (f"{format}-stock", format),
    ):  # fmt: skip
        session = Session.open(bundle, wanted, initial=True, read_only=True)
        assert (session.runtime, session.notes) == (runs, ())
    assert Session.open(bundle, initial=True, read_only=True).runtime == "onnx-native"


@pytest.mark.parametrize("format", RENDERED)
def test_stock_runs_where_the_library_is_missing_or_of_another_version(
    format: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = of_version(bundle, "99")
    opened = open_best(other, format)
    assert opened.name == format
    (note,) = opened.notes
    assert note.startswith(f"{format}: stock rendering, because the native one cannot be used: ")
    assert f"for version 99 of the native library, this dfedge has {ABI}; export again" in note
    with pytest.raises(DfedgeError, match="are for version 99 of the native library"):
        open_runner(other, native_of(format))
    if format == "onnx":
        monkeypatch.setenv("CC", "no-such-compiler")
    else:
        monkeypatch.setattr(glue, "CXX_COMPILERS", ("no-such-compiler",))
    opened = open_best(bundle, format)
    assert opened.name == format
    (note,) = opened.notes
    assert f"runtime '{native_of(format)}' is not installed; {remedy(native_of(format))}" in note
    x, y = bundle.golden()["x"][0], bundle.golden()["y"][0]
    assert np.array_equal(opened.runner.train(x, y)[0], bundle.golden()["scores"][0])


def test_command_tells_that_it_fell_back(
    dfedge: Any, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ("evaluate", bundle.folder, "--data", "digits", "--runtime", "onnx")
    state = ("--state", tmp_path / "state", "--json")
    native = dfedge(*given, *state)
    assert native.json["runtime"] == "onnx-native"
    assert not native.err
    monkeypatch.setenv("CC", "no-such-compiler")
    stock = dfedge(*given, *state)
    assert stock.json["runtime"] == "onnx"
    assert stock.json["accuracy"] == native.json["accuracy"]
    assert "note: onnx: stock rendering, because the native one cannot be used" in stock.err


@pytest.mark.parametrize("runtime", NATIVES)
def test_refused_call_says_why_and_leaves_the_state(runtime: str, bundle: Bundle) -> None:
    runner, golden = open_runner(bundle, runtime), bundle.golden()
    x, y = golden["x"][0], golden["y"][0]
    negative, wrong = x.copy(), y.copy()
    negative[3, 2, 1, 0], wrong[5] = -1, 10
    before = runner.get_state()
    with pytest.raises(DfedgeError, match="a label is not a class of the program"):
        runner.train(x, wrong)
    with pytest.raises(DfedgeError, match=r"an input value lies outside 0\.\.127"):
        runner.train(negative, y)
    bad = bundle.initial_state()
    bad["weight_shift"] = bad["weight_shift"] + 30
    with pytest.raises(DfedgeError, match="the state holds a value that learning can never reach"):
        runner.set_state(bad)
    after = runner.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert np.array_equal(runner.train(x, y)[0], golden["scores"][0])


@pytest.mark.parametrize("format", RENDERED)
def test_program_with_too_small_an_arena_is_never_written(
    format: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The runtime plans what the program says; the interpreter refuses it inside the runtime."""
    own = calls.Calls.__iter__

    def smaller(self: calls.Calls) -> Any:
        return (dataclasses.replace(c, arena_bytes=c.arena_bytes - 4) for c in own(self))

    monkeypatch.setattr(calls.Calls, "__iter__", smaller)
    options = ExportOptions((format,), rendering="native", batch=2)
    with pytest.raises(DfedgeError, match="the arena is too small"):
        export(Run.open(run_folder), options, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("format", RENDERED)
def test_bundle_may_hold_one_rendering_only(format: str, run_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions((format,), rendering="native", batch=2)
    bundle = export(Run.open(run_folder), options, tmp_path / "bundle")
    assert list(bundle.manifest.formats) == [native_of(format)]
    assert Session.open(bundle, format, initial=True).runtime == native_of(format)
    assert Session.open(bundle, initial=True).runtime == native_of(format)


def test_export_says_what_it_left_out(
    dfedge: Any, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("export", run_folder, "--out", tmp_path / "bundle", "--batch", 2)
    for words, code, text in (
        (("--rendering", "fast"), 2, "known: both, native, stock"),
        (("--rendering", "native", "--format", "litert"), 2, "litert has the stock rendering only"),
    ):
        done = dfedge(*given, *words)
        assert (done.code, text in done.err) == (code, True), done.err
    monkeypatch.setenv("CC", "no-such-compiler")
    done = dfedge(*given, "--rendering", "native")
    assert done.code == 1
    assert "onnx: no native rendering here: not found: a C compiler" in done.err
    done = dfedge(*given, "--json")
    assert "note: onnx: stock rendering only: not found: a C compiler" in done.err
    assert list(done.json["formats"]) == ["onnx"]


def given_for(program: Any, call: int, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Every buffer of a call, exactly as large as it must be."""
    plan, batch = program.plan, len(x)
    sizes = sum(layer.features for layer in plan.layers) * batch
    first = np.zeros(sizes if call == FEATURES else 4 * batch * plan.classes, np.uint8)
    second = np.zeros(x.size if call == FEATURES else 4 * len(plan.layers), np.uint8)
    arena = np.zeros(program.arena_bytes(call, batch), np.uint8)
    return {"program": program.table.words, "state": program.state, "x": x, "y": y,
            "first": first, "second": second, "arena": arena}  # fmt: skip


def sized(call: int, batch: int, arrays: dict[str, np.ndarray], **changed: tuple[int, int]) -> int:
    """The status of a call; ``name=(bytes off the end, bytes the start is moved)``."""
    buffers = Buffers()
    for name, array in arrays.items():
        less, moved = changed.get(name, (0, 0))
        setattr(buffers, name, Buffer(array.ctypes.data + moved, array.nbytes - less))
    return load().dfe_run_sized(call, ctypes.c_int64(batch), ctypes.byref(buffers))


@pytest.mark.parametrize("call", [INFER, TRAIN, FEATURES])
def test_every_buffer_that_is_too_small_or_misaligned_is_refused(call: int, bundle: Bundle) -> None:
    program = open_runner(bundle, "native").program  # type: ignore[attr-defined]
    x, y = bundle.golden()["x"][0], bundle.golden()["y"][0]
    arrays, before = given_for(program, call, x, y), program.state.copy()
    small, misaligned, tensor = 4, 5, 10
    taken = {INFER: ("x", "first"), TRAIN: ("x", "y", "first", "second"),
             FEATURES: ("x", "first", "second")}[call]  # fmt: skip
    for name in ("program", "state", *taken):
        assert sized(call, len(x), arrays, **{name: (1, 0)}) == tensor, name
    assert sized(call, len(x), arrays, arena=(1, 0)) == small
    assert sized(call, len(x), arrays, arena=(1 << 40, 0)) == small
    words = ["program", "state", "arena", *(["y", "first", "second"] if call == TRAIN else [])]
    for name in words:
        assert sized(call, len(x), arrays, **{name: (0, 2)}) == misaligned, name
    assert sized(call, len(x) + 1, arrays) in (small, tensor)
    for batch in (0, -1, 1 << 40):
        assert sized(call, batch, arrays) == 3, batch
    assert sized(TRAIN_FROM, len(x), arrays) == sized(9, len(x), arrays) == 9
    assert np.array_equal(program.state, before)
    assert sized(call, len(x), arrays) == 0
    assert np.array_equal(program.state, before) == (call != TRAIN)


def test_operations_are_registered_once_and_a_second_time_refused() -> None:
    assert glue.executorch().library.dfe_register() == glue.REGISTERED


def test_thousand_steps_hold_the_same_state_in_both_renderings(bundle: Bundle) -> None:
    """Every runtime that is fast enough here; PyTorch and all stock programs for 40 steps."""
    runners = {name: open_runner(bundle, name) for name in (*NATIVES, "native", "onnx")}
    golden = bundle.golden()
    for number in range(1000):
        x, y = golden["x"][number % 8], golden["y"][number % 8]
        scores = [runner.train(x, y)[0] for runner in runners.values()]
        assert all(np.array_equal(scores[0], one) for one in scores), number
    states = [runner.get_state() for runner in runners.values()]
    for name, value in states[0].items():
        assert all(state[name].tobytes() == value.tobytes() for state in states), name
    assert not np.array_equal(states[0]["layer0.conv0.weight"],
                              bundle.initial_state()["layer0.conv0.weight"])  # fmt: skip
    assert verify(bundle, 40).identical


def test_executorch_plans_training_in_the_memory_of_inference(tmp_path: Path) -> None:
    """Ten 3x3 convolutions of 64 channels at 32 x 32: 1.01 times one layer's input and output."""
    plan = skeleton(load_spec("plain-64"), (32, 32, 3), 10)
    drawn = filled(msgspec.structs.replace(plan, feedback="none"), random.Random(0), 16, None)
    assert len(plan.layers) == 10
    kept = tuple(m for m in methods(drawn.plan, {1, 16}) if m.kind in ("train", "infer"))
    written = load_writer("executorch-native")(
        ExportSource(drawn.plan, drawn.state, kept), tmp_path, lambda *_: None
    )
    arena = {name: plan.arena_bytes for name, plan in written.memory.items()}
    assert arena["train_b1"] <= 132_400
    assert arena["train_b16"] <= 2_118_000
    assert arena["infer_b1"] <= arena["train_b1"] <= 1.001 * arena["infer_b1"]
    assert arena["infer_b16"] <= arena["train_b16"] <= 1.008 * arena["infer_b16"]
    assert (tmp_path / "program.pte").stat().st_size < 20_000  # a table and a node a method
    assert {Method("train", 1), Method("infer", 16)} <= set(kept)


def test_program_learns_by_the_c_interface_without_numpy(bundle: Bundle, tmp_path: Path) -> None:
    """examples/no_numpy.py: neither torch nor NumPy nor dfedge in the process."""
    rng = np.random.default_rng(0)
    height, width, _ = bundle.manifest.plan.input_shape
    x = rng.integers(0, 256, (40, height, width, 1), dtype=np.uint8)
    y = rng.integers(0, 10, 40).astype(np.uint8)
    head = np.array([0x803, *x.shape[:3]], ">i4").tobytes()
    (tmp_path / "images").write_bytes(head + x.tobytes())
    (tmp_path / "labels").write_bytes(np.array([0x801, 40], ">i4").tobytes() + y.tobytes())
    files = [tmp_path / name for name in ("images", "labels", "learned")]
    script = Path(__file__).parent.parent / "examples" / "no_numpy.py"
    library = glue.executorch().path
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, library, bundle.folder, *files],
        capture_output=True, text=True, check=True, env={},
    )  # fmt: skip
    assert "of 40 recognised before they were learned" in done.stdout
    runner = open_runner(bundle, "native")
    for image, label in zip(x, y, strict=True):
        runner.train((image[None] >> 1).astype(np.int8), np.array([label], np.int32))
    assert files[2].read_bytes() == runner.program.state.tobytes()
