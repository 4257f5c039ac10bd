"""Ctrl-C and SIGTERM: a command stops soon, keeps what it can, and says so in one line."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dfedge.bundle import Bundle
from dfedge.device.session import Session
from dfedge.device.store import Store
from dfedge.learn.run import Run

NUMBERS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])

HELD = """
import sys
def held(function, call):
    count = 0
    def called(*args):
        nonlocal count
        count += 1
        if count == call:
            print("here", flush=True)
            sys.stdin.readline()
        return function(*args)
    return called
"""
"""``held(function, n)`` waits for a line before the n-th call of a function."""
FINETUNE = """
from dfedge.device import finetune
finetune._one_step = held(finetune._one_step, 41)
"""
TRAIN = """
from dfedge.learn.trainer import Trainer
Trainer.epoch = held(Trainer.epoch, 3)
"""
PREDICT = """
from dfedge.data import files
files.read_inputs = held(files.read_inputs, 1)
"""
LAST_STEP = FINETUNE.replace("41", "96")
TWICE = FINETUNE + "finetune._one_step = held(finetune._one_step, 41)\n"


def signalled(
    hook: str, args: list[object], number: signal.Signals, times: int = 1
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that is sent a signal where the hook holds it."""
    code = f"{HELD}{hook}\nfrom dfedge.cli.app import main\nmain()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        for _ in range(times):
            assert process.stdout.readline() == "here\n"
            process.send_signal(number)
            with suppress(BrokenPipeError):  # most commands have ended
                os.write(process.stdin.fileno(), b"\n")
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def finished(args: list[object]) -> None:
    command = [sys.executable, "-m", "dfedge", *map(str, args)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)


def finetune(bundle: Bundle, folder: Path, *options: object) -> list[object]:
    return ["finetune", bundle.folder, "--data", "digits", "--steps", 96, "--runtime", "native",
            "--state", folder, *options]  # fmt: skip


@NUMBERS
@pytest.mark.parametrize("options", [(), ("--no-guard", "--save-every", 0)], ids=["guard", "plain"])
def test_finetune_saves_and_goes_on_to_the_same_state(
    number: signal.Signals, options: tuple[object, ...], bundle: Bundle, tmp_path: Path
) -> None:
    args = finetune(bundle, tmp_path / "cut", *options)
    code, _, err = signalled(FINETUNE, args, number)
    assert code == 128 + number, err
    assert err.count("\n") == 1 and "repeat the command to go on" in err, err
    stored = Store(tmp_path / "cut", read_only=True).load(bundle)
    assert stored is not None
    assert f"saved in {tmp_path / 'cut'} ({stored.record.samples:,} presentations in all)" in err
    assert stored.record.samples == (41 * 16 if options else 512)
    finished(args)
    finished(finetune(bundle, tmp_path / "whole", *options))
    initial = Session.open(bundle, "native", tmp_path / "none")
    found = [Session.open(bundle, "native", tmp_path / name) for name in ("cut", "whole")]
    assert found[0].digest() == found[1].digest() != initial.digest()


def test_finetune_that_the_guard_never_judged_says_that_nothing_is_saved(
    bundle: Bundle, tmp_path: Path
) -> None:
    hook = FINETUNE.replace("41", "3")
    code, _, err = signalled(hook, finetune(bundle, tmp_path / "s"), signal.SIGTERM)
    assert code == 143 and err.count("\n") == 1
    assert f"{tmp_path / 's'} is unchanged" in err
    assert Store(tmp_path / "s", read_only=True).load(bundle) is None


def test_a_signal_in_the_last_step_changes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    code, out, err = signalled(LAST_STEP, finetune(bundle, tmp_path / "s"), signal.SIGTERM)
    assert (code, err) == (0, "")
    assert "learned 1,536 presentations" in out


def test_the_second_signal_ends_at_once(bundle: Bundle, tmp_path: Path) -> None:
    code, _, err = signalled(TWICE, finetune(bundle, tmp_path / "s"), signal.SIGTERM, times=2)
    assert code == 143
    assert err == "error: ended by SIGTERM; repeat the command to go on\n"


@NUMBERS
def test_train_keeps_every_finished_epoch(number: signal.Signals, tmp_path: Path) -> None:
    args = ["train", "--data", "digits", "--epochs", 4, "--samples", 256, "--quiet",
            "--out", tmp_path / "run"]  # fmt: skip
    code, _, err = signalled(TRAIN, args, number)
    assert code == 128 + number, err
    assert err.count("\n") == 1 and f"{tmp_path / 'run'} keeps every finished epoch; repeat" in err
    run = Run.open(tmp_path / "run")
    loaded = run.load_checkpoint(run.plan.make_net())
    assert loaded is not None and loaded[0]["float"] == 2
    finished(args)
    assert [row["epoch"] for row in run.metrics() if "epoch" in row] == [1, 2, 3, 4]


@NUMBERS
def test_a_command_that_saves_nothing_ends_with_one_line(
    number: signal.Signals, bundle: Bundle, tmp_path: Path
) -> None:
    args = ["predict", bundle.folder, "x.npz", "--state", tmp_path / "s", "--runtime", "native"]
    code, _, err = signalled(PREDICT, args, number)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}[number]
    assert (code, err) == (128 + number, f"error: {word}; repeat the command to go on\n")
    assert not (tmp_path / "s").exists()
