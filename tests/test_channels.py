"""Images of any number of channels, in front or last: from an array into a program."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.data.files import read_inputs
from dfedge.data.inputs.image import ImageRule, seen_in
from dfedge.data.picture_shifts import blur, rotate
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters.write import ExportOptions, export
from dfedge.runtimes import NATIVE

RNG = np.random.default_rng(0)


def images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((9, 12), (9, 12, 1)),
        ((9, 12, 3), (9, 12, 3)),
        ((3, 9, 12), (9, 12, 3)),
        ((1, 9, 12), (9, 12, 1)),
        ((9, 12, 4), (9, 12, 4)),
        ((4, 9, 12), (9, 12, 4)),
        ((13, 64, 64), (64, 64, 13)),
        ((8, 8, 13), (8, 8, 13)),  # though the channels are the longer side
        ((13, 8, 8), (8, 8, 13)),
        ((8, 8, 8), (8, 8, 8)),
    ],
)
def test_the_axis_of_the_channels_is_found(shape: tuple, found: tuple, caplog) -> None:
    x = images(2, *shape)
    with caplog.at_level("INFO"):
        rule = ImageRule.suited(x)
    assert rule.shape == found
    turned = len(shape) == 3 and found != shape
    assert ("is read as [N, C, H, W]" in caplog.text) == turned
    codes = rule.apply(x, "x")
    assert np.array_equal(codes, np.moveaxis(x, 1, 3) if turned else x.reshape(2, *found))


def test_a_models_number_of_channels_decides_where_both_are_possible() -> None:
    x = images(2, 5, 32, 12)
    assert seen_in(x, "x").channels == 5
    assert seen_in(x, "x", 12).channels == 12
    assert np.array_equal(ImageRule(5, 32, 12).apply(x, "x"), x)
    assert np.array_equal(ImageRule(32, 12, 5).apply(x, "x"), np.moveaxis(x, 1, 3))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_every_channel_is_what_it_is_alone(channels: int, fit: str) -> None:
    """Two and four channels are no transparency."""
    x = images(2, 20, 30, channels)
    rule, alone = ImageRule(9, 8, channels, fit), ImageRule(9, 8, 1, fit)
    parts = [alone.apply(x[..., c], "x") for c in range(channels)]
    assert np.array_equal(rule.apply(x, "x"), np.concatenate(parts, 3))
    for change in (lambda one: rotate(one, 30), lambda one: blur(one, 1)):
        parts = [change(x[..., c : c + 1]) for c in range(channels)]
        assert np.array_equal(change(x), np.concatenate(parts, 3))


def test_what_has_other_channels_is_refused(tmp_path: Path) -> None:
    rule = ImageRule(8, 8, 4)
    for channels in (1, 2, 3, 5):
        with pytest.raises(DfedgeError, match=f"images of {channels} channels.*N, 8, 8, 4"):
            rule.apply(images(2, 8, 8, channels), "x")
    Image.fromarray(images(8, 8, 4)).save(tmp_path / "a.png")
    with pytest.raises(DfedgeError, match=r"a picture has 1 channel .* the model reads 4; give an"):
        rule.read(tmp_path / "a.png")
    assert ImageRule(8, 8, 3).read(tmp_path / "a.png").shape == (1, 8, 8, 3)


def bands() -> nn.Module:
    """Four channels, whose third and fourth tell two classes apart."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def test_a_net_of_four_channels_learns_on_the_device(tmp_path: Path) -> None:
    y = np.arange(80) % 2
    x = images(80, 4, 9, 12) // 2
    x[np.arange(80), 2 + y] += 100
    np.savez(tmp_path / "x.npz", x=x, y=y, classes=["low", "high"])
    found = adopt(
        AdoptOptions("test_channels:bands", str(tmp_path / "x.npz"), head="new", keep=False),
        tmp_path / "run",
    )
    assert (found.run.plan.input.shape, found.accuracy) == ((9, 12, 4), 1)
    bundle = export(found.run, ExportOptions(("c",)), tmp_path / "bundle")
    assert "its 4 channels" in (bundle.folder / "c/net.h").read_text()
    session = Session.open(bundle, NATIVE, tmp_path / "state")
    np.save(tmp_path / "x.npy", np.moveaxis(x, 1, 3))
    read = read_inputs(tmp_path / "x.npy", session.bundle.manifest.input)
    assert [session.predict(one).label for _, one in read] == y.tolist()
    session.learn_batch(x, 1 - y)
    assert session.record.samples - session.record.replayed == 80
