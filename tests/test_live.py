"""The command live: real processes that are fed through pipes, named pipes and terminals."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from motion import CHANNELS, T, wave

from dfedge.bundle import Bundle
from dfedge.data.live.lines import LONGEST, Splitter, lines
from dfedge.data.live.samples import BadLineError, LineReader, Sliding
from dfedge.device.session import Session
from dfedge.device.store import Store

LONG = 300
"""Seconds after which a process that says nothing has failed."""
HOP = T // 2
pytestmark = pytest.mark.timeout(LONG)


def told(x: np.ndarray, apart: str = ",") -> str:
    """Samples [L, C] as lines."""
    return "".join(apart.join(f"{v:.5f}" for v in row) + "\n" for row in x)


def live(bundle: Path, state: Path, *more: object) -> list[str]:
    args = ("live", bundle, "--state", state, "--runtime", "native", "--json", *more)
    return [sys.executable, "-m", "dfedge", *map(str, args)]


def fed(bundle: Path, state: Path, text: str, *more: object) -> tuple[int, list[dict], str]:
    """Exit code, events and stderr of a whole input."""
    command = live(bundle, state, "--source", "-", *more)
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=LONG, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@contextmanager
def running(command: list[str], **pipes: Any) -> Iterator[subprocess.Popen]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
    with subprocess.Popen(command, text=True, bufsize=1, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def event(process: subprocess.Popen) -> dict:
    """The next one, while the input is still open."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return json.loads(line)


def write(process: subprocess.Popen, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


# -- lines and windows -----------------------------------------------------------------------------


def test_a_line_without_an_end_is_never_kept() -> None:
    splitter, piece = Splitter(), b"1" * (1 << 16)
    for _ in range(100):
        assert list(splitter.feed(piece)) == []
        assert len(splitter._part) <= LONGEST
    assert list(splitter.feed(b"1\n2\n3")) == [None, "2"]
    assert list(splitter.last()) == ["3"]
    assert list(splitter.last()) == []


def test_lines_end_with_the_first_input_or_when_they_are_told_to() -> None:
    first, end = os.pipe()
    other, far = os.pipe()
    os.write(far, b"s\n")
    os.write(end, b"1\n\n2")
    os.close(end)
    assert sorted(lines(first, (other,))) == sorted([(first, "1"), (first, ""), (first, "2"),
                                                     (other, "s")])  # fmt: skip
    assert list(lines(other, stop=lambda: True)) == []
    for one in (first, other, far):
        os.close(one)


def test_windows_slide_as_recordings_are_cut() -> None:
    x = np.arange(40.0)[:, None]
    for hop in (1, 4, 8, 11):
        sliding = Sliding(8, 1, hop)
        found = [w[0, 0] for sample in x for w in sliding.add(sample)]
        assert found == list(range(0, 33, hop)), hop


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("1,2,3", [1, 2, 3]),
        ("1; 2 ;3;", [1, 2, 3]),
        ("  1\t2   3\r", [1, 2, 3]),
        ("1, 2 -3e1", [1, 2, -30]),
        ("1,,3", "word"),
        ("1,2", "count"),
        ("1,2,3,4", "count"),
        ("1,up,3", "word"),
        ("1,nan,3", "value"),
        ("1,2,1e999", "value"),
    ],
)
def test_a_line_is_a_sample_or_says_why_not(
    line: str, read: list | str, motion_bundle: Path
) -> None:
    rule = Bundle.open(motion_bundle).manifest.input
    if isinstance(read, list):
        assert LineReader(rule).read(line).tolist() == read
        return
    with pytest.raises(BadLineError) as refused:
        LineReader(rule).read(line)
    assert refused.value.flaw == read


def test_a_header_orders_the_columns_and_passes_over_others(motion_bundle: Path) -> None:
    samples = LineReader(Bundle.open(motion_bundle).manifest.input)
    assert not samples.header("1,2,3")
    assert not samples.header("ready")
    assert samples.header('time, "z",x,y,label')
    assert samples.read("10:00:00 h,3,1,2,walk").tolist() == [1, 2, 3]
    assert samples.header("x y z")
    assert samples.read("1 2 3").tolist() == [1, 2, 3]
    with pytest.raises(BadLineError, match="no column z; expected: x, y, z"):
        samples.header("x,y")


# -- the command -----------------------------------------------------------------------------------


