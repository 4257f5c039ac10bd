"""At what size images are read, which part of them, and how the data are cut."""

import json
from pathlib import Path

import foreign_nets
import numpy as np
import pytest
import torch
from PIL import Image
from test_adopt import weights  # noqa: F401

from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import normalised
from dfedge.data.files import open_path
from dfedge.data.inputs.image import ImageRule
from dfedge.data.order import by_class
from dfedge.data.sources import load


def stripes(width: int, height: int) -> Image.Image:
    """Left third dark, middle bright, right third grey."""
    x = np.full((height, width), 90, np.uint8)
    x[:, : width // 3], x[:, width // 3 : 2 * width // 3] = 10, 250
    return Image.fromarray(x)


@pytest.mark.parametrize(
    ("fit", "left", "middle"), [("crop", 250, 250), ("squash", 10, 250), ("pad", 10, 250)]
)
def test_the_rule_says_which_part_of_an_image_is_read(
    fit: str, left: int, middle: int, tmp_path: Path
) -> None:
    stripes(60, 20).save(tmp_path / "a.png")
    found = ImageRule(10, 10, 1, fit).read(tmp_path / "a.png")[0, ..., 0]
    assert found.shape == (10, 10)
    assert abs(int(found[5, 0]) - left) <= 30  # the kernel sees a little beyond the edge
    assert found[5, 5] == middle
    if fit == "pad":
        assert not found[0].any() and not found[-1].any()
        assert found[5].any()


def test_an_array_is_fitted_as_a_file_is(tmp_path: Path) -> None:
    stripes(60, 20).save(tmp_path / "a.png")
    for fit in ("crop", "pad", "squash"):
        rule = ImageRule(10, 12, 3, fit)
        array = rule.apply(np.asarray(Image.open(tmp_path / "a.png"))[None], "x")[0]
        assert np.array_equal(array, rule.read(tmp_path / "a.png")[0])


def photos(place: Path, count: int = 40, side: int = 12) -> Path:
    """Digits of two classes as pictures, larger than a net of 8 x 8 reads them."""
    split = load("digits").cut(0).split("train")[1]
    for label in (0, 1):
        folder = place / f"digit {label}"
        folder.mkdir(parents=True)
        for i, one in enumerate(split.x[split.y == label][:count]):
            Image.fromarray(one[..., 0]).resize((side, side), 2).save(folder / f"{i:03}.png")
    return place


def test_what_is_asked_for_is_kept_in_run_and_bundle(dfedge, tmp_path: Path) -> None:
    data, run, out = photos(tmp_path / "d"), tmp_path / "run", tmp_path / "bundle"
    trained = dfedge("train", "--data", data, "--image", "16x8", "--fit", "pad", "--epochs", 1,
                     "--net", "digits", "--out", run)  # fmt: skip
    assert trained.code == 0, trained.err
    assert dfedge("calibrate", run).code == 0
    assert dfedge("export", run, "--format", "onnx", "--out", out).code == 0
    for kept in (json.loads((run / "run.json").read_text()),
                 json.loads((out / "manifest.json").read_text())):  # fmt: skip
        assert kept["input"] == {
            "kind": "image",
            "height": 16,
            "width": 8,
            "channels": 1,
            "fit": "pad",
        }
        assert kept["cut"]["samples"] == 80


def test_the_test_split_of_the_data_that_were_trained_on_is_meant(dfedge, tmp_path: Path) -> None:
    data, run, out = photos(tmp_path / "d"), tmp_path / "run", tmp_path / "bundle"
    assert dfedge("train", "--data", data, "--epochs", 1, "--net", "digits", "--qat",
                  "--qat-epochs", 1, "--out", run).code == 0  # fmt: skip
    assert dfedge("export", run, "--format", "onnx", "--out", out).code == 0

    def evaluated(*options: object) -> dict:
        found = dfedge("evaluate", out, "--data", data, "--json", *options)
        assert found.code == 0, found.err
        return json.loads(found.out)

    told = json.loads((out / "manifest.json").read_text())["test_accuracy"]
    for options in ((), ("--split", "test")):
        found = evaluated(*options)
        assert (found["split"], found["samples"]) == ("test", 16)
        assert found["accuracy"] == told
    assert evaluated("--split", "all")["samples"] == 80
    stripes(12, 12).save(data / "digit 0" / "later.png")  # other data now
    assert evaluated()["split"] == "all"
    found = dfedge("evaluate", out, "--data", data, "--split", "test")
    assert found.code == 2 and "split" in found.err
    found = dfedge("calibrate", run)
    assert (
        found.code == 1
        and "not the data of this run: other samples lie there now (80 then, 81 now)" in found.err
    )


def test_pictures_that_cannot_be_read_are_skipped_and_counted(dfedge, tmp_path: Path) -> None:
    data = photos(tmp_path / "d")
    (data / "digit 0" / "000.png").write_bytes(b"torn")
    common = ("--data", data, "--epochs", 1, "--net", "digits", "--out", tmp_path / "run")
    found = dfedge("train", *common)
    assert found.code == 1 and "000.png" in found.err and not (tmp_path / "run").exists()
    found = dfedge("train", *common, "--on-bad-sample", "skip")
    assert found.code == 0, found.err
    assert "note: skipped 1 samples: file" in found.err
    assert dfedge("calibrate", tmp_path / "run").code == 0
    out = tmp_path / "bundle"
    assert dfedge("export", tmp_path / "run", "--format", "onnx", "--out", out).code == 0


@pytest.mark.parametrize("image", ["0x8", "8x8x8", "wide", "9000x8"])
def test_a_size_that_is_none_is_refused(image: str, dfedge, tmp_path: Path) -> None:
    found = dfedge("train", "--data", "digits", "--image", image, "--out", tmp_path / "run")
    assert found.code == 2 and f"--image {image}: allowed: HEIGHTxWIDTH" in found.err


def test_the_nets_own_size_decides(dfedge, tmp_path: Path) -> None:
    """A function names no size; a file does; arrays are brought to it like pictures."""
    net = foreign_nets.small()
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(2, 1, 8, 8),)), file)
    data = photos(tmp_path / "d")
    (tmp_path / "names.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    common = ("--data", data, "--classes", tmp_path / "names.txt")
    found = dfedge("adopt", file, *common, "--out", tmp_path / "a")
    assert found.code == 0, found.err
    assert "note: pictures of 12 x 12 pixels are read as 8 x 8 (crop)" in found.err
    assert "note: no training sample of 8 of 10 classes (digit 2, digit 3" in found.err
    found = dfedge("adopt", file, *common, "--image", "12x12", "--out", tmp_path / "b")
    assert found.code == 2 and "was made for 8 x 8" in found.err
    large = load("digits").cut(0).splits["train"].x[:200].repeat(3, 1).repeat(3, 2)
    np.savez(tmp_path / "x.npz", x=large, y=load("digits").cut(0).splits["train"].y[:200])
    found = dfedge("adopt", file, "--data", tmp_path / "x.npz", "--out", tmp_path / "c")
    assert found.code == 0 and "images of 24 x 24 pixels are read as 8 x 8 (squash)" in found.err


def test_pictures_of_several_sizes_need_a_size_where_the_net_has_none(
    dfedge, tmp_path: Path
) -> None:
    data = photos(tmp_path / "d")
    stripes(40, 20).save(data / "digit 1" / "wide.png")
    common = ("foreign_nets:small", "--data", data, "--head", "new", "--out", tmp_path / "a")
    found = dfedge("adopt", *common)
    assert found.code == 2 and "give --image HxW, the size that the net was trained at" in found.err
    assert not (tmp_path / "a").exists()
    found = dfedge("adopt", *common, "--image", "8x8")
    assert found.code == 0, found.err


def test_pictures_are_read_when_they_are_taken(tmp_path: Path) -> None:
    data = photos(tmp_path / "d")
    catalogue = open_path(data).cut(0)
    (data / "digit 0" / "000.png").write_bytes(b"torn")
    part = catalogue.part("train")[1]
    whole = [i for i, file in enumerate(part.files) if file.name != "000.png"]
    assert len(part.take(np.array(whole[:5])).read(ImageRule(8, 8, 1))) == 5


def test_rounds_hold_every_class_as_early_as_it_can_be_had() -> None:
    y = np.array([0] * 50 + [1] * 3 + [2] * 20)
    order = by_class(y, 0)
    assert sorted(order.tolist()) == list(range(73))
    assert np.bincount(y[order[:9]]).tolist() == [3, 3, 3]
    assert np.bincount(y[order[:43]]).tolist() == [20, 3, 20]
    assert not np.array_equal(order, by_class(y, 1))


def test_channels_in_the_other_order_are_the_same_net(tmp_path: Path) -> None:
    """Of a net that sees blue first, with its mean in 0..255 as such nets have it."""
    graph = open_model("foreign_nets:coloured").graph((8, 8, 3))
    mean, std = (104.0, 117.0, 123.0), (1.0, 1.0, 1.0)
    x = torch.rand(4, 3, 8, 8)
    wanted = graph.result((255 * x - torch.tensor((123.0, 117.0, 104.0))[:, None, None]).flip(1))
    found = normalised(graph, mean, std, "bgr").result(x)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-2)
