import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from conftest import refused

from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.write import ExportOptions, export
from dfedge.int8.bounds import PEAK
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import LayerScales, Scales, score_shifts
from dfedge.learn.augment import augment
from dfedge.learn.calibrate import calibrate, mse_exponent, range_exponent, summable
from dfedge.learn.counted import candidates
from dfedge.learn.lean import pool_cells
from dfedge.learn.recipe import load_recipe
from dfedge.learn.run import Run
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import to_samples
from dfedge.learn.spec import load_spec
from dfedge.learn.train import TrainOptions, calibrate_run, plan_run, train
from dfedge.learn.trainer import accuracy


def test_host_pooling_matches_the_integer_steps_cells() -> None:
    h = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert pool_cells(h, 2).tolist() == [[2.0, 1.75, 3.25, 2.0]]
    assert round_half_up(pool_cells(h, 2)).tolist() == [[2.0, 2.0, 3.0, 2.0]]


def test_unknown_rule_and_net_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"unknown rule 'dfx' \(did you mean 'df'\?\); known: bp, .*df-r-concordant, ff",
    ):
        train(TrainOptions(rule="dfx"), tmp_path / "run")
    with pytest.raises(
        UsageError,
        match=r"unknown net 'tiny'; known: cifar, digits, .*ten-slim",
    ):
        train(TrainOptions(net="tiny"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block = []", "length"),
        ("[[block]]\nchannels = 4\nkernel = 2", "kernel must be odd"),
        ("[[block]]\nchannels = 4\nstride = 9", "stride"),
        ("depth = 1\n[[block]]\nchannels = 4\n[[block]]\nchannels = 4", "depth 1 is less"),
        ("[loss]\nmargin = -1\n[[block]]\nchannels = 4", "margin"),
        ("[[block]", "cannot be read as a net"),
    ],
)
def test_bad_net_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(DfedgeError, match=message):
        load_spec(str(tmp_path / "net.toml"))


def test_net_that_pools_the_image_away_is_refused_before_training(tmp_path: Path) -> None:
    blocks = "\n".join("[[block]]\nchannels = 4\npool = true" for _ in range(5))
    (tmp_path / "net.toml").write_text(blocks)
    with pytest.raises(DfedgeError, match="layer3 sees 1 x 1 positions"):
        plan_run(TrainOptions(net=str(tmp_path / "net.toml")))


def test_ranges_become_the_largest_exponent_that_holds_them() -> None:
    assert [range_exponent(v) for v in (127.0, 63.5, 1.0, 0.99)] == [0, 1, 6, 7]
    values = torch.cat([torch.full((1000,), 0.3), torch.tensor([9.0])])
    # Exponent 3 holds the outlier, and 0.3 becomes 2/8: error 1000 * 0.05^2 = 2.5.
    # Exponent 4 cuts it to 127/16, and 0.3 becomes 5/16: 1.06^2 + 1000 * 0.0125^2 = 1.3.
    assert mse_exponent(torch.full((8,), 1 / 64 + 1 / 512), 0, 127) > range_exponent(1.0)
    assert mse_exponent(values, 0, 127) == 4


def test_a_layer_too_sharp_for_the_int32_sum_of_scores_gives_way() -> None:
    scales = [LayerScales((Scales(0, 4),), 4, sharpness=s) for s in (1.0, 1000.0, 300.0, 2.0)]
    features = [2048, 2048, 64, 2048]
    held = summable(features, scales)
    shifts = score_shifts(features, held)
    parts = [(PEAK * d) << shift for d, shift in zip(features, shifts, strict=True)]
    assert sum(parts) < 1 << 30 <= sum(parts) + max(parts)  # no more than was needed
    assert [a == b for a, b in zip(held, scales, strict=True)] == [True, False, False, True]
    assert summable([16] * 4, scales) == scales


@pytest.mark.parametrize("recipe", ["minmax", "percentile", "pow2-mse"])
def test_every_shipped_recipe_keeps_the_nets_accuracy(run_folder: Path, recipe: str) -> None:
    run = Run.open(run_folder)
    net = run.load_net()
    test = to_samples(load_data(run.plan).split("test")[1])
    before = accuracy(net, test)
    net.scales = calibrate(net, test.x, load_recipe(recipe))
    assert accuracy(net, test) > before - 0.05


def test_recipe_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('about = "mine"\nactivations = "minmax"\nweights = "mse"\nsamples = 7')
    assert load_recipe(str(path)).samples == 7
    path.write_text('about = "mine"\nactivations = "median"\nweights = "mse"')
    with pytest.raises(DfedgeError, match="median"):
        load_recipe(str(path))
    with pytest.raises(UsageError, match="unknown recipe 'mine'; known: minmax, percentile"):
        load_recipe("mine")