def test_windows_are_answered_as_they_come_and_taught_by_a_line(
    motion_bundle: Path, tmp_path: Path
) -> None:
    x = wave("fast", T + HOP, 50)
    session = Session.open(motion_bundle, "native", initial=True)
    with running(live(motion_bundle, tmp_path / "s", "--source", "-")) as process:
        write(process, "l fast\n" + told(x[:T]))
        assert event(process)["refused"].startswith("no window yet: windows of 24 samples")
        first = event(process)
        wanted = session.predict(np.round(x[:T], 5))
        assert first == {"window": 1, "class": wanted.name, "label": wanted.label,
                         "score": wanted.score, "margin": wanted.margin,
                         "confidence": wanted.confidence, "unsure": wanted.unsure}  # fmt: skip
        write(process, told(x[T:], " "))
        assert event(process)["window"] == 2
        write(process, "l fast\ns\n")
        assert event(process) == {"taught": "fast", "window": 2}
        saved = event(process)
        assert Store(tmp_path / "s", read_only=True).load(Bundle.open(motion_bundle)) is not None
        assert saved["saved"] == 2
        write(process, "l slwo\n")
        assert event(process)["refused"] == (
            "unknown class 'slwo' (did you mean 'slow'?); known: fast, slow"
        )
        write(process, "l slow\n")
        event(process)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    after = Session.open(motion_bundle, "native", tmp_path / "s")
    assert after.record.samples == 4
    assert after.digest() != session.digest()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_saves_what_was_taught(
    number: signal.Signals, motion_bundle: Path, tmp_path: Path
) -> None:
    with running(live(motion_bundle, tmp_path / "s", "--source", "-")) as process:
        write(process, told(wave("slow", T, 1)) + "l slow\n")
        assert event(process)["window"] == 1
        assert event(process)["taught"] == "slow"
        process.send_signal(number)
        assert process.wait(LONG) == 128 + number  # its input is still open
        assert process.stderr is not None and process.stdout is not None
        err, rest = process.stderr.read(), [json.loads(line) for line in process.stdout]
    assert err.count("\n") == 1
    assert f"; 1 windows taught, saved in {tmp_path / 's'}; repeat the command" in err
    assert [next(iter(one)) for one in rest] == ["saved", "windows"]
    assert Session.open(motion_bundle, "native", tmp_path / "s").record.samples == 2


