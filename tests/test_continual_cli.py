"""The commands continual and add-class, as processes of their own."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from dfedge.bundle import Bundle
from dfedge.cli.watch import spark, view
from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.data.sources import load
from dfedge.data.streams import StreamSource
from dfedge.device.session import Session

DRIFT = ["--data", "digits", "--stream", "drift:samples=400,experiences=2,test=40"]
PLAIN = ["--strategy", "none"]


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "dfedge", *map(str, args)]


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("number", "more"), [(signal.SIGINT, []), (signal.SIGTERM, PLAIN)], ids=["INT", "TERM"]
)
def test_stopped_command_says_so_and_goes_on_to_the_same_bytes(
    number: signal.Signals, more: list[str], bundle: Bundle, tmp_path: Path
) -> None:
    args = ["continual", bundle.folder, *DRIFT, *more, "--passes", 8, "--runtime", "onnx", "--json"]
    whole = run(*args, "--state", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    folder = tmp_path / "cut"
    process = subprocess.Popen(
        command(*args, "--state", folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (folder / "continual.safetensors").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number, err
    assert err.count("error:") == 1 and f"saved in {folder}" in err
    assert "; repeat the command to go on" in err
    rest = json.loads(run(*args, "--state", folder).stdout)
    found = json.loads(whole.stdout)
    assert rest["resumed"] > 0
    assert rest["samples"] == found["samples"] == 3200
    for name in ("state_sha256", "accuracy_matrix", "test_then_train", "steps"):
        assert rest[name] == found[name], name
    assert Path(rest["report"]).read_text().startswith("<!doctype html>")


def test_result_has_the_promised_fields_and_people_get_tables(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    args = ["continual", bundle.folder, *DRIFT, "--strategy", "reservoir", "--budget", 4096]
    found = dfedge(*args, "--state", tmp_path / "a", "--json").json
    assert {
        "accuracy_matrix", "average_accuracy", "forgetting", "backward_transfer", "replay_bytes",
        "state_bytes", "ms_per_step", "runtime", "state_sha256", "report",
    } <= found.keys()  # fmt: skip
    assert 0 < found["replay_bytes"] <= 4096 + 4 * 10
    text = dfedge(*args, "--state", tmp_path / "b").out
    assert "average accuracy at the end" in text
    assert "report.html" in text


def test_view_shows_every_experience_and_the_bytes(bundle: Bundle, tmp_path: Path) -> None:
    settings = StreamSettings(
        "drift:rotate=0,samples=64,experiences=2,test=20", "digits", "reservoir", 700, guard=8
    )
    session = Session.open(bundle, "onnx", tmp_path)
    learning = StreamRun(session, settings.make_stream(StreamSource("digits")), settings)
    console = Console(width=120, record=True, file=io.StringIO())
    for moment in learning.moments():
        console.print(view(learning, moment))
    last = console.export_text().split("drift:rotate=0")[-1]
    for shown in ("50%", "100%", "64 of 64 samples, 4 steps", "ms a step", "replay ",
                  "guard ", " rollbacks"):  # fmt: skip
        assert shown in last, shown
    assert re.search(r"state [\d.]+ KiB, replay \d+ B, guard", last)
    assert spark([0.0, 0.5, 1.0]) == "▁▅█"


def test_preset_starts_anew_each_time(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    """Its bundle is there already: what is trained and exported the first time is not again."""
    home = tmp_path / "digits"
    home.mkdir()
    (home / "bundle-onnx").symlink_to(bundle.folder.resolve())
    args = ["continual", "--preset", "digits", "--passes", 1, "--out", tmp_path, "--json"]
    found = [dfedge(*args).json for _ in range(2)]
    assert found[0]["state_sha256"] == found[1]["state_sha256"]
    assert found[0]["accuracy_matrix"] == found[1]["accuracy_matrix"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "give either a BUNDLE or --preset NAME"),
        (["BUNDLE"], 2, "a BUNDLE needs --data NAME"),
        (["BUNDLE", *DRIFT, "--out", "here"], 2, "--out is for --preset; of a BUNDLE --state"),
        (["--preset", "dreams"], 2, "unknown preset 'dreams'; known: camera, classes, digits"),
        (["BUNDLE", "--data", "digits", "--stream", "tilt"], 2, "unknown stream 'tilt'"),
        (["BUNDLE", *DRIFT, "--strategy", "reservoir", "--budget", 3], 1, "holds no sample"),
        (
            ["BUNDLE", "--data", "digits", "--stream", "class-incremental"],
            1,
            "has 0 spare row(s); export it with --spare-classes 10",
        ),
    ],
)
def test_bad_input_is_one_clear_error_and_writes_nothing(
    args: list[object], code: int, message: str, dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    given = [bundle.folder if one == "BUNDLE" else one for one in args]
    out = () if "BUNDLE" in args else ("--out", tmp_path / "out")
    done = dfedge("continual", *given, "--state", tmp_path / "state", *out)
    assert done.code == code
    assert message in " ".join(done.err.split())
    assert not any(tmp_path.iterdir())


def test_class_is_added_from_images_and_predicted(spare_bundle: Bundle, tmp_path: Path) -> None:
    """The class is 'checks': digits with every other row blanked and inverted."""
    digits, folder = load("digits").splits["test"], tmp_path / "checks"
    folder.mkdir()
    made = digits.x[:14, ..., 0].copy()
    made[:, ::2] = 255 - made[:, ::2]
    for i, image in enumerate(made):
        Image.fromarray(image).save((folder if i < 10 else tmp_path) / f"{i}.png")
    state = ["--state", tmp_path / "state"]
    args = ["add-class", spare_bundle.folder, "checks", "--samples", folder, *state, "--json"]
    added = json.loads(run(*args).stdout)
    assert (added["row"], added["samples"], added["spare_rows"]) == (10, 10, 9)
    tests = [tmp_path / f"{i}.png" for i in range(10, 14)]
    answers = json.loads(run("predict", spare_bundle.folder, *tests, *state, "--json").stdout)
    assert [a["class"] for a in answers["predictions"]] == ["checks"] * 4
    before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    again = run(*args)
    assert again.returncode == 1
    assert "class 'checks': is there already" in again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()} == before


def test_no_spare_row_is_told_with_the_remedy(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 8, 8), np.uint8))
    args = ["--samples", tmp_path / "x.npz", "--state", tmp_path / "state"]
    done = dfedge("add-class", bundle.folder, "new", *args)
    assert done.code == 1
    assert "export it with --spare-classes 1 or more" in " ".join(done.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
