"""Names that are one on one system and two on another: of a bundle's files, and of classes."""

from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from dfedge.bundle import Bundle
from dfedge.continual.rows import LabelRows, check_names
from dfedge.data.dataset import Split
from dfedge.data.files import load_path
from dfedge.data.inputs.image import ImageRule
from dfedge.data.streams import Stream, StreamSource, parse_stream
from dfedge.data.streams.stream import Experience
from dfedge.device.classes import add_class
from dfedge.device.session import Session
from dfedge.integrity.folder import check_folder, check_name

RULE = ImageRule(8, 8, 1)


@pytest.mark.parametrize(
    "name",
    ["con", "NUL.json", "a/aux", "com1.txt/x", "lpt9", "COM\u00b9", "trail.", "trail /x", "x/. ",
     "cafe\u0301"],
)  # fmt: skip
def test_a_name_that_another_system_reads_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    refused(lambda: check_name(name, tmp_path))


@pytest.mark.parametrize("twin", ["State.safetensors", "ONNX/x", "onnx/INFER_B1.onnx"])
def test_two_names_that_are_one_file_elsewhere_are_refused(twin: str, tmp_path: Path) -> None:
    files = {"state.safetensors": (1, ""), "onnx/infer_b1.onnx": (1, ""), twin: (1, "")}
    assert "are one file" in refused(
        lambda: check_folder(tmp_path, files, frozenset(), "export again")
    )
    good = {"console": (1, ""), "null/com10": (1, ""), "a.b": (1, "")}
    assert "missing" in refused(lambda: check_folder(tmp_path, good, frozenset(), "export again"))


def over_time(folder: Path) -> Stream:
    return parse_stream("folder:experiences=1,held_out=2").make(StreamSource(str(folder)), 0)


def test_class_folders_are_one_in_either_spelling(tmp_path: Path) -> None:
    """macOS hands out names decomposed, Linux as they were given."""
    composed, apart = "caf\u00e9", "cafe\u0301"
    for name in (apart, "tea"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8), 9).save(tmp_path / name / "1.png")
    assert load_path(tmp_path, RULE, None).classes == (composed, "tea")
    assert load_path(tmp_path, RULE, ("tea", composed)).splits["all"].y.tolist() == [1, 0]
    assert load_path(tmp_path, RULE, ("tea", apart)).classes == ("tea", apart)
    assert over_time(tmp_path).classes == (composed, "tea")
    (tmp_path / composed).mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / composed / "1.png")
    assert "one name" in refused(lambda: load_path(tmp_path, RULE, None))
    assert "one name" in refused(lambda: over_time(tmp_path))


@pytest.mark.parametrize("names", [["a", "a"], ["caf\u00e9", "cafe\u0301"], ["a", ""], ["x" * 300]])
def test_class_names_of_a_file_are_each_one(names: list[str], tmp_path: Path) -> None:
    x, y = np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64)
    np.savez(tmp_path / "x.npz", x=x, y=y, classes=np.array(names))
    assert "classes" in refused(lambda: load_path(tmp_path / "x.npz", None, None))


def test_a_new_class_is_no_twin_of_a_known_one(spare_bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(spare_bundle, "native", tmp_path / "state")
    images = np.zeros((2, 8, 8), np.uint8)
    add_class(session, "cafe\u0301", images)
    assert session.classes[-1] == "caf\u00e9"
    for name in ("caf\u00e9", "cafe\u0301", "", "x" * 300):
        refused(lambda: add_class(session, name, images))  # noqa: B023
    session.learn(images[0], "cafe\u0301")


def test_a_stream_finds_the_row_of_a_class_in_either_spelling(
    spare_bundle: Bundle, tmp_path: Path
) -> None:
    session = Session.open(spare_bundle, "native", tmp_path / "state")
    images = np.zeros((4, 8, 8, 1), np.uint8)
    row = add_class(session, "cafe\u0301", images)
    split = Split(images, np.zeros(4, np.int64))
    stream = Stream(("cafe\u0301",), (Experience("one", split, split),))
    check_names(session, stream)
    assert LabelRows(session, stream).of(split.y).tolist() == [row] * 4