def test_a_signal_where_nothing_was_taught_writes_nothing(
    motion_bundle: Path, tmp_path: Path
) -> None:
    with running(live(motion_bundle, tmp_path / "s", "--source", "-")) as process:
        write(process, told(wave("slow", T, 1)))
        event(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert err == "error: ended by SIGTERM; nothing was taught; repeat the command to go on\n"
    assert not (tmp_path / "s").exists()


def test_bad_lines_are_counted_and_no_window_lies_across_one(
    motion_bundle: Path, tmp_path: Path
) -> None:
    x = wave("slow", 3 * T, 1)
    text = told(x[: T - 1]) + "1,2\n" + told(x[:T]) + "nan,1,2\n1,2\nx\n" + told(x[: T - 1])
    text += "5" * (2 * LONGEST) + "\n" + told(x)
    code, events, err = fed(motion_bundle, tmp_path / "s", text)
    assert code == 0
    answers = [one for one in events if "margin" in one]
    last = events[-1]
    assert [one["window"] for one in answers] == list(range(1, 7))
    assert answers[0] | {"window": 0} == answers[1] | {"window": 0}
    assert last["skipped"] == {"count": 2, "value": 1, "header": 1, "length": 1}
    refused = [one["refused"] for one in events if "refused" in one]
    assert len(refused) == 4  # one of each kind
    assert refused[0].startswith(f"line {T}: 2 values; expected: 3; correct the sender, or skip")
    assert "skipped 2 lines: count" in err
    assert not (tmp_path / "s").exists()
    stop = ("--on-bad-sample", "stop")
    code, events, err = fed(motion_bundle, tmp_path / "s", told(x) + "l slow\n1,2\n", *stop)
    assert (code, err.count("\n")) == (1, 1)
    assert f"line {3 * T + 2}: 2 values; expected: 3" in err
    assert events[-1]["saved"] == 2


def test_a_named_pipe_is_a_source_and_standard_input_teaches(
    motion_bundle: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    command = live(motion_bundle, tmp_path / "s", "--source", tmp_path / "fifo", "--hop", T)
    x = wave("fast", T, 3)
    with running(command) as process:
        with (tmp_path / "fifo").open("w") as far:
            far.write("time,z,y,x\n")
            far.writelines(f"{i},{z:.5f},{y:.5f},{x:.5f}\n" for i, (x, y, z) in enumerate(x))
            far.flush()
            answer = event(process)
            write(process, "l fast\nhello\n")
            assert event(process) == {"taught": "fast", "window": 1}
            assert event(process)["refused"] == "'hello' is not a command; known: l NAME, s"
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    wanted = Session.open(motion_bundle, "native", initial=True).predict(np.round(x, 5))
    assert (answer["class"], answer["score"]) == (wanted.name, wanted.score)


def settings(path: Path, room: str) -> dict[str, str]:
    """A part of a unit of systemd."""
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(path.read_text())
    return dict(parser[room])


def test_systemd_service_of_the_examples_learns_from_its_socket_and_saves_when_it_is_stopped(
    motion_bundle: Path, tmp_path: Path
) -> None:
    """Its own command line, over a named pipe in the place of the serial port."""
    units = Path(__file__).parent.parent / "examples" / "systemd"
    service = settings(units / "dfedge-live.service", "Service")
    assert service["StandardInput"] == "socket"
    assert "ListenFIFO" in settings(units / "dfedge-live.socket", "Socket")
    for name in ("sensor", "labels"):
        os.mkfifo(tmp_path / name)
    places = {"/opt/dfedge/bin/dfedge": f"{sys.executable} -m dfedge", "--baud 115200": "",
              "/var/lib/dfedge-live/bundle": str(motion_bundle),
              "/var/lib/dfedge-live/state": str(tmp_path / "s"),
              "/dev/ttyUSB0": str(tmp_path / "sensor")}  # fmt: skip
    command = service["ExecStart"]
    for place, here in places.items():
        assert place in command
        command = command.replace(place, here)
    with (
        (tmp_path / "labels").open("r+b", buffering=0) as labels,  # as systemd opens it
        running([*command.split(), "--runtime", "native"], stdin=labels) as process,
        (tmp_path / "sensor").open("w") as sensor,
    ):
        sensor.write(told(wave("slow", T, 1)))
        sensor.flush()
        assert event(process)["window"] == 1
        labels.write(b"l slow\n")
        assert event(process)["taught"] == "slow"
        process.terminate()
        assert str(process.wait(LONG)) in service["SuccessExitStatus"].split()
    assert Session.open(motion_bundle, "native", tmp_path / "s").record.samples == 2


def test_a_serial_port_is_read_raw_and_has_its_settings_back(
    motion_bundle: Path, tmp_path: Path
) -> None:
    termios = pytest.importorskip("termios")
    device, port = os.openpty()
    before = termios.tcgetattr(port)
    assert before[3] & termios.ECHO
    args = ("--source", os.ttyname(port), "--baud", 115200)
    with running(live(motion_bundle, tmp_path / "s", *args)) as process:
        sample = told(wave("fast", 1, 3)).strip()
        ended = threading.Event()

        def sensor() -> None:  # what came before the port was opened is lost
            while not ended.wait(0.02):
                os.write(device, f"{sample}\r\n".encode())

        sending = threading.Thread(target=sensor)
        sending.start()
        try:
            while "window" not in event(process):  # the first line may be cut
                pass
        finally:
            ended.set()
            sending.join()
        now = termios.tcgetattr(port)
        assert not now[3] & (termios.ECHO | termios.ICANON)
        assert now[4] == termios.B115200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert termios.tcgetattr(port) == before
    os.close(device)
    os.close(port)


def test_the_guard_says_what_it_takes_back(motion_bundle: Path, tmp_path: Path) -> None:
    wrong = "".join(told(wave(name, T, k)) + f"l {other}\n" for k in range(300)
                    for name, other in (("slow", "fast"), ("fast", "slow")))  # fmt: skip
    _, events, _ = fed(motion_bundle, tmp_path / "s", wrong, "--hop", T)
    assert any("taken_back" in one for one in events)
    session = Session.open(motion_bundle, "native", tmp_path / "s")
    for name in ("slow", "fast"):
        assert session.predict(wave(name, T, 77)).name == name


def test_what_live_cannot_do_is_one_line(
    dfedge, motion_bundle: Path, spare_bundle: Bundle, tmp_path: Path
) -> None:
    for args, said in (
        ((spare_bundle.folder, "--source", "-"), "images, not a signal or sound; for files"),
        ((motion_bundle, "--source", "-", "--baud", 9600), "standard input is not one"),
        ((motion_bundle, "--source", tmp_path / "no"), "No such file or directory"),
        ((motion_bundle, "--source", tmp_path), "a folder"),
        ((motion_bundle, "--source", "mic"), "the model reads no sound"),
    ):  # fmt: skip
        done = dfedge("live", *args, "--state", tmp_path / "state")
        assert done.code == 2
        assert said in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "state").exists()


def test_all_answers_are_those_of_a_file(
    motion_bundle: Path, motion: Path, dfedge, tmp_path: Path
) -> None:
    file = motion / "fast" / "1.csv"
    wanted = dfedge("predict", motion_bundle, file, "--json").json["predictions"]
    state = ("--state", tmp_path / "s")
    done = dfedge("live", motion_bundle, "--source", file, "--hop", T, "--json", *state)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [one["score"] for one in found[:-1]] == [one["score"] for one in wanted]
    assert found[-1]["samples"] == 5 * T
    plain = dfedge("live", motion_bundle, "--source", file, *state).out.splitlines()
    assert len(plain) == 9
    assert plain[0].startswith(f"1: {wanted[0]['class']}, lead ")
    assert CHANNELS == ("x", "y", "z")
