"""Manners of the command line: other names, what is meant, how much is said, and hints."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from dfedge import configs
from dfedge.bundle import Bundle
from dfedge.cli import console
from dfedge.cli.app import app
from dfedge.cli.export import proposed
from dfedge.data.inputs.image import ImageRule
from dfedge.errors import unknown_name
from dfedge.learn.run import Run
from dfedge.quiet import hushed
from dfedge.runtimes import own_name, runtimes
from dfedge.target import load_target

ROOT = Path(__file__).parent.parent
COLUMNS = 80


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [("tflite", "litert"), ("ort", "onnx"), ("pte", "executorch"), ("c", "c"), ("x", "x")],
)
def test_a_runtime_has_other_names(said: str, meant: str) -> None:
    assert own_name(said) == meant


def test_no_two_runtimes_or_targets_share_a_name() -> None:
    named = [name for own, one in runtimes().items() for name in (own, *one.aliases)]
    assert len(named) == len(set(named))
    targets = configs.names("targets")
    named = [name for own in targets for name in (own, *load_target(own).aliases)]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(("said", "meant"), [("esp32", "esp32-s3"), ("pi5", "raspberry-pi-5")])
def test_a_target_has_other_names(said: str, meant: str, dfedge) -> None:
    shown = dfedge("targets", "show", said, "--json")
    assert shown.json == dfedge("targets", "show", meant, "--json").json


def test_a_format_may_be_called_by_another_name(mcu_run: Run, dfedge, tmp_path: Path) -> None:
    out = tmp_path / "b"
    args = ("--format", "c99", "--format", "c", "--target", "cortex-m4", "--batch", 1)
    made = dfedge("export", mcu_run.folder, *args, "--no-trial", "--out", out)
    assert made.code == 0, made.err
    manifest = Bundle.open(out).manifest
    assert list(manifest.formats) == ["c"] and manifest.target == "mps2-an386"


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (("trian",), "'train'"),
        (("train", "--dta", "digits", "--out", "x"), "'--data'"),
        (("train", "--rule", "dfo", "--out", "x"), "'df-o'"),
        (("train", "--net", "minst", "--out", "x"), "'mnist'"),
        (("train", "--data", "digitz", "--out", "x"), "'digits'"),
        (("targets", "show", "stm32f74"), "'stm32f746'"),
        (("reproduce", "al"), "'all'"),
    ],
)
def test_what_is_meant_is_named(args: tuple[str, ...], meant: str, dfedge, tmp_path: Path) -> None:
    found = dfedge(*(tmp_path / "x" if one == "x" else one for one in args))
    assert found.code == 2 and f"did you mean {meant}?" in found.err.lower(), found.err
    assert not (tmp_path / "x").exists()


def test_nothing_is_meant_where_nothing_is_alike() -> None:
    assert str(unknown_name("rule", "x", ["df", "bp"])) == "unknown rule 'x'; known: bp, df"


# -- how much is said ----------------------------------------------------------------------------


def test_every_command_takes_quiet_and_verbose() -> None:
    def every(group):
        for command in group.commands.values():
            yield from every(command) if hasattr(command, "commands") else [command]

    for command in every(typer.main.get_command(app)):
        told = {name for one in command.params for name in one.opts}
        assert {"--quiet", "-q", "--verbose", "-v"} <= told, command.name


def test_quiet_prints_results_alone(small: Bundle, dfedge, tmp_path: Path) -> None:
    args = ("finetune", small.folder, "--data", "digits", "--samples", 32, "--state")
    told, quiet = dfedge(*args, tmp_path / "a"), dfedge(*args, tmp_path / "b", "--quiet")
    assert "next:" in told.out and "next:" not in quiet.out
    assert "learned 32 presentations" in quiet.out and quiet.err == ""
    assert "next:" in dfedge(*args, tmp_path / "c").out  # one command's wish is not another's


def test_verbose_tells_every_method(mcu_run: Run, dfedge, tmp_path: Path) -> None:
    args = ("export", mcu_run.folder, "--format", "c", "--no-trial", "--batch", 1)
    told = dfedge(*args, "--out", tmp_path / "a").out
    whole = dfedge(*args, "--out", tmp_path / "b", "--verbose").out
    assert "train_b1" in told and "features_b1" not in told
    assert "features_b1" in whole


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with console.progress() as watch:
        for done in range(13):
            watch("learn", done, 12_000)
            now[0] += 1.0
    assert capfd.readouterr().err.splitlines() == [
        "learn: 5 of 12,000 (5 s)", "learn: 10 of 12,000 (10 s)",
    ]  # fmt: skip


def test_training_tells_its_data_first_and_every_epoch(dfedge, tmp_path: Path) -> None:
    args = ("train", "--data", "digits", "--epochs", 2, "--samples", 128, "--out", tmp_path / "r")
    lines = dfedge(*args).err.splitlines()
    assert re.match(r"digits: 1,000 train, .* samples of 8 x 8 x 1, 10 classes; net", lines[0])
    epochs = [line for line in lines if re.search(r"epoch \d of 2: loss [\d.]+, [\d.]+ %", line)]
    assert len(epochs) == 2


# -- hints ---------------------------------------------------------------------------------------


def test_nobody_is_told_to_turn_photos(dfedge, tmp_path: Path) -> None:
    """What is proposed follows from the data: a folder's owner has new samples."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    run, out = tmp_path / "run", tmp_path / "bundle"
    net = Path(__file__).parent.parent / "examples" / "mcu_net.toml"
    args = ("--net", net, "--qat", "--epochs", 1, "--qat-epochs", 1, "--validation", 0)
    made = dfedge("train", "--data", tmp_path / "photos", *args, "--out", run)
    assert made.code == 0, made.err
    told = dfedge("export", run, "--format", "c", "--no-trial", "--out", out)
    assert told.code == 0, told.err
    assert f"next: dfedge finetune {out} --data NEW-SAMPLES\n" in told.out


