"""Every format in its real runtime against the one step in PyTorch: integers, so exactly."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from dfedge.bundle import Bundle, file_record
from dfedge.compile import step
from dfedge.data.inputs import to_input
from dfedge.data.sources import load
from dfedge.device.replay import replay
from dfedge.device.runners import open_runner
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.golden import to_arrays
from dfedge.exporters.write import ExportOptions, export, lowered
from dfedge.learn.run import Run
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import to_samples
from dfedge.learn.train import quantised_net
from dfedge.manifest import MANIFEST, seal
from dfedge.runtimes import formats
from dfedge.state import digest
from dfedge.verify import verify
from dfedge.verify.reference import TorchRunner


def test_fake_quantised_scores_equal_the_integer_step_on_the_whole_test_set(
    run_folder: Path,
) -> None:
    run = Run.open(run_folder)
    test = to_samples(load_data(run.plan).split("test")[1])
    plan, state = lowered(run)
    x = test.x.permute(0, 2, 3, 1).contiguous()
    assert torch.equal(quantised_net(run).scores(test.x), step.infer(plan, state, x).double())


@pytest.mark.parametrize("runtime", formats())
def test_exported_infer_equals_the_fake_quantised_net_on_the_whole_test_set(
    runtime: str, bundle: Bundle, run_folder: Path
) -> None:
    test = load("digits").splits["test"]
    runner = open_runner(bundle, runtime)
    x = to_input(test.x)
    scores = [runner.infer(x[i : i + 16]) for i in range(0, 352, 16)]
    scores += [runner.infer(x[i : i + 1]) for i in range(352, 360)]
    host = quantised_net(Run.open(run_folder)).scores(to_samples(test).x)
    assert np.array_equal(np.concatenate(scores), host.numpy())


@pytest.mark.parametrize("runtime", formats())
def test_training_holds_the_same_state_bytes_as_pytorch_after_every_step(
    runtime: str, bundle: Bundle
) -> None:
    plan, runner = bundle.manifest.plan, open_runner(bundle, runtime)
    state = {name: torch.from_numpy(value) for name, value in bundle.initial_state().items()}
    state = {name: state[name] for name in bundle.manifest.state_names}
    assert digest(runner.get_state()) == digest(to_arrays(state))
    rng = np.random.default_rng(7)
    for i in range(24):
        size = 1 if i % 3 == 2 else 16
        x = rng.integers(0, 128, (size, 8, 8, 1), dtype=np.int8)
        y = rng.integers(0, 10, size, dtype=np.int32)
        scores, active = runner.train(x, y)
        state, wanted, wanted_active = step.train(
            plan, state, torch.from_numpy(x), torch.from_numpy(y)
        )
        assert np.array_equal(scores, wanted.numpy())
        assert np.array_equal(active, wanted_active.numpy())
        assert digest(runner.get_state()) == digest(to_arrays(state)), f"step {i}"


@pytest.mark.parametrize("runtime", formats())
def test_results_of_earlier_calls_are_not_overwritten_by_later_ones(
    runtime: str, bundle: Bundle
) -> None:
    runner, x = open_runner(bundle, runtime), bundle.golden()["x"][0]
    kept = [runner.infer(x[i : i + 1]) for i in range(16)]
    copies = [scores.copy() for scores in kept]
    for _ in range(50):
        runner.infer(x)
    assert np.array_equal(np.concatenate(kept), np.concatenate(copies))
    assert np.array_equal(np.concatenate(kept), runner.infer(x))


@pytest.mark.parametrize("runtime", formats())
def test_class_that_is_not_live_scores_below_all_and_is_never_touched(
    runtime: str, bundle: Bundle
) -> None:
    runner, golden = open_runner(bundle, runtime), bundle.golden()
    state = bundle.initial_state()
    state["live"] = state["live"].copy()
    state["live"][4] = 0
    runner.set_state(state)
    y = np.where(golden["y"][0] == 4, 5, golden["y"][0]).astype(np.int32)
    scores, _ = runner.train(golden["x"][0], y)
    assert (scores.argmin(1) == 4).all()
    now = runner.get_state()
    assert np.array_equal(now["layer0.anchors"][4], state["layer0.anchors"][4])
    assert not np.array_equal(now["layer0.anchors"], state["layer0.anchors"])


class Tampered:
    """A runtime that is right but for one value of one thing in one step."""

    def __init__(self, bundle: Bundle, runtime: str, tensor: str, step: int) -> None:
        self.inner, self.tensor, self.left = open_runner(bundle, runtime), tensor, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def train(self, x, y):
        scores, active = self.inner.train(x, y)
        self.left -= 1
        if self.left == 0 and self.tensor == "scores":
            scores[3, 2] += 1
        if self.left == 0 and self.tensor != "scores":
            state = self.inner.get_state()
            state[self.tensor].flat[5] ^= 1
            self.inner.set_state(state)
        return scores, active


@pytest.mark.parametrize("runtime", formats())
def test_replay_names_the_first_integer_that_differs(runtime: str, bundle: Bundle) -> None:
    good = replay(bundle, {runtime: open_runner(bundle, runtime)})
    assert (good.identical, good.steps) == (True, 8)
    assert good.runtimes == {runtime: bundle.manifest.golden_sha256}
    bad = replay(bundle, {runtime: Tampered(bundle, runtime, "scores", 1)}).first_difference
    assert str(bad).startswith(f"{runtime}, step 1: scores differs at [3, 2]: ")
    name = "layer1.conv0.weight"
    bad = replay(bundle, {runtime: Tampered(bundle, runtime, name, 3)}).first_difference
    assert str(bad) == f"{runtime}, step 3: {name} differs from what was recorded"
    with_torch = replay(
        bundle, {runtime: Tampered(bundle, runtime, name, 3)}, 3, TorchRunner(bundle)
    )
    assert not with_torch.identical
    assert with_torch.first_difference.index == [0, 0, 5]
    assert list(with_torch.runtimes) == ["pytorch"]


def test_all_runtimes_are_verified_beyond_what_was_recorded(bundle: Bundle) -> None:
    found = verify(bundle, 40)
    assert found.identical
    assert list(found.runtimes) == [*formats(), "native", "pytorch"]
    assert len(set(found.runtimes.values())) == 1
    with pytest.raises(UsageError, match="without torch only the 8 recorded steps"):
        replay(bundle, {"onnx": open_runner(bundle, "onnx")}, 9)


def test_golden_batches_exercise_every_kind_of_update(bundle: Bundle) -> None:
    runner, golden = open_runner(bundle, "onnx"), bundle.golden()
    for x, y in zip(golden["x"], golden["y"], strict=True):
        runner.train(x, y)
    initial, now = bundle.initial_state(), runner.get_state()
    for i in range(3):
        for part in ("conv0.weight", "anchors"):
            name = f"layer{i}.{part}"
            assert not np.array_equal(initial[name], now[name]), name


def test_two_exports_of_a_run_are_the_same_bundle(run_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(("onnx",), batch=1)
    one, two = (export(Run.open(run_folder), options, tmp_path / name) for name in ("a", "b"))
    assert one.sha256 == two.sha256


def test_unknown_format_and_target_list_the_known_ones(run_folder: Path, tmp_path: Path) -> None:
    run, out = Run.open(run_folder), tmp_path / "bundle"
    known = "c, executorch, executorch-native, litert, onnx, onnx-native"
    with pytest.raises(UsageError, match=f"unknown format 'tflite'; known: {known}"):
        export(run, ExportOptions(("tflite",)), out)
    with pytest.raises(UsageError, match=r"unknown target 'pi9'; known: .*raspberry-pi-4"):
        export(run, ExportOptions(target="pi9"), out)
    with pytest.raises(UsageError, match="'rp2350' opens executorch, c, not onnx"):
        export(run, ExportOptions(("onnx",), target="rp2350"), out)
    assert not out.exists()


def test_folder_that_is_no_bundle_is_not_replaced(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"dear")
    with pytest.raises(DfedgeError, match="is not a bundle; choose another --out"):
        export(Run.open(run_folder), ExportOptions(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_batch_beyond_the_accumulators_bound_is_refused(run_folder: Path, tmp_path: Path) -> None:
    # 132,104 positions are the bound; 8 x 8 x 4096 = 262,144.
    with pytest.raises(DfedgeError, match="positions summed at batch 4096"):
        export(Run.open(run_folder), ExportOptions(batch=4096), tmp_path / "bundle")


def test_missing_or_changed_file_is_found_before_anything_is_loaded(
    bundle: Bundle, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    program = copy / "executorch" / "program.pte"
    raw = bytearray(program.read_bytes())
    raw[len(raw) // 2] ^= 4
    program.write_bytes(raw)
    with pytest.raises(DfedgeError, match=r"program\.pte: changed since export"):
        Bundle.open(copy)
    program.unlink()
    with pytest.raises(DfedgeError, match=r"file executorch/program\.pte is missing"):
        Bundle.open(copy)
    (copy / "manifest.json").write_text("{}")
    with pytest.raises(DfedgeError, match="export again"):
        Bundle.open(copy)
    with pytest.raises(DfedgeError, match=r"is not a bundle \(no manifest.json\)"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("runtime", formats())
def test_program_that_a_runtime_cannot_open_is_one_clear_error(
    runtime: str, bundle: Bundle, tmp_path: Path
) -> None:
    """As one would be that needs an operator which the runtime lacks; hashes are in order."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    files = dict(bundle.manifest.files)
    for name in set(bundle.manifest.formats[runtime].files.values()):
        (copy / name).write_bytes(b"not a program of this runtime" * 64)
        files[name] = file_record(copy / name)
    (copy / MANIFEST).write_bytes(seal(msgspec.structs.replace(bundle.manifest, files=files)))
    why = "not what this dfedge would write" if runtime == "c" else rf"{runtime[:4]}\w* refuses it"
    with pytest.raises(DfedgeError, match=why):
        open_runner(Bundle.open(copy), runtime)


def test_shipped_targets_name_their_sources_and_known_formats() -> None:
    from dfedge import configs
    from dfedge.target import load_target

    names = configs.names("targets")
    assert {"host", "raspberry-pi-zero-2-w", "stm32h743"} <= set(names)
    for name in names:
        target = load_target(name)
        assert set(target.runtimes) <= set(formats())
        assert target.sources.ram_bytes


def test_lowering_is_the_runs_alone(run_folder: Path) -> None:
    run = Run.open(run_folder)
    (plan, state), (again, state_again) = lowered(run), lowered(run)
    assert plan == again
    assert digest(to_arrays(state)) == digest(to_arrays(state_again))
