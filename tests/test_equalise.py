"""Channels of any size: nets that are one function are one function after equalisation too."""

from contextlib import nullcontext
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dfedge.adoption.equalise import equalise
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph, ForeignNode
from dfedge.adoption.load import Model
from dfedge.adoption.noise import NOISY, OperationLoss, noisiest
from dfedge.adoption.observe import _seen, observe, real
from dfedge.adoption.quantise import Quantiser
from dfedge.adoption.tables import Tables
from dfedge.learn.recipe import load_recipe

RECIPE = load_recipe("pow2-mse")
ENDS = (nn.ReLU, nn.ReLU6, nn.Identity, nn.Hardswish)


class Net(nn.Module):
    """Whole, depthwise and grouped convolutions, a sum, a product, a concatenation, pools.

    Channels are multiplied in a normalisation; what reads them divides, where that is the same
    function.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        pick = torch.randint(len(ENDS), (4,)).tolist()
        self.ends = nn.ModuleList(ENDS[one]() for one in pick)
        self.stem, self.norm = nn.Conv2d(2, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.deep, self.deep_norm = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8)
        self.project, self.gate = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 3, 2, 1, groups=2)
        self.last, self.fc = nn.Conv2d(20, 16, 3, 1, 1), nn.Linear(16, 10)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.ends[0](self.norm(self.stem(x)))
        x = x + self.project(self.ends[1](self.deep_norm(self.deep(x))))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x = torch.cat([self.ends[2](self.grouped(x)), nn.functional.max_pool2d(x, 2)], 1)
        return self.fc(self.ends[3](self.last(x)).mean((2, 3)))


def images(count: int) -> Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 128, (count, 8, 8, 2), generator=drawn, dtype=torch.int8)


def graph_of(net: nn.Module) -> ForeignGraph:
    return fold(Model("net", net).graph((8, 8, 2)))


def spread(net: Net, factor: float) -> None:
    """Multiply some of the depthwise convolution's result, and divide what reads it."""
    by = torch.ones(8)
    by[torch.randperm(8)[:3]] = factor
    with torch.no_grad():
        net.deep_norm.weight.mul_(by)
        net.deep_norm.bias.mul_(by)
        net.project.weight.div_(by[:, None, None])


def scores(graph: ForeignGraph, x: Tensor) -> tuple[Tensor, float]:
    """Of the integer program up to the features, and the least signal to noise."""
    until = len(graph.nodes) - 2
    quantiser = Quantiser(graph, RECIPE)
    quantiser.trunk(x, until, lambda *_: None)
    (q,) = quantiser.values[len(quantiser.operations)]
    v = quantiser.ranges[until].real(q.permute(0, 3, 1, 2).float())
    return graph.nodes[-1].run([v]), min(loss.snr for loss in quantiser.losses)


@pytest.mark.slow
@given(st.integers(0, 1 << 30), st.sampled_from([1e-3, 0.1, 1.0, 30.0, 1000.0]), st.booleans())
@settings(max_examples=16, deadline=None)
def test_the_float_net_computes_the_same_and_channels_are_of_one_size(
    seed: int, factor: float, always: bool
) -> None:
    """Also where every function has a table for each channel."""
    net, x = Net(seed), images(64)
    spread(net, factor)
    graph = graph_of(net)
    until = len(graph.nodes) - 2
    wanted = graph.result(real(x))
    observed = observe(graph, x, until, lambda *_: None)
    with patch.object(Tables, "_pays", lambda *_: always) if always else nullcontext():
        equalise(graph, observed, until, RECIPE)
    assert torch.allclose(graph.result(real(x)), wanted, rtol=1e-3, atol=1e-4)
    again = observe(graph, x, until, lambda *_: None)
    for i, (told, found) in enumerate(zip(observed, again, strict=True)):
        atol = 1e-4 * float(told.high.abs().max() + told.low.abs().max())
        if any(graph.nodes[reader].by_channel for reader in graph.readers(i)):
            assert bool(
                (told.high <= found.high + 1e-3 * found.high.abs() + atol).all()
            )  # ends not told apart
        else:
            assert torch.allclose(told.high, found.high, rtol=1e-3, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_one_function_is_one_program(seed: int) -> None:
    x, found = images(64), []
    for factor in (1.0, 10.0, 1000.0, 1e-3):
        net = Net(seed)
        net.ends[1] = nn.ReLU()  # a bound above would make it another function
        torch.manual_seed(seed)
        spread(net, factor)
        found.append(scores(graph_of(net), x))
    (wanted, least), *others = found
    for other, snr in others:
        assert abs(snr - least) < 0.5
        assert float((other - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Net(3), images(50)
    whole = observe(graph_of(net), x, 5, lambda *_: None)
    monkeypatch.setattr("dfedge.adoption.graph.PIECE", 1)
    for one, other in zip(whole, observe(graph_of(net), x, 5, lambda *_: None), strict=True):
        assert torch.allclose(one.values, other.values, atol=1e-5)
        assert torch.allclose(one.high, other.high, atol=1e-5)


def test_the_last_place_is_seen_on_maps_of_more_places_than_float32_counts() -> None:
    value = torch.zeros(1, 1, 64, 64)
    value[..., -1, -1] = 7
    assert float(_seen(value, 6000, 6001).values[-1]) == 7


def test_channels_that_are_picked_are_multiplied_as_they_were() -> None:
    torch.manual_seed(0)
    sizes = torch.logspace(-2, 2, 8)[:, None, None, None]
    first = ForeignNode(
        "conv",
        "first",
        (0,),
        (8, 8, 8),
        torch.randn(8, 2, 1, 1) * sizes,
        torch.zeros(8),
        bounds=(0.0, torch.inf),
    )
    picked = ForeignNode("select", "picked", (1,), (4, 8, 8), channels=(6, 1, 0, 3))
    last = ForeignNode("conv", "last", (2,), (5, 8, 8), torch.randn(5, 4, 1, 1), torch.zeros(5))
    graph, x = (
        ForeignGraph([ForeignNode("input", "x", (), (2, 8, 8)), first, picked, last]),
        images(16),
    )
    wanted, weight = graph.result(real(x)), last.weight
    equalise(graph, observe(graph, x, 2, lambda *_: None), 2, RECIPE)
    assert not torch.equal(last.weight, weight)
    assert torch.allclose(graph.result(real(x)), wanted, rtol=1e-3, atol=1e-3)


def test_what_is_noisy_is_named() -> None:
    fine, noisy = OperationLoss("a", "conv", NOISY + 1), OperationLoss("b", "conv", NOISY - 1)
    assert noisiest([fine]) is noisiest([]) is None
    assert noisiest([fine, noisy]) is noisy