def test_a_named_set_is_changed_as_its_samples_may(small: Bundle) -> None:
    assert proposed(small.manifest) == ("digits", " --shift rotate:90")
    assert "rotate" not in ImageRule(32, 32, 3).proposed


# -- what a newcomer gets wrong -------------------------------------------------------------------


def test_a_run_in_the_place_of_a_bundle_is_told_how_to_become_one(mcu_run: Run, dfedge) -> None:
    told = dfedge("show", mcu_run.folder)
    assert told.code == 1
    assert "is a RUN and not a bundle" in told.err
    assert f"dfedge export {mcu_run.folder} --format onnx --out BUNDLE" in told.err


@pytest.mark.parametrize(
    ("name", "told"),
    [("net.pth", "weights without the code of their net; write a function"),
     ("net.h5", "a Keras model; convert it to .tflite or .onnx")],
)  # fmt: skip
def test_a_file_that_holds_no_net_is_told_what_to_do(
    name: str, told: str, dfedge, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    found = dfedge("adopt", tmp_path / name, "--check")
    assert found.code == 2 and told in found.err


def test_what_is_no_image_is_told_without_the_names_of_libraries(
    small: Bundle, dfedge, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("hello")
    told = dfedge("predict", small.folder, tmp_path / "a.png").err
    assert "cannot be read as an image (neither PNG, JPEG" in told and "_io" not in told


def test_a_folder_is_not_ignored_where_it_means_nothing(small: Bundle, dfedge) -> None:
    told = dfedge("continual", small.folder, "--data", "digits", "--out", "x")
    assert told.code == 2 and "--state and --report name the places" in told.err


def test_a_budget_is_not_ignored_where_it_means_nothing(small: Bundle, dfedge) -> None:
    told = dfedge("profile", small.folder, "--budget", "64KB")
    assert told.code == 2 and "compared with --target" in told.err


def test_of_two_formats_that_hold_the_same_the_smaller_is_proposed(mcu_run: Run, dfedge) -> None:
    told = dfedge("fit", mcu_run.folder, "--target", "stm32h743", "--json").json
    assert told["executorch"]["batch"] == told["c"]["batch"]
    assert "--format c " in dfedge("fit", mcu_run.folder, "--target", "stm32h743").out


def test_too_few_samples_held_out_are_told_by_export_and_predict(dfedge, tmp_path: Path) -> None:
    run, out, net = tmp_path / "r", tmp_path / "b", ROOT / "examples" / "mcu_net.toml"
    few = ("--samples", 60, "--epochs", 1, "--qat-epochs", 1)
    assert dfedge("train", "--net", net, "--qat", *few, "--out", run).code == 0
    told = dfedge("export", run, "--format", "c", "--out", out).out
    assert "not tried, for 6 samples were held out of training and 16 are needed" in told
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    assert "confidence is not known: it takes 32 samples" in dfedge("predict", out, image).out


# -- room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [("targets", "list"), ("targets", "show", "rp2350"), ("show", "{bundle}"), ("doctor",),
     ("profile", "{bundle}", "--runtime", "native", "--calls", "1", "--no-rivals"),
     ("continual", "{bundle}", "--data", "digits", "--stream", "drift:samples=48"),
     ("predict", "{bundle}", "{image}", "--top", "3")],
)  # fmt: skip
def test_tables_fit_a_terminal_of_80_columns(
    args: tuple[str, ...], small: Bundle, dfedge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    words = [one.format(bundle=small.folder, image=image) for one in args]
    extra = ("--state", tmp_path / "s") if args[0] == "continual" else ()
    told = dfedge(*words, *extra)
    assert told.code == 0, told.err
    lines = [line for line in told.out.splitlines() if line and line[0] in "┃│└┏┡├┗╇"]
    assert lines and max(map(len, lines)) <= COLUMNS
    cells = [cell.strip() for line in lines for cell in re.split("[│┃]", line)]
    assert not [cell for cell in cells if re.fullmatch(r"%|[KMG]iB|\d %|B", cell)], told.out


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_table_folds_what_a_wide_one_shows(
    columns: int, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = []
    for width in (columns, 300):
        monkeypatch.setattr(console.out, "width", width)
        told = dfedge("targets", "list")
        lines = [line for line in told.out.splitlines() if line and line[0] in "┃│└┏┡├┗╇"]
        assert max(map(len, lines)) <= width
        letters.append(sorted(re.sub(r"[\W_]", "", "".join(lines))))
    assert letters[0] == letters[1]


# -- interrupted ---------------------------------------------------------------------------------

WAITING = """
import sys, time
from dfedge.cli.app import main
from dfedge.exporters import c

def write(source, folder, watch):
    (folder / "half").write_text("x")
    print("half", flush=True)
    time.sleep(60)

c.write = write
sys.argv = ["dfedge", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(
    number: signal.Signals, mcu_run: Run, tmp_path: Path
) -> None:
    args = ["export", mcu_run.folder, "--format", "c", "--no-trial", "--out", tmp_path / "b"]
    work = subprocess.Popen(
        [sys.executable, "-c", WAITING, *map(str, args)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert work.stdout is not None and work.stdout.readline() == "half\n"
    work.send_signal(number)
    _, err = work.communicate(timeout=120)
    assert work.returncode == 128 + number
    assert err.splitlines()[-1].endswith(
        f"; {tmp_path / 'b'} is not written; repeat the command to go on"
    )
    assert list(tmp_path.iterdir()) == []


# -- libraries -----------------------------------------------------------------------------------


def test_a_library_that_talks_past_python_is_hushed(capfd: pytest.CaptureFixture[str]) -> None:
    with hushed():
        os.write(2, b"INFO: Created a delegate.\n")
    os.write(2, b"error: this is told\n")
    assert capfd.readouterr().err == "error: this is told\n"
    with pytest.raises(ValueError), hushed():
        raise ValueError
    os.write(2, b"and this\n")
    assert capfd.readouterr().err == "and this\n"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["litert", "executorch-stock", "onnx-stock"])
def test_a_runtime_tells_nothing_of_itself(runtime: str, bundle: Bundle) -> None:
    words = ["evaluate", str(bundle.folder), "--data", "digits", "--runtime", runtime, "--initial"]
    command = [sys.executable, "-m", "dfedge", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and "recognised" in done.stdout
