"""Odd paths: each is refused with one line, and none keeps its reader waiting."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import refused

from dfedge import configs, state
from dfedge.adoption.load import load_graph
from dfedge.atomic import new_folder
from dfedge.bundle import Bundle
from dfedge.continual import checkpoint
from dfedge.data.files import load_path, read_inputs
from dfedge.data.inputs.image import ImageRule
from dfedge.data.locate import read as read_located
from dfedge.data.mat import read_arrays
from dfedge.data.streams import StreamSource, parse_stream
from dfedge.data.wav import read_wav
from dfedge.device.session import Session
from dfedge.device.store import Store, transfer
from dfedge.disk import DISK
from dfedge.fleet.files import read_deltas
from dfedge.integrity import signature
from dfedge.integrity.folder import check_folder
from dfedge.learn import kept
from dfedge.learn.run import Run
from dfedge.manifest import MANIFEST
from dfedge.reproduce.table import load_results
from dfedge.reproduce.tables import fill_readme
from dfedge.target import Target, load_target

RULE = ImageRule(8, 8, 1)
DEEP = 1100
"""Levels of folders: more than Python's own depth of calls, less than a path may be long."""


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(bundle.folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def soon():
    """A call that waits for a writer that never comes is ended."""

    def ended(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# -- what is no regular file -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [MANIFEST, signature.SIGNATURE, "state.safetensors"])
def test_a_pipe_in_a_bundle_is_refused(name: str, copy: Path, tmp_path: Path, soon) -> None:
    key = signature.make_keys(tmp_path / "maker.pem") if name == signature.SIGNATURE else None
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    assert name in refused(lambda: Bundle.open(copy, key))


def over_time(folder: Path) -> object:
    settings = "folder:experiences=1,held_out=2"
    return parse_stream(settings).make(StreamSource(str(folder)), 0)


READERS: dict[str, Callable[[Path], object]] = {
    "key": lambda path: signature.check(path.parent, b"", path),  # type: ignore[func-returns-value]
    "state": state.read,
    "layout": state.layout,
    "image.png": RULE.read,
    "data.npz": lambda path: read_inputs(path, RULE),
    "named.npz": lambda path: load_path(path, RULE, None),
    "me.delta": lambda path: list(read_deltas([path])),
    "sound.wav": read_wav,
    "set.mat": lambda path: read_arrays(path, ("x",)),
    "set.bin": read_located,
    "set.gz": read_located,
    "target.toml": lambda path: load_target(str(path)),
    "any.toml": lambda path: configs.read(path, Target, "target"),
    "net.pt2": lambda path: load_graph(str(path), (8, 8, 1)),
    "net.onnx": lambda path: load_graph(str(path), (8, 8, 1)),
    "run.json": lambda path: Run.open(path.parent),
    "kept.safetensors": lambda path: kept.read(path.parent),
    "continual.safetensors": lambda path: checkpoint.load(path.parent),
    "a.json": load_results,
    "README.md": lambda path: fill_readme(path, path.parent),
}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_what_is_no_file(
    name: str, kind: str, tmp_path: Path, soon, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            monkeypatch.chdir(tmp_path)  # an address has 108 letters at most
            made.bind(name)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    refused(lambda: READERS[name](path))


@pytest.mark.parametrize("name", ["slot-a", "state.safetensors"])
def test_a_pipe_in_a_state_folder_is_refused(
    name: str, bundle: Bundle, tmp_path: Path, soon
) -> None:
    os.mkfifo(tmp_path / name)
    assert name in refused(lambda: Store(tmp_path, read_only=True).load(bundle))
    refused(lambda: transfer.read_file(bundle, tmp_path / name))


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "calibration.json", "metrics.jsonl"])
def test_a_pipe_in_a_run_folder_is_refused(
    name: str, run_folder: Path, tmp_path: Path, soon
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    run = Run.open(tmp_path / "run")
    read = {"checkpoint.safetensors": run.load_net, "calibration.json": run.calibration,
            "metrics.jsonl": run.metrics}  # fmt: skip
    assert name in refused(read[name])


@pytest.mark.parametrize("kind", ["pipe", "dangling"])
def test_an_image_of_a_folder_that_is_no_file_is_refused(kind: str, tmp_path: Path, soon) -> None:
    (tmp_path / "0").mkdir()
    for number in range(3):
        path = tmp_path / "0" / f"{number}.png"
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("nowhere")
    refused(lambda: load_path(tmp_path, RULE, None))
    refused(lambda: load_path(tmp_path, None, None))
    refused(lambda: over_time(tmp_path))


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "link.npz").symlink_to("x.npz")
    assert len(read_inputs(tmp_path / "link.npz", RULE)) == 2


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def deep(tmp_path: Path):
    """A place that is removed by a program that knows no depth."""
    yield tmp_path / "deep"
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def test_a_folder_of_any_depth_is_walked(bundle: Bundle, deep: Path) -> None:
    shutil.copytree(bundle.folder, deep)
    DISK.make_folder(deep.joinpath(*["d"] * DEEP))
    deep.joinpath(*["d"] * DEEP, "file").write_bytes(b"")
    assert "is not in its manifest" in refused(lambda: Bundle.open(deep))
    refused(lambda: check_folder(deep, {}, frozenset(), "remove it"))


def test_a_folder_of_any_depth_is_made(bundle: Bundle, deep: Path) -> None:
    below = deep.joinpath(*["d"] * DEEP)
    session = Session.open(bundle, "native", below / "state")
    session.save()
    assert Session.open(bundle, "native", below / "state").digest() == session.digest()
    with new_folder(below / "more" / "made") as made:
        (made / "file").write_bytes(b"")


@pytest.mark.parametrize("kind", ["dangling", "loop", "pipe"])
def test_what_is_no_folder_is_no_state_folder(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "state"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to({"dangling": "nowhere", "loop": "state"}[kind])
    assert "is not a state folder" in refused(lambda: Session.open(bundle, "native", place))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


# -- names that no system takes --------------------------------------------------------------------


def test_the_longest_name_of_a_bundle_leaves_none_for_its_state(
    bundle: Bundle, tmp_path: Path
) -> None:
    longest = tmp_path / ("b" * 252)
    shutil.copytree(bundle.folder, longest)
    said = refused(lambda: Session.open(longest, "native"))
    assert "File name too long; choose another --state" in said
    assert Session.open(longest, "native", tmp_path / "state").predict(np.zeros((8, 8), np.uint8))


TOO_LONG = [
    ("predict", "{bundle}", "x.npz", "--state", "{long}"),
    ("predict", "{long}", "x.npz"),
    ("predict", "{bundle}", "{long}"),
    ("predict", "{bundle}", "x.npz", "--require-signature", "{long}"),
    ("state", "show", "{bundle}", "--state", "{long}"),
    ("state", "import", "{bundle}", "{long}", "--state", "{new}"),
    ("state", "reset", "{bundle}", "--yes", "--state", "{long}"),
    ("evaluate", "{bundle}", "--data", "{long}"),
    ("evaluate", "{bundle}", "--data", "{long}.npz"),
    ("continual", "{bundle}", "--data", "{long}", "--stream", "folder"),
    ("adopt", "{long}.onnx", "--data", "digits", "--out", "{new}"),
    ("export", "{run}", "--format", "onnx", "--out", "{long}"),
    ("export", "{long}", "--format", "onnx", "--out", "{new}"),
    ("fit", "{run}", "--target", "{long}.toml"),
    ("train", "--out", "{long}"),
]


@pytest.mark.parametrize("command", TOO_LONG, ids=" ".join)
def test_a_name_that_is_too_long_is_one_error_line(
    command: tuple[str, ...], bundle: Bundle, run_folder: Path, tmp_path: Path, dfedge
) -> None:
    places = {"bundle": bundle.folder, "run": run_folder, "long": tmp_path / ("x" * 300),
              "new": tmp_path / "new"}  # fmt: skip
    result = dfedge(*(word.format_map(places) for word in command))
    assert result.code in (1, 2, 3), result
    assert result.err.count("\n") == 1 and result.err.startswith("error: "), result.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_is_no_text_is_refused(name: str, bundle: Bundle, tmp_path: Path) -> None:
    refused(lambda: Bundle.open(tmp_path / name))
    refused(lambda: Session.open(bundle, "native", tmp_path / name))
    refused(lambda: load_path(tmp_path / name, RULE, None))
