"""A function's table for each channel: where it pays, what it gains, and one table elsewhere."""

from unittest.mock import patch

import pytest
import torch
from test_equalise import RECIPE, graph_of, images
from torch import Tensor, nn

from dfedge.adoption.observe import observe, real
from dfedge.adoption.quantise import Quantiser
from dfedge.adoption.tables import Tables, told_apart
from dfedge.int8.trunk import evaluate
from dfedge.operations import Lookup


class Deep(nn.Module):
    """A convolution, a function, a depthwise convolution that evens channels out, and so on."""

    def __init__(self, end: type[nn.Module], spread: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.deep = nn.Conv2d(2, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.project, self.fc, self.end = nn.Conv2d(16, 16, 1), nn.Linear(16, 10), end()
        by = spread ** torch.linspace(-1, 1, 16)[torch.randperm(16)]
        with torch.no_grad():
            self.stem.weight.mul_(by[:, None, None, None])
            self.stem.bias.mul_(by)
            self.deep.weight.div_(by[:, None, None, None])
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.end(self.deep(self.end(self.stem(x))))
        return self.fc(self.end(self.project(x)).mean((2, 3)))


def quantised(net: nn.Module) -> Quantiser:
    quantiser = Quantiser(graph_of(net), RECIPE)
    trunk = quantiser.trunk(images(64), len(quantiser.graph.nodes) - 2, lambda *_: None)
    assert trunk.flaw(quantiser.constants) is None
    made = evaluate(trunk, quantiser.constants, images(64))
    assert torch.equal(made, torch.cat(quantiser.values[len(trunk.operations)]))
    return quantiser


def least(quantiser: Quantiser) -> float:
    return min(loss.snr for loss in quantiser.losses)


def tables(quantiser: Quantiser) -> list[bool]:
    return [one.each for one in quantiser.operations if isinstance(one, Lookup)]


def test_channels_of_any_size_lose_no_more_than_channels_of_one() -> None:
    """A function of which a number above zero can be taken out, so that both nets are one."""
    even, uneven = (quantised(Deep(nn.LeakyReLU, spread)) for spread in (1.0, 30.0))
    assert not any(tables(even))
    assert tables(uneven) == [True, False, False]
    assert abs(least(uneven) - least(even)) < 1
    with patch.object(Tables, "_pays", lambda *_: False):
        assert least(quantised(Deep(nn.LeakyReLU, 30.0))) < least(even) - 10


@pytest.mark.parametrize("end", [nn.Hardswish, nn.SiLU, nn.GELU])
def test_small_channels_of_a_function_survive(end: type[nn.Module]) -> None:
    with patch.object(Tables, "_pays", lambda *_: False):
        before = least(quantised(Deep(end, 20.0)))
    found = quantised(Deep(end, 20.0))
    assert tables(found)[0]
    assert least(found) > max(before + 10, 20)


def test_one_table_is_as_it_was_where_tables_do_not_pay() -> None:
    alone = quantised(Deep(nn.Hardswish, 1.0))
    with patch.object(Tables, "_pays", lambda *_: False):
        wanted = quantised(Deep(nn.Hardswish, 1.0))
    assert alone.operations == wanted.operations
    for name, value in wanted.constants.items():
        assert torch.equal(alone.constants[name], value)


def test_an_end_at_which_a_function_stays_is_not_told_apart() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Hardswish(), nn.Conv2d(3, 4, 1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.mul_(torch.tensor([100.0, 1.0, 0.0])[:, None, None, None])
    graph = graph_of(nn.Sequential(net[:3], nn.AdaptiveAvgPool2d(1), net[3], nn.Linear(4, 10)))
    number = next(i for i, node in enumerate(graph.nodes) if node.op == "function")
    (read,) = graph.nodes[number].reads
    seen = observe(graph, images(64), number, lambda *_: None)[read]
    found = told_apart(seen, graph.nodes[number])
    assert torch.equal(found.high, seen.high)
    assert float(found.low[0]) > -6 > float(seen.low[0])
    assert torch.allclose(found.low[1:], seen.low[1:], atol=0.02)
    for value in next(v for i, v in graph.run(real(images(64))) if i == read):
        kept = torch.maximum(value, found.low[:, None, None])
        assert torch.allclose(*(graph.nodes[number].run([one]) for one in (kept, value)), atol=0.2)
