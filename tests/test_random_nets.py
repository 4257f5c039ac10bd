"""A handful of the random nets; examples/experiments/random_nets.py tries all of them."""

import pytest
from trials.random_nets import attempt, draw

from dfedge.plan import FEEDBACKS
from dfedge.runtimes import formats


@pytest.mark.parametrize(("seed", "formats"), [(0, ("onnx", "litert")), (6, tuple(formats()))])
def test_net_inside_the_limits_is_exported_and_all_runtimes_agree(
    seed: int, formats: tuple[str, ...]
) -> None:
    trial = attempt(seed, False, formats)
    assert (trial.outcome, trial.detail) == ("agreed", "")


@pytest.mark.parametrize(("seed", "outcome"), [(0, "refused"), (2, "refused"), (4, "agreed")])
def test_net_at_a_limit_agrees_or_is_refused_with_the_limit_named(seed: int, outcome: str) -> None:
    trial = attempt(seed, True, ("onnx", "litert"))
    assert trial.outcome == outcome
    if outcome == "refused":
        assert trial.limit in trial.detail
        assert trial.detail.startswith("layer")


def test_drawn_nets_are_of_every_kind() -> None:
    nets = [draw(seed).plan for seed in range(160)]
    assert {net.form for net in nets} == {"one-pass", "label-plane"}
    assert {net.feedback for net in nets} == set(FEEDBACKS)
    convs = [conv for net in nets for layer in net.layers for conv in layer.convs]
    assert {conv.stride for conv in convs} == {1, 2, 3}
    assert {True, False} == {conv.depthwise for conv in convs}
    assert any(conv.kernel[0] % 2 == 0 for conv in convs)
    assert any(layer.join for net in nets for layer in net.layers)
    assert any(net.cut for net in nets)
    assert max(net.classes for net in nets) > 250
