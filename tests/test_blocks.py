"""Kinds of blocks: what a net's file may say, and a kind that an installed package adds."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from outside import dfedge, install, together

from dfedge.blocks import GROUP, KINDS, Block
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import NetSpec
from dfedge.learn.units import Unit

PLAIN = dict(os.environ)
OUTSIDE = '''"""A package that dfedge does not know: a bottleneck of kernels that are not square."""

from dfedge.blocks import Kind, same


def convs(block, shape):
    tall = same(shape, block.wide, (block.kernel, 1), block.stride)
    broad = same(tall.output, block.wide, (1, block.kernel))
    return tall, broad, same(broad.output, block.channels, (1, 1))


KIND = Kind(convs, wide=True)
'''
NET = """
anchors = 2
[train]
epochs = 2
qat_epochs = 1
[[block]]
channels = 8
pool = true
[[block]]
kind = "cross"
channels = 12
wide = 6
[[block]]
kind = "cross"
channels = 12
wide = 8
stride = 2
"""


@pytest.mark.parametrize("name", list(KINDS.all()))
def test_the_float_module_and_the_plan_have_the_convolutions_that_the_kind_says(name: str) -> None:
    kind, shape = KINDS.all()[name], (9, 7, 6)
    channels = 6 if kind.keeps_channels else 10
    wide, stride = (14 if kind.wide else 0), (2 if kind.strides else 1)
    block = Block(channels, name, kernel=3, kernel_width=4, stride=stride, wide=wide)
    wanted = block.convs(shape)
    unit = Unit(block, shape)
    layer = skeleton(NetSpec([block], anchors=1), shape, 4).layers[0]
    assert layer.convs == wanted
    assert (layer.join.inner if layer.join else 0) == kind.adds
    assert layer.ends.output == block.output(shape)
    assert len(unit.stages) == len(wanted) and unit.chain == layer.chain
    for j, conv in enumerate(wanted):
        groups = conv.in_channels if conv.depthwise else 1
        shape_of = (conv.channels, conv.in_channels // groups, *conv.kernel)
        assert tuple(unit.conv(j).weight.shape) == shape_of


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"kind": "residul"}, "unknown kind of block 'residul'"),
        ({"kind": "inverted"}, "wide: at least 1 for kind inverted; got 0"),
        ({"wide": 3}, "wide: 0 for kind conv; got 3"),
        ({"kind": "linear", "stride": 2}, "stride: 1 for kind linear; got 2"),
        ({"kind": "inverted", "wide": 4, "stride": 2}, "stride: 1 for kind inverted; got 2"),
        ({"kernel": 4}, "kernel must be odd"),
    ],
)
def test_settings_that_do_not_go_with_a_kind_are_named(said: dict[str, object], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"channels": 4} | said, Block)


@pytest.mark.slow
def test_a_package_adds_a_kind_in_one_file_and_one_line(tmp_path: Path) -> None:
    """Trained, exported, and replayed where the package is not: formats see convolutions alone."""
    (tmp_path / "net.toml").write_text(NET)
    run, out = tmp_path / "run", tmp_path / "bundle"
    unknown = dfedge(PLAIN, "train", "--net", tmp_path / "net.toml", "--out", run)
    assert unknown.returncode == 1 and "unknown kind of block 'cross'" in unknown.stderr
    env = install(tmp_path, OUTSIDE, GROUP, "outside:KIND", "cross")
    made = together(
        env,
        ("train", "--data", "digits", "--net", tmp_path / "net.toml", "--qat", "--out", run),
        ("export", run, "--out", out, "--rule", "df-o", "--no-trial", "--batch", 4,
         "--format", "onnx", "--format", "c"),
    )  # fmt: skip
    for done in made:
        assert done.returncode == 0, done.stderr
    # a bundle holds convolutions, so a device need not know the package
    found = dfedge(PLAIN, "verify", out, "--steps", 20, "--json")
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["identical"] and {"onnx", "native"} <= said["runtimes"].keys()
