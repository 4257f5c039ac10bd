"""The report of an exported folder: what a board says of itself, and whether its bits are right."""

import re
import subprocess
from pathlib import Path

import pytest
from firmware import STRICT, Wish, archive, made, run
from test_on_device import needs
from trials.board import ICOUNT, built

from dfedge.bundle import Bundle
from dfedge.native import build

pytestmark = needs(build.COMPILERS[0], "ar")
LINES = re.compile(
    r"board (?P<board>.+)\ncompiler .+\nkernels (?P<kernels>.+)\n"
    r"bytes of table \d+, state \d+, arena \d+, stack (?P<stack>\d+) \(0: not measured\)\n"
    r"a prediction (?P<prediction>\d+) .+\na step of learning (?P<step>\d+) .+\n"
    r"failed calls (?P<failed>\d+)\nstate after the steps [0-9a-f]+, (?P<whose>.+)\n"
)
ARDUINO = """#pragma once
#include <stdint.h>
#include <stdio.h>
struct Printer {
    explicit operator bool() const { return true; }
    void begin(long) {}
    void print(const char *text) { fputs(text, stdout); }
};
static Printer Serial;
inline unsigned long micros() { static unsigned long now; return now += 3; }
"""


def told(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found = LINES.fullmatch(done.stdout + done.stderr)
    assert found, (done.stdout, done.stderr)
    return found.groupdict()


@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(("target", "kernels"), [("mps2-an386", "SMLAD"), ("mps3-an547", "Helium")])
def test_a_board_that_computes_the_hosts_bits_says_so_and_how_fast(
    target: str, kernels: str, mcu: Bundle, tmp_path: Path
) -> None:
    main = mcu.folder / "c" / "examples" / "report" / "main.c"
    app = built(mcu.folder / "c", tmp_path, main, target)
    qemu = ["qemu-system-arm", "-M", target, *ICOUNT, app]
    found = told(subprocess.run(qemu, capture_output=True, text=True, timeout=300))
    assert found["whose"] == "the host's"
    assert found["kernels"] == kernels
    assert found["board"] == "mps2-an386 in QEMU"  # that it was exported for
    assert 0 < int(found["prediction"]) < int(found["step"])
    assert int(found["stack"]) > 1000
    assert found["failed"] == "0"


def test_other_bits_than_the_hosts_are_told(tmp_path: Path) -> None:
    net = made(tmp_path / "net", Wish(prefix="eye", ecosystem="make"))
    kernels, app = archive(net.kernels(), tmp_path), tmp_path / "app"
    main = net.folder / "examples" / "report" / "main.c"
    run("gcc", *STRICT, f"-I{net.sources}", "-o", app, main, *net.own(), kernels)
    done = subprocess.run([app], capture_output=True, text=True)
    assert (done.returncode, told(done)["whose"]) == (0, "the host's")
    path = net.sources / "eye.dfe"
    damaged = bytearray(path.read_bytes())
    damaged[-net.program.table.state_bytes] ^= 4  # the first weight
    path.write_bytes(damaged)
    run("gcc", *STRICT, f"-I{net.sources}", "-o", app, main, *net.own(), kernels)
    done = subprocess.run([app], capture_output=True, text=True)
    assert (done.returncode, told(done)["whose"]) == (1, "NOT the host's")


@needs("g++")
def test_a_sketch_reports_as_well(tmp_path: Path) -> None:
    net = made(tmp_path / "net", Wish(ecosystem="arduino", binary=False))
    kernels = archive(net.kernels(), tmp_path)
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = net.folder / "examples" / "report" / "report.ino"
    (tmp_path / "sketch.cpp").write_text(sketch.read_text() + "\nint main() { setup(); loop(); }\n")
    objects = tmp_path / "own"
    objects.mkdir()
    run("gcc", *STRICT, f"-I{net.sources}", "-c", *net.own(), cwd=objects)
    run("g++", "-std=c++11", *STRICT, f"-I{net.sources}", f"-I{tmp_path}", "-o", tmp_path / "app",
        tmp_path / "sketch.cpp", *objects.iterdir(), kernels)  # fmt: skip
    found = told(subprocess.run([tmp_path / "app"], capture_output=True, text=True))
    assert (found["whose"], found["prediction"]) == ("the host's", "3")