def test_augmentation_moves_within_its_reach_and_depends_on_the_generator_alone() -> None:
    x = torch.zeros(64, 1, 5, 5)
    x[:, 0, 2, 2] = 1
    moved = augment(x, 1, False, torch.Generator().manual_seed(0))
    assert moved[:, 0, 1:4, 1:4].sum() == 64
    assert len({tuple(one.flatten().tolist()) for one in moved}) == 9
    assert torch.equal(moved, augment(x, 1, False, torch.Generator().manual_seed(0)))


def test_float_run_must_be_calibrated_before_export(tmp_path: Path) -> None:
    from dfedge.exporters.write import ExportOptions, export

    run = train(TrainOptions(settings={"epochs": 1}), tmp_path / "run")
    with pytest.raises(DfedgeError, match="is not calibrated; run: dfedge calibrate"):
        export(run, ExportOptions(), tmp_path / "bundle")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    calibrate_run(run, "minmax")
    assert Run.open(tmp_path / "run").calibration().recipe_name == "minmax"


def test_run_of_other_options_is_left_alone(run_folder: Path) -> None:
    before = (run_folder / "run.json").read_bytes()
    with pytest.raises(DfedgeError, match=r"holds another run \(it differs in settings, seed\)"):
        train(TrainOptions(qat=True, seed=5), run_folder)
    assert (run_folder / "run.json").read_bytes() == before


