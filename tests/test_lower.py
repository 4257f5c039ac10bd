"""From nets of every kind to the integer step: the host's fake-quantised net is the step itself."""

from pathlib import Path

import pytest
import torch

from dfedge.compile import step
from dfedge.errors import UsageError
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import lowered
from dfedge.learn.run import Run
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import to_samples
from dfedge.learn.train import TrainOptions, quantised_net, train
from dfedge.rules import RULES

NET = """
anchors = 2
[train]
epochs = 3
qat_epochs = 1
[[block]]
channels = 16
stride = 2
[[block]]
channels = 16
kind = "separable"
[[block]]
channels = 16
kind = "residual"
[[block]]
channels = 24
kind = "residual"
pool = true
[[block]]
channels = 24
kind = "linear"
"""


def run_of(folder: Path, form: str, rule: str = "df", loss: str | None = None) -> Run:
    net = folder / "net.toml"
    net.write_text(NET)
    options = TrainOptions(net=str(net), rule=rule, qat=True, form=form, loss={"kind": loss})
    return train(options, folder / "run")


@pytest.mark.parametrize(
    ("form", "loss"), [("one-pass", None), ("one-pass", "softmax"), ("label-plane", None)]
)
def test_quantised_net_of_all_kinds_of_blocks_scores_as_the_integer_step(
    tmp_path: Path, form: str, loss: str | None
) -> None:
    run = run_of(tmp_path, form, loss=loss)
    assert run.metrics()[-1]["test_accuracy"] > 0.6
    plan, state = lowered(run)
    test = to_samples(load_data(run.plan).split("test")[1])
    x = test.x.permute(0, 2, 3, 1).contiguous()
    found, wanted = step.infer(plan, state, x), quantised_net(run).scores(test.x)
    assert torch.equal(found.double(), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["df", "df-o", "df-r", "df-r-concordant"])
def test_every_rule_moves_every_convolution_and_learns_in_integers(
    tmp_path: Path, rule: str
) -> None:
    run = run_of(tmp_path, "one-pass", rule)
    plan, state = lowered(run)
    assert plan.feedback == RULES.all()[rule].feedback
    first = state
    data = to_samples(load_data(run.plan).split("train")[1])
    x = data.x.permute(0, 3, 2, 1).contiguous()  # height and width exchanged: never seen
    y = data.y.int()

    def right(state: dict[str, torch.Tensor]) -> float:
        return (step.infer(plan, state, x).argmax(1) == y).double().mean().item()

    before = right(state)
    for i in range(0, 960, 16):
        state, _, active = step.train(plan, state, x[i : i + 16], y[i : i + 16])
        assert active.shape == (5,)
    for name in state:
        if name.endswith(".weight"):
            assert not torch.equal(state[name], first[name]), name
    assert right(state) > before + 0.2


def test_layers_below_the_cut_are_kept_and_a_latent_trains_as_its_image(tmp_path: Path) -> None:
    run = run_of(tmp_path, "one-pass")
    plan, state = lowered(run, ExportOptions(train_layers="last:3", spare_classes=2))
    assert (plan.cut, plan.classes) == (2, 12)
    assert state["live"].tolist() == [1] * 10 + [0, 0]
    data = to_samples(load_data(run.plan).split("train")[1])
    x, y = data.x[:16].permute(0, 2, 3, 1).contiguous(), (data.y[:16].int() + 1) % 10
    one, scores, active = step.train(plan, state, x, y)
    *seen, latent = step.features(plan, state, x)
    assert [p.shape[1] for p in seen] == [layer.features for layer in plan.layers]
    two, _, active_two = step.train_from(plan, state, latent, y)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(active, active_two)
    assert active[:2].tolist() == [0, 0]
    frozen = [name for name in state if name.startswith(("layer0", "layer1"))]
    assert all(torch.equal(one[name], state[name]) for name in frozen)
    assert (scores[:, 10:] == -(1 << 30)).all()
    assert not one["layer4.anchors"][10:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExportOptions(rule="bp"), "unknown rule of the device 'bp'"),
        (ExportOptions(train_layers="last:9"), "--train-layers last:9: allowed: all, or last:N"),
        (ExportOptions(train_layers="first:1"), "--train-layers first:1"),
        (ExportOptions(spare_classes=-1), "--spare-classes -1"),
    ],
)
def test_bad_export_option_is_one_clear_error(
    run_folder: Path, options: ExportOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        lowered(Run.open(run_folder), options)
