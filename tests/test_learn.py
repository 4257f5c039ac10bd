import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch

from dfedge.errors import DfedgeError, UsageError
from dfedge.int8.rounding import round_half_up
from dfedge.int8.scales import Scales
from dfedge.learn.augment import augment
from dfedge.learn.calibrate import mse_exponent, range_exponent
from dfedge.learn.goodness import distances, margin_loss, pool_cells
from dfedge.learn.net import Net
from dfedge.learn.recipe import load_recipe
from dfedge.learn.rules import RULES, load_rule
from dfedge.learn.run import Run
from dfedge.learn.spec import Block, NetSpec, load_spec
from dfedge.learn.train import TrainOptions, calibrate_run, plan_run, train

SPEC = NetSpec(block=[Block(4), Block(6, pool=True)])


def batch(classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 128, (8, 1, 6, 6), generator=g)
    return x, torch.randint(0, classes, (8,), generator=g)


def net_with_anchors(classes: int = 3) -> Net:
    torch.manual_seed(0)
    net = Net(SPEC, 1, classes)
    for layer in net.layer_list():
        torch.nn.init.uniform_(layer.anchors)
    return net


def test_distance_sign_the_right_label_is_the_near_one() -> None:
    p, anchors = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    d = distances(p, anchors)
    assert d.tolist() == [[0.0, 2.5]]  # (1 + 4) / 2
    right, _ = margin_loss(d, anchors, torch.tensor([0]), 0.3)
    wrong, _ = margin_loss(d, anchors, torch.tensor([1]), 0.3)
    assert (float(right), float(wrong)) == (0.0, pytest.approx(1.3))  # 0.3 + 2.5 / 2.5


def test_closed_form_gradients_equal_autograd() -> None:
    """The derivative by p is the integer step's difference of two anchors, over D."""
    g = torch.Generator().manual_seed(1)
    p = torch.rand(16, 10, generator=g, dtype=torch.float64, requires_grad=True)
    anchors = torch.rand(5, 10, generator=g, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 5, (16,), generator=g)
    d = distances(p, anchors)
    loss, active = margin_loss(d, anchors, y, 0.3)
    loss.backward()
    assert 0 < float(active) < 1
    k = d.detach().scatter(1, y[:, None], torch.inf).argmin(1)
    a, wrong, right = anchors.detach(), anchors.detach()[k], anchors.detach()[y]
    separation = (wrong - right).square().mean(1)
    gap = d.detach().gather(1, y[:, None])[:, 0] - d.detach().gather(1, k[:, None])[:, 0]
    assert (0.3 * separation + gap > 0).double().mean() == active  # the integer step's criterion
    on = ((0.3 * separation + gap > 0) / separation)[:, None] * 2 / (10 * 16)
    spread = (gap / separation)[:, None] * on * (wrong - right)  # through D, in A_y; minus in A_k*
    expected_p = on * (wrong - right)
    expected_a = torch.zeros_like(a)
    expected_a.index_add_(0, y, -on * (p.detach() - right) + spread)
    expected_a.index_add_(0, k, on * (p.detach() - wrong) - spread)
    assert (p.grad - expected_p).abs().max() < 1e-12
    assert (anchors.grad - expected_a).abs().max() < 1e-12


def test_no_gradient_crosses_a_layers_boundary() -> None:
    net, (x, y) = net_with_anchors(), batch()
    first, second = net.layer_list()
    last = list(net.outputs(x))[1]
    margin_loss(last.distance, last.anchors, y, 0.3)[0].backward()
    assert second.weight.grad.abs().max() > 0
    assert first.weight.grad is None


def test_a_layers_graph_is_gone_before_the_next_computes() -> None:
    """What autograd saved for layer 0 is freed by the time that layer 1 starts."""

    class Saved:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

    alive: weakref.WeakSet[Saved] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Saved:
        saved = Saved(tensor)
        alive.add(saved)
        return saved

    net, (x, y) = net_with_anchors(), batch()
    before_second = []
    net.layers[1].register_forward_pre_hook(lambda *_: before_second.append(len(alive)))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        outputs = net.outputs(x)
        out = next(outputs)
        assert len(alive) > 3
        margin_loss(out.distance, out.anchors, y, 0.3)[0].backward()
        del out
        next(outputs)
    assert before_second == [0]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_moves_every_layer(rule: str) -> None:
    net, (x, y) = net_with_anchors(), batch()
    signals = load_rule(rule)(net, x, y)
    assert len(signals) == 2
    for layer in net.layer_list():
        assert layer.weight.grad.abs().max() > 0
        assert layer.anchors.grad.abs().max() > 0


def test_host_pooling_matches_the_integer_steps_cells() -> None:
    h = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert pool_cells(h, 2).tolist() == [[2.0, 1.75, 3.25, 2.0]]
    assert round_half_up(pool_cells(h, 2)).tolist() == [[2.0, 2.0, 3.0, 2.0]]


def test_unknown_rule_and_net_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown rule 'dfx'; known: df"):
        train(TrainOptions(rule="dfx"), tmp_path / "run")
    with pytest.raises(UsageError, match="unknown net 'tiny'; known: cifar, digits, mnist"):
        train(TrainOptions(net="tiny"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block = []", "length"),
        ("[[block]]\nchannels = 4\nkernel = 2", "kernel must be odd"),
        ("[[block]]\nchannels = 4\nstride = 2", "stride"),
        ("[[block]", "not a net"),
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


@pytest.mark.parametrize("recipe", ["minmax", "percentile", "pow2-mse"])
def test_every_shipped_recipe_keeps_the_nets_accuracy(run_folder: Path, recipe: str) -> None:
    from dfedge.learn.train import load_data, to_samples
    from dfedge.learn.trainer import accuracy

    run = Run.open(run_folder)
    net = run.load_net()
    test = to_samples(load_data(run.plan).split("test")[1])
    before = accuracy(net, test)
    from dfedge.learn.calibrate import calibrate

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


def test_quantised_scores_are_integers_of_the_scales() -> None:
    net, (x, _) = net_with_anchors(), batch()
    net.eval()
    net.scales = (Scales(6, 4), Scales(6, 4))
    scores = net.scores(x)
    assert torch.equal(scores, scores.round())


def test_augmentation_moves_within_its_reach_and_depends_on_the_generator_alone() -> None:
    x = torch.zeros(64, 1, 5, 5)
    x[:, 0, 2, 2] = 1
    moved = augment(x, 1, False, torch.Generator().manual_seed(0))
    assert moved[:, 0, 1:4, 1:4].sum() == 64
    assert len({tuple(one.flatten().tolist()) for one in moved}) == 9
    assert torch.equal(moved, augment(x, 1, False, torch.Generator().manual_seed(0)))


def test_float_run_must_be_calibrated_before_export(tmp_path: Path) -> None:
    from dfedge.export.write import ExportOptions, export

    run = train(TrainOptions(settings={"epochs": 1}), tmp_path / "run")
    with pytest.raises(DfedgeError, match="was never calibrated; run: dfedge calibrate"):
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
    with pytest.raises(DfedgeError, match="is no run"):
        train(TrainOptions(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_damaged_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    run = train(TrainOptions(settings={"epochs": 1}), tmp_path / "run")
    path = run.folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DfedgeError, match="train again"):
        run.load_net()


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