def test_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DfedgeError, match="is not a run"):
        train(TrainOptions(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_damaged_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    run = train(TrainOptions(settings={"epochs": 1}), tmp_path / "run")
    path = run.folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DfedgeError, match="train again"):
        run.load_net()


@pytest.mark.slow
def test_killed_run_resumes_to_the_bytes_of_one_never_stopped(tmp_path: Path) -> None:
    settings = {"epochs": 4, "qat_epochs": 2}
    whole = train(TrainOptions(qat=True, settings=settings), tmp_path / "whole")
    command = [sys.executable, "-m", "dfedge", "train", "--qat", "--epochs", "4",
               "--qat-epochs", "2", "--out", str(tmp_path / "killed")]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 1):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    resumed = train(TrainOptions(qat=True, settings=settings), tmp_path / "killed")
    for name in ("checkpoint.safetensors", "metrics.jsonl", "calibration.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert [row.get("epoch") for row in resumed.metrics()] == [1, 2, 3, 4, None, 1, 2, None]


def test_run_in_many_short_starts_ends_in_the_bytes_of_one_start(tmp_path: Path) -> None:
    options = TrainOptions(
        rule="df-o", qat=True, loss={"kind": "softmax"}, settings={"epochs": 2, "qat_epochs": 2}
    )
    whole = train(options, tmp_path / "whole")
    starts = 1
    while not train(options, tmp_path / "parts", minutes=1e-9).finished():
        starts += 1
    assert starts == 5  # an epoch each, and one more that judges
    for name in ("checkpoint.safetensors", "metrics.jsonl", "calibration.json"):
        one, other = (tmp_path / folder / name for folder in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name
    assert whole.finished()


def test_bfloat16_trains_float32_weights_and_automatic_precision_is_float32_on_a_cpu(
    tmp_path: Path,
) -> None:
    def trained(name: str) -> dict[str, torch.Tensor]:
        settings = {"epochs": 4, "precision": name}
        run = train(TrainOptions(settings=settings), tmp_path / name)
        assert run.metrics()[-1]["test_accuracy"] > 0.8
        return run.load_net().state_dict()

    half, full, usual = (trained(name) for name in ("bfloat16", "float32", "auto"))
    assert all(torch.equal(usual[name], value) for name, value in full.items())
    assert any(not torch.equal(half[name], value) for name, value in full.items())
    assert {value.dtype for value in half.values() if value.is_floating_point()} == {torch.float32}


def test_layers_that_count_are_chosen_on_held_out_samples_and_kept(tmp_path: Path) -> None:
    options = TrainOptions(settings={"epochs": 3, "validation": 100}, seed=1)
    run = train(options, tmp_path / "run")
    last = run.metrics()[-1]
    net = run.load_net()
    assert list(net.counted) == last["counted"]
    whole = to_samples(load_data(run.plan).split("train")[1])
    rest, held_out = whole.hold_out(100, 1)
    assert (len(rest), len(held_out)) == (len(whole) - 100, 100)
    found = {}
    for counted in candidates(3):
        net.counted = counted
        found[counted] = accuracy(net, held_out)
    assert max(found.values()) == found[tuple(last["counted"])]
    assert last["validation_accuracy"] == pytest.approx(max(found.values()))


def test_a_net_may_say_how_many_last_layers_count(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    blocks = "[[block]]\nchannels = 4\npool = true\n" * 3
    path.write_text(f"anchors = 1\ncounted = 2\n{blocks}")
    run = train(TrainOptions(net=str(path), settings={"epochs": 0}), tmp_path / "run")
    assert run.load_net().counted == (1, 2)
    calibrate_run(run, "pow2-mse")
    bundle = export(run, ExportOptions(("c",), batch=1, trial=False), tmp_path / "bundle")
    assert [layer.counted for layer in bundle.manifest.plan.layers] == [False, True, True]
    path.write_text(f"anchors = 1\ncounted = 4\n{blocks}")
    assert "counted: at most the 3 blocks; got 4" in refused(lambda: load_spec(str(path)))


def test_choice_prefers_all_layers_among_equals() -> None:
    assert candidates(3) == [(0, 1, 2), (1, 2), (2,), (0,), (1,)]


PARALLEL = """
import sys, torch
from dfedge.data.sources import load
from dfedge.learn import parallel
from dfedge.learn.rules import load_rule
from dfedge.learn.samples import to_samples
from dfedge.learn.train import TrainOptions, plan_run
from dfedge.learn.trainer import Trainer, initialise_anchors
torch.set_num_threads(1)
rule, out = sys.argv[1:]
plan, data = plan_run(TrainOptions(rule=rule, settings={"shift": 1, "lr": 1e-3}))
samples = to_samples(data.split("train")[1])
net = plan.make_net()
initialise_anchors(net, samples)
net.double()  # one float32 rounding would grow under AdamW's division
rank, world = parallel.join()
trainer = Trainer(net, load_rule(rule), plan.settings, 0, 2, rank=rank, world=world, frozen=True)
trainer.epoch(samples, 0, lambda *_: None)
if rank == 0:
    torch.save(net.state_dict(), out)
parallel.leave()
"""


def torchrun(*arguments: str) -> None:
    """Two processes on this machine; what they wrote to stderr where they fail."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["df-o"])
def test_two_processes_train_as_one_on_the_joint_batch(tmp_path: Path, rule: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(PARALLEL)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    alone, together = tmp_path / "alone.pt", tmp_path / "together.pt"
    subprocess.run([sys.executable, str(script), rule, str(alone)], env=env, check=True)
    torchrun(str(script), rule, str(together))
    one, two = torch.load(alone), torch.load(together)
    for name, value in one.items():
        assert (value - two[name]).abs().max() < 1e-6, name


@pytest.mark.slow
def test_torchrun_trains_a_whole_run_and_one_process_writes_it(tmp_path: Path) -> None:
    torchrun("-m", "dfedge", "train", "--epochs", "3", "--out", str(tmp_path / "run"))
    rows = Run.open(tmp_path / "run").metrics()
    assert [row.get("epoch") for row in rows] == [1, 2, 3, None]
    assert rows[-1]["test_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"negatives": 10}}, "--negatives 10: digits has 10 classes, so at most 9"),
        ({"loss": {"margin": -0.5}}, "loss: .*>= 0"),
        ({"loss": {"penalty": -1.0}}, "loss: .*>= 0"),
        ({"loss": {"kind": "hinge"}}, "loss: Invalid enum value 'hinge'"),
        (
            {"form": "two-pass"},
            "unknown form 'two-pass' \\(did you mean 'one-pass'\\?\\); known: label-plane",
        ),
        (
            {"form": "label-plane", "qat": True, "loss": {"negatives": 0}},
            "--qat: not supported by the integer runtime: the label-plane form with all wrong",
        ),
        ({"form": "label-plane", "loss": {"kind": "separation"}}, "needs anchors"),
        ({"form": "label-plane", "loss": {"kind": "softmax"}}, "softmax needs anchors"),
        ({"depth": 5}, "--depth 5: net 'digits' has a fixed depth"),
        ({"settings": {"validation": 5000}}, "--validation 5000: only 1000 training samples"),
    ],
)
def test_bad_training_option_is_one_clear_error(
    tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(TrainOptions(**options), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_data_of_one_class_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.zeros(20, np.int64))
    with pytest.raises(DfedgeError, match=r"one class \(0\) leaves no wrong label"):
        train(TrainOptions(data=str(tmp_path / "one.npz"), net="digits"), tmp_path / "run")


def test_pixels_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    x = np.zeros((20, 8, 8), np.float32)
    x[3, 2, 1] = np.nan
    np.savez(tmp_path / "nan.npz", x=x, y=np.arange(20) % 2)
    with pytest.raises(DfedgeError, match=r"nan\.npz"):
        train(TrainOptions(data=str(tmp_path / "nan.npz"), net="digits"), tmp_path / "run")


def test_checkpoint_of_another_net_or_class_count_is_refused(tmp_path: Path) -> None:
    run = train(TrainOptions(settings={"epochs": 1}), tmp_path / "run")
    plan = msgspec.structs.replace(run.plan, classes=("a", "b"))
    (run.folder / "run.json").write_bytes(msgspec.json.encode(plan))
    with pytest.raises(DfedgeError, match=r"size mismatch.*train again"):
        Run.open(run.folder).load_net()
