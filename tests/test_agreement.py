"""Statements of a bundle that must agree: with hashes that fit, and two of them apart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.manifests import mutate_manifests, rehashed

from dfedge import state
from dfedge.bundle import Bundle, file_record
from dfedge.device.runners import installed
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.manifest import MANIFEST
from dfedge.runtimes import NATIVE, formats
from dfedge.sound import plan_flaws, state_layout


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(bundle.folder, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(folder: Path, change: Callable[[Any], None]) -> None:
    tree = json.loads((folder / MANIFEST).read_bytes())
    change(tree)
    (folder / MANIFEST).write_bytes(rehashed(tree))


def at(*path: Any) -> Callable[[Any], Callable[[Any], None]]:
    """A change that sets the value at a path of the manifest."""

    def to(value: Any) -> Callable[[Any], None]:
        def change(tree: Any) -> None:
            for key in path[:-1]:
                tree = tree[key]
            tree[path[-1]] = value(tree[path[-1]]) if callable(value) else value

        return change

    return to


CASES: dict[str, tuple[Callable[[Any], None], str]] = {
    "input and plan": (at("input", "height")(16), "input.*the plan takes"),
    "plan and input": (at("plan", "layers", 0, "convs", 0, "height")(9), "plan.*|input"),
    "layer and layer": (at("plan", "layers", 1, "convs", 0, "in_channels")(5), "is given"),
    "rule and state": (at("plan", "feedback")("fixed"), "state_names"),
    "state's order": (at("state_names")(lambda names: names[::-1]), "state_names"),
    "rows and state": (at("plan", "classes")(11), "state.safetensors.*anchors"),
    "classes and rows": (at("classes")(lambda names: [*names, "one more"]), "classes"),
    "twins": (at("classes")(lambda names: ["caf\u00e9", "cafe\u0301", *names[2:]]), "one name"),
    "method and batch": (at("methods", 0, "batch")(3), "methods"),
    "kind and name": (at("methods", 0, "kind")("infer"), "methods"),
    "a kind too few": (at("methods")(lambda old: old[2:]), "methods"),
    "program of another": (
        at("formats", "onnx", "files", "infer_b1")("onnx/train_b1.onnx"), "formats.*infer_b1"
    ),
    "unknown format": (at("formats")(lambda old: old | {"x": old["onnx"]}), "formats.*known"),
    "exponents": (at("exponents")(lambda old: old[1:]), "exponents"),
    "learning and plan": (
        at("learning")(lambda found: found | {"tried": True, "learns": "upper", "frozen": 77}),
        "learning.*77",
    ),
    "input's scale": (at("input_exponent")(6), "input_exponent"),
    "first state": (at("state_sha256")("ab" * 32), "state_sha256"),
    "int32": (at("plan", "layers", 0, "separation")(1 << 31), r"<= 2147483647.*separation"),
    "huge": (at("plan", "classes")(10**40), "plan.classes"),
    "negative": (at("budget_bytes")(-1), "budget_bytes"),
    "accuracy": (at("test_accuracy")(1e300), "test_accuracy"),
    "cut": (at("plan", "cut")(9), "cut"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_two_statements_apart_are_refused_in_one_line(case: str, copy: Path) -> None:
    change, said = CASES[case]
    rewrite(copy, change)
    with pytest.raises(DfedgeError, match=said) as refused:
        Bundle.open(copy)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", ["golden", "known"])
def test_files_are_of_the_plan(file: str, copy: Path) -> None:
    path = copy / f"{file}.safetensors"
    good = state.parse(path.read_bytes(), path)
    x, y = ("x", "y") if file == "golden" else ("replay.x", "replay.y")
    wrong: list[dict[str, Any]] = [
        {x: good[x][..., :4, :]}, {y: good[y].astype(np.int64)}, {y: good[y] + 10},
        {x: good[x] - 1 - good[x].max()}, {"z": good[x]}, {x: good[x][:0], y: good[y][:0]},
    ]  # fmt: skip
    for change in wrong:
        path.write_bytes(state.to_bytes(good | change))
        record = {"bytes": file_record(path).bytes, "sha256": file_record(path).sha256}
        rewrite(copy, at("files", path.name)(record))
        with pytest.raises(DfedgeError, match=rf"{file}\.safetensors"):
            Bundle.open(copy)
    path.write_bytes(state.to_bytes({n: v for n, v in good.items() if n != y}))
    record = {"bytes": file_record(path).bytes, "sha256": file_record(path).sha256}
    rewrite(copy, at("files", path.name)(record))
    with pytest.raises(DfedgeError, match=rf"{file}\.safetensors"):
        Bundle.open(copy)


def test_measured_rates_are_the_plans_or_not_there(copy: Path, tmp_path: Path) -> None:
    """A bundle of an older dfedge has none: a guard begins at its own."""
    path = copy / "known.safetensors"
    good = state.parse(path.read_bytes(), path)

    def held(arrays: dict[str, Any]) -> Bundle:
        path.write_bytes(state.to_bytes(arrays))
        record = {"bytes": file_record(path).bytes, "sha256": file_record(path).sha256}
        rewrite(copy, at("files", path.name)(record))
        return Bundle.open(copy)

    shifts = good["weight_shift"]
    for wrong in (shifts[:-1], shifts.astype(np.int64), shifts + 49, shifts - 49):
        with pytest.raises(DfedgeError, match=r"known\.safetensors: .*weight_shift"):
            held({**good, "weight_shift": wrong})
    older = held({name: value for name, value in good.items() if name not in state.SHIFTS})
    session = Session.open(older, "native", tmp_path / "state")
    x, y = good["replay.x"][:16].astype(np.uint8) << 1, good["replay.y"][:16].astype(np.int64)
    session.learn_batch(x, y)
    now, first = session.runner.get_state(), older.initial_state()
    assert all(np.array_equal(now[name], first[name]) for name in state.SHIFTS)


def test_the_bundles_of_exports_agree(bundle: Bundle, spare_bundle: Bundle) -> None:
    for one in (bundle, spare_bundle):
        assert not list(plan_flaws(one.manifest.plan))
        found = {n: (str(v.dtype), v.shape) for n, v in one.initial_state().items()}
        assert found == state_layout(one.manifest.plan)


def test_rehashed_manifests_run_or_are_refused(copy: Path, tmp_path: Path) -> None:
    """2,000 of them: examples/experiments/strangers.py."""
    runtimes = [name for name in (*formats(), NATIVE) if installed(name)]
    found = mutate_manifests(copy, tmp_path / "state", runtimes, 150, 1)
    assert not found.faults, found.faults
    assert found.run and found.refused


@pytest.mark.parametrize("runtime", ["onnx-stock", "onnx-native"])
def test_a_program_of_other_inputs_is_one_line(runtime: str, copy: Path, tmp_path: Path) -> None:
    """Its hash fits: it is another method's."""
    folder = copy / runtime.removesuffix("-stock")
    for name in ("infer_b1.onnx", "features_b1.onnx"):
        shutil.copyfile(folder / "train_b16.onnx", folder / name)
        found = file_record(folder / name)
        record = {"bytes": found.bytes, "sha256": found.sha256}
        rewrite(copy, at("files", f"{folder.name}/{name}")(record))
    session = Session.open(copy, runtime, tmp_path / "state")
    image = np.zeros((8, 8), np.uint8)
    for call in (lambda: session.predict(image), lambda: list(session.features(image[None]))):
        with pytest.raises(DfedgeError, match=r"onnx.*(failed|refuses|not the) ") as refused:
            call()
        assert "\n" not in str(refused.value)


def test_a_bundle_without_a_batch_of_one_says_so(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, at("methods")(lambda old: [one for one in old if one["batch"] > 1]))
    session = Session.open(copy, NATIVE, tmp_path / "state")
    with pytest.raises(DfedgeError, match=r"infer take batches of 16, and 1 sample"):
        session.predict(np.zeros((8, 8), np.uint8))
