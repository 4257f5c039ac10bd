"""Each operation that `adopt` takes, in a small net: the same function from every exporter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from test_adopt_onnx import op, right, scored
from torch import Tensor, nn

from dfedge.adoption.fold import fold
from dfedge.adoption.load import Model, open_model
from dfedge.adoption.quantise import Quantiser
from dfedge.errors import DfedgeError
from dfedge.int8.trunk import evaluate
from dfedge.learn.recipe import load_recipe
from dfedge.quiet import quiet

CHANNELS, SIDE = 8, 12
Function = Callable[[Tensor], Tensor]


def conv(**options: Any) -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, **options)


MOVED: dict[str, Function] = {
    "nearest": nn.Upsample(scale_factor=2),
    "nearest by 3 and 2": nn.Upsample(scale_factor=(3, 2)),
    "nearest to a size": lambda x: F.interpolate(x, size=(18, 17)),
    "smaller": lambda x: F.interpolate(x, scale_factor=0.5),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear by 3": nn.Upsample(scale_factor=3, mode="bilinear"),
    "repeated": lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    "a number around": nn.ConstantPad2d((1, 2, 0, 1), 0.5),
    "reflected": nn.ReflectionPad2d((2, 1, 0, 3)),
    "edges repeated": nn.ReplicationPad2d((1, 0, 2, 1)),
    "circular": lambda x: F.pad(x, (1, 2, 1, 1), mode="circular"),
    "a reflecting convolution": conv(padding=1, padding_mode="reflect"),
    "a repeating convolution": conv(padding=1, padding_mode="replicate"),
    "a circular convolution": conv(padding=1, padding_mode="circular"),
    "a crop": lambda x: x[:, :, 1:-1, 2:],
    "every other": lambda x: x[:, :, ::2, 1::2],
    "focus": lambda x: torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1),
    "turned over": lambda x: x.flip(3).flip(2),
    "rolled": lambda x: x.roll(1, 2),
    "same with dilation": conv(padding="same", dilation=(1, 2)),
}
COMPUTED: dict[str, Function] = {
    "a maximum": lambda x: torch.maximum(x[:, :4], x[:, 4:]),
    "a minimum": lambda x: torch.minimum(x, x.flip(1)),
    "less the mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "by the mean": lambda x: x / (x.mean((2, 3), keepdim=True).abs() + 1),
    "gated by place": lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)),
    "the mean over channels": lambda x: x.mean(1, keepdim=True),
    "the largest, twice": lambda x: x.max(3)[0].max(2)[0],
    "a gated linear unit": nn.GLU(1),
    "parts apart": lambda x: x[:, 4:] - x[:, :4],
    "a choice": lambda x: torch.where(x > 0.2, x * 0.5, x.abs()),
    "softshrink": nn.Softshrink(0.2),
    "hardshrink": nn.Hardshrink(0.2),
    "log sigmoid": nn.LogSigmoid(),
    "a logarithm": lambda x: torch.log(x.abs() + 1),
    "rounded": lambda x: torch.round(3 * x),
}


class Net(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.function = function
        with torch.no_grad():
            count = function(torch.zeros(1, CHANNELS, SIDE, SIDE)).numel()
        self.last = nn.Linear(count, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.function(self.first(x)).flatten(1))
        return y


def read(net: nn.Module, exporter: str, folder: Path) -> Model:
    if exporter == "torch":
        return Model("net", net)
    path, example = folder / "net.onnx", torch.zeros(2, 3, SIDE, SIDE)
    with quiet():
        torch.onnx.export(net, (example,), path, dynamo=exporter == "dynamo")
    return open_model(str(path))


BY_DYNAMO = ("nearest", "bilinear", "reflected", "circular", "rolled", "a choice", "softshrink")
"""By that exporter, which is slow: what it writes in another way."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exporter"),
    [*((name, way) for name in MOVED | COMPUTED for way in ("torch", "script")),
     *((name, "dynamo") for name in BY_DYNAMO)],
)  # fmt: skip
def test_an_operation_is_the_same_function(name: str, exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net((MOVED | COMPUTED)[name]).eval()
    x = torch.rand(3, 3, SIDE, SIDE)
    graph = read(net, exporter, tmp_path).graph((SIDE, SIDE, 3))
    with torch.no_grad():
        wanted = net(x)
    for change in (lambda graph: graph, fold):  # which changes it in place
        assert torch.allclose(change(graph).result(x).flatten(1), wanted, atol=1e-4)


@pytest.mark.parametrize("where", ["half_pixel", "pytorch_half_pixel", "asymmetric"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize(("height", "width"), [(9, 8), (5, 17), (3, 2)])
def test_the_nearest_place_is_that_of_onnx(
    where: str, rounding: str, height: int, width: int
) -> None:
    said = {"coordinate_transformation_mode": where, "nearest_mode": rounding}
    node = op("Resize", "x", "", "", "sizes", mode="nearest", **said)
    sizes = np.array([2, 4, height, width])
    right(scored([node], {"sizes": sizes}, (4, height, width)))


@pytest.mark.parametrize("where", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("scale", [(1, 2), (2, 3), (4, 1)])
def test_linear_enlargement_by_whole_factors_is_that_of_onnx(
    where: str, scale: tuple[int, int]
) -> None:
    node = op("Resize", "x", "", "scales", mode="linear", coordinate_transformation_mode=where)
    scales = np.array([1, 1, *scale], np.float32)
    right(scored([node], {"scales": scales}, (4, 6 * scale[0], 6 * scale[1])))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners=False"),
        (lambda x: F.interpolate(x, size=(17, 18), mode="bilinear"), "whole factors, or nearest"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), "upsample_bicubic2d"),
        (nn.MaxPool2d(2, dilation=2), "a pool without"),
        (nn.AdaptiveAvgPool2d(5), "sides that divide the map's"),
        (lambda x: F.pad(x, (-1, 0, 0, 0)), "pads from 0 up"),
        (lambda x: x.amax(1), "over height and width"),
        (lambda x: torch.where(x > 0, x, x.flip(1)), "made from one"),
    ],
)
def test_what_has_no_form_is_refused_in_one_sentence(function: Function, why: str) -> None:
    with pytest.raises(DfedgeError, match=why) as told:
        Model("net", Net(function).eval()).graph((SIDE, SIDE, 3))
    assert "\n" not in str(told.value)


def test_what_only_moves_rows_and_columns_costs_nothing_in_integers() -> None:
    """The same integers at other places, so that a gathering loses no bit."""
    torch.manual_seed(0)
    graph = fold(Model("net", Net(MOVED["a reflecting convolution"]).eval()).graph((SIDE, SIDE, 3)))
    place = next(i for i, node in enumerate(graph.nodes) if node.op == "gather")
    x = torch.randint(0, 128, (20, SIDE, SIDE, 3), dtype=torch.int8)
    quantiser = Quantiser(graph, load_recipe("pow2-mse"))
    trunk = quantiser.trunk(x, place, lambda *_: None)
    found = evaluate(trunk, quantiser.constants, x)
    before = evaluate(replace(trunk, operations=trunk.operations[:-1]), quantiser.constants, x)
    wanted = F.pad(before.permute(0, 3, 1, 2).float(), (1, 1, 1, 1), mode="reflect")
    assert torch.equal(found.permute(0, 3, 1, 2).float(), wanted)
