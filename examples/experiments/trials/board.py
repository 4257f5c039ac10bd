"""Programs on emulated boards: samples in C, the exported CMake file, QEMU, the linker's sizes."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge import configs
from dfedge.target import load_target

MACHINES = {"cortex-m4": "mps2-an386", "cortex-m55": "mps3-an547"}
"""QEMU's board of a processor."""
HERTZ = {"mps2-an386": 25_000_000, "mps3-an547": 32_000_000}
"""Of each board's timer: under -icount shift=0 an instruction takes a nanosecond."""
PROGRAMS = Path(__file__).parents[3] / "tests" / "on_device"


@dataclass(frozen=True)
class Raw:
    """Samples as a camera or a sensor gives them, and their labels: learned, then judged.

    Attributes:
        kind: of one number in C.
    """

    kind: str
    x: NDArray[np.generic]
    y: NDArray[np.int64]
    test: NDArray[np.generic]
    labels: NDArray[np.int64]
    steps: int


def data(raw: Raw, folder: Path) -> Path:
    """``data.h``: the samples, as constants in flash."""
    lines = ["#include <stdint.h>", f"#define STEPS {raw.steps}", f"#define RAW {raw.kind}",
             f"#define RAW_VALUES {raw.x[0].size}", f"#define TRAIN_SAMPLES {len(raw.x)}",
             f"#define TEST_SAMPLES {len(raw.test)}"]  # fmt: skip
    for name, kind, values in (
        ("train_x", raw.kind, raw.x), ("train_y", "int32_t", raw.y),
        ("test_x", raw.kind, raw.test), ("test_y", "int32_t", raw.labels),
    ):  # fmt: skip
        numbers = ",".join(map(str, values.ravel()))
        lines.append(f"static const {kind} {name}[] = {{{numbers}}};")
    (folder / "data.h").write_text("\n".join(lines) + "\n")
    return folder


def built(sources: Path, folder: Path, main: Path, target: str | None = None) -> Path:
    """A program by the exported CMake file, for this machine or with a board's own linker file.

    Args:
        sources: the exported folder of C.
        folder: where ``data.h`` lies.
        target: by name or by path, of a processor that `MACHINES` has.
    """
    made, words = folder / "c", [f"-DCMAKE_C_FLAGS=-Wall -Werror -I{folder}"]
    shutil.copytree(sources, made)
    if target:
        path = configs.find(configs.folder("targets"), "target", target)
        shutil.copy(path.with_suffix("") / "link.ld", made / "board")
        words = [f"-DNET_CPU={load_target(target).cpu}", f"{words[0]} -DBOARD",
                 f"-DCMAKE_TOOLCHAIN_FILE={made / 'board' / 'toolchain.cmake'}"]  # fmt: skip
    for command in (
        ["cmake", "-S", made, "-B", folder / "build", f"-DNET_MAIN={main}", *words],
        ["cmake", "--build", folder / "build", "--target", "app"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return folder / "build" / "app"


def hosted(sources: Path, folder: Path, main: Path, compiler: str) -> Path:
    """The same for a processor with an operating system, by its compiler."""
    app = folder / "app"
    files = [main, *sorted(sources.glob("*.c")), *sorted((sources / "dfedge").glob("*.c"))]
    subprocess.run(
        [compiler, "-std=c99", "-O2", "-static", f"-I{sources}", f"-I{folder}", "-o", app, *files],
        check=True, capture_output=True,
    )  # fmt: skip
    return app


def output(*command: str | Path) -> dict[str, str]:
    """The lines ``NAME VALUE`` that a program printed; semihosting prints to the standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return dict(line.split(" ") for line in (done.stdout + done.stderr).splitlines() if " " in line)


def emulated(target: str, app: Path) -> dict[str, str]:
    """What a program prints on a target's board, an instruction a nanosecond."""
    machine = MACHINES[load_target(target).cpu or ""]
    return output("qemu-system-arm", "-M", machine, "-nographic", "-semihosting",
                  "-icount", "shift=0", "-kernel", app)  # fmt: skip


def instructions(target: str, ticks: str) -> int:
    """Of so many ticks of the board's timer."""
    return round(1e9 / HERTZ[MACHINES[load_target(target).cpu or ""]] * int(ticks))


def _told(tool: str, *words: str | Path) -> str:
    command = [f"arm-none-eabi-{tool}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ram_bytes(app: Path) -> int:
    """Data and zeroed memory, without the stack that the linker file keeps free."""
    sizes = dict(re.findall(r"^(\.\w+) +(\d+)", _told("size", "-A", app), re.MULTILINE))
    return int(sizes[".data"]) + int(sizes[".bss"])


def flash_bytes(app: Path) -> int:
    """The whole image as the linker made it, without the samples of `data`."""
    sizes = dict(re.findall(r"^(\.\w+) +(\d+)", _told("size", "-A", app), re.MULTILINE))
    samples = re.findall(
        r"^\w+ (\w+) \w (?:train|test)_[xy]$", _told("nm", "-S", app), re.MULTILINE
    )
    assert len(samples) == 4
    return int(sizes[".text"]) + int(sizes[".data"]) - sum(int(size, 16) for size in samples)
