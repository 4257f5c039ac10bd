"""torchvision's nets as they are."""

from importlib.util import find_spec
from pathlib import Path

import foreign_nets
import numpy as np
import pytest
import torch
import torchvision_nets
from torch import nn
from torchvision_nets import SIDE

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.blocks import tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.load import load_graph
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.verify import verify

pytestmark = pytest.mark.skipif(
    find_spec("torchvision") is None, reason="torchvision is not installed (the extra dev has it)"
)


def graph_of(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> ForeignGraph:
    monkeypatch.setattr(foreign_nets, "given", lambda: net, raising=False)
    graph = fold(load_graph("foreign_nets:given", (SIDE, SIDE, 3)))
    tail_of(graph)
    return graph


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2_035", "mobilenet_v3_small", "resnet18", "mnasnet0_5", "regnet_x_400mf",
     "googlenet", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x0_5", "squeezenet1_1"],
)  # fmt: skip
def test_the_folded_graph_computes_what_the_net_does(name: str, monkeypatch) -> None:
    net, x = torchvision_nets.net(name), torch.rand(4, 3, SIDE, SIDE)
    with torch.no_grad():
        wanted = net(x)
    found = graph_of(net, monkeypatch).result(x).flatten(1)
    assert float(wanted.std()) > 0.01
    assert float((found - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())


def test_a_net_of_torchvision_is_adopted_and_holds_the_same_bits(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    x = numbers.integers(0, 256, (80, SIDE, SIDE, 3), np.uint8)
    np.savez(tmp_path / "noise.npz", x=x, y=np.arange(80) % 10)
    options = AdoptOptions("torchvision_nets:mobilenet_v3_small", str(tmp_path / "noise.npz"))
    run = adopt(options, tmp_path / "run").run
    bundle = export(run, ExportOptions(("c",), batch=1), tmp_path / "bundle")
    found = verify(bundle, 3)
    assert found.identical, found.first_difference
