"""One function written in several ways is as accurate in int8, within half a point."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import foreign_nets
import pytest
import torch
from test_adopt import weights  # noqa: F401
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.quiet import quiet

rewritten: nn.Module


def net() -> nn.Module:
    """What is adopted."""
    return rewritten


def adopted(model: str, place: Path) -> tuple[float, float]:
    """Accuracy in float and in int8."""
    found = adopt(AdoptOptions(model, "digits", keep=False), place)
    return found.float_accuracy, found.accuracy


@pytest.fixture(scope="module")
def wanted(weights: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, float]:  # noqa: F811
    return adopted("foreign_nets:residual", tmp_path_factory.mktemp("wanted") / "run")


def scaled(factor: float) -> Callable[[nn.Module], None]:
    """Every third channel of a norm times a factor, and back in the weights that read it."""

    def change(made: nn.Module) -> None:
        for block in made.blocks:
            by = torch.ones(len(block.norm.weight))
            by[::3] = factor
            block.norm.weight.mul_(by)
            block.norm.bias.mul_(by)
            block.second.weight.div_(by[:, None, None])

    return change


def merged(made: nn.Module) -> None:
    """Norms within the convolutions before them."""
    for block in made.blocks:
        block.first, block.norm = fuse_conv_bn_eval(block.first, block.norm), nn.Identity()


def split(made: nn.Module) -> None:
    """Each norm in two: the first gives three times as much and one more."""
    for block in made.blocks:
        block.norm.weight.mul_(3)
        block.norm.bias.mul_(3).add_(1)
        back = nn.BatchNorm2d(len(block.norm.weight))
        back.running_mean.fill_(1)
        back.running_var.fill_(9 - back.eps)
        block.norm = nn.Sequential(block.norm, back)


class Turned(nn.Module):
    """Channels last around every activation, and back."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def turned(made: nn.Module) -> None:
    for block in made.blocks:
        block.norm = nn.Sequential(block.norm, Turned())


class ChannelsLast(nn.Module):
    """Takes [B, H, W, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = foreign_nets.residual()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.permute(0, 3, 1, 2))


REWRITES: dict[str, Callable[[nn.Module], None]] = {
    "ten times": scaled(10), "a thousandth": scaled(1e-3), "merged norms": merged,
    "split norms": split, "turned and back": turned,
}  # fmt: skip


@pytest.mark.parametrize("name", REWRITES)
def test_a_net_written_otherwise_is_as_accurate(name: str, wanted: tuple, tmp_path: Path) -> None:
    global rewritten
    rewritten = deepcopy(foreign_nets.residual()).eval()
    with torch.no_grad():
        REWRITES[name](rewritten)
    exact, found = adopted("test_rewrites:net", tmp_path / "run")
    assert exact == wanted[0]
    assert abs(found - wanted[1]) <= 0.005


@pytest.mark.parametrize(("opset", "last"), [(9, False), (18, False), (9, True), (17, True)])
def test_so_is_a_file_of_another_exporter_and_opset(
    opset: int, last: bool, wanted: tuple, tmp_path: Path
) -> None:
    """The newer exporter writes a mean over maps that lie channels last across samples."""
    made = ChannelsLast().eval() if last else foreign_nets.residual()
    shape = (2, 8, 8, 1) if last else (2, 1, 8, 8)
    path = tmp_path / "net.onnx"
    with quiet():
        torch.onnx.export(made, (torch.zeros(shape),), path, dynamo=opset == 18,
                          opset_version=opset)  # fmt: skip
    exact, found = adopted(str(path), tmp_path / "run")
    assert exact == wanted[0]
    assert abs(found - wanted[1]) <= 0.005


def test_so_is_a_function_that_takes_channels_last(wanted: tuple, tmp_path: Path) -> None:
    global rewritten
    rewritten = ChannelsLast().eval()
    assert adopted("test_rewrites:net", tmp_path / "run") == wanted
