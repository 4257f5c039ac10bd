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
"""Of each board's timer."""
ICOUNT = ("-nographic", "-semihosting", "-icount", "shift=0", "-kernel")
"""An instruction takes a nanosecond."""
PROGRAMS = Path(__file__).parents[3] / "tests" / "on_device"

TARGETS = configs.folder("targets")


@dataclass(frozen=True)
class Processor:
    """What compiles a program with the small tiles for a bare board of 512 KB or more, and runs it.

    Attributes:
        tick: instructions of one, of the board's timer.
    """

    compiler: tuple[str | Path, ...]
    emulator: tuple[str, ...]
    tick: float


def _bare(words: tuple[str | Path, ...], link: Path, startup: Path) -> tuple[str | Path, ...]:
    small = (
        "-DDFE_SMALL=1",
        "-DBOARD",
        "-ffunction-sections",
        "-nostartfiles",
        "-Wl,--gc-sections",
    )
    places = (f"-I{TARGETS / 'cortex-m'}", f"-L{TARGETS / 'cortex-m'}", f"-I{PROGRAMS}")
    return (*words, *small, *places, f"-T{link}", startup)


def _cortex(cpu: str, machine: str) -> Processor:
    floats = "soft" if cpu == "cortex-m0plus" else "hard"
    words = ("arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", f"-mfloat-abi={floats}")
    link, startup = TARGETS / "mps3-an547" / "link.ld", TARGETS / "cortex-m" / "startup.c"
    return Processor(
        _bare(words, link, startup),
        ("qemu-system-arm", "-M", machine, *ICOUNT),
        1e9 / HERTZ[machine],
    )


RISC_V = ("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs",
          "-Wl,--no-warn-rwx-segments")  # fmt: skip
PROCESSORS = {
    "cortex-m0plus": _cortex("cortex-m0plus", "mps2-an386"),
    "rv32imac": Processor(
        _bare(RISC_V, PROGRAMS / "rv32" / "link.ld", PROGRAMS / "rv32" / "startup.c"),
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *ICOUNT),
        32,
    ),
    "cortex-m4": _cortex("cortex-m4", "mps2-an386"),
    "cortex-m55": _cortex("cortex-m55", "mps3-an547"),
}
"""By the names of their rows in results/instructions.json."""


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
        words = [f"-DNET_CPU={load_target(target).cpu}", f"{words[0]} -I{made / 'board'} -DBOARD",
                 f"-DCMAKE_TOOLCHAIN_FILE={made / 'board' / 'toolchain.cmake'}"]  # fmt: skip
    commands: list[list[str | Path]] = [
        ["cmake", "-S", made, "-B", folder / "build", f"-DNET_MAIN={main}", *words],
        ["cmake", "--build", folder / "build", "--target", "app"],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return folder / "build" / "app"


def _compiled(sources: Path, folder: Path, main: Path, *words: str | Path) -> Path:
    app = folder / "app"
    files = [main, *sorted(sources.glob("*.[cS]")), *sorted((sources / "dfedge").glob("*.c"))]
    command: list[str | Path] = [
        *words,
        "-std=c99",
        "-O2",
        f"-I{sources}",
        f"-I{folder}",
        "-o",
        app,
        *files,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return app


def hosted(sources: Path, folder: Path, main: Path, compiler: str) -> Path:
    """The same for a processor with an operating system, by its compiler."""
    return _compiled(sources, folder, main, compiler, "-static")


def bare(sources: Path, folder: Path, main: Path, processor: Processor) -> Path:
    """The same for a bare processor without a CMake file."""
    return _compiled(sources, folder, main, *processor.compiler, "-ffreestanding")


def output(*command: str | Path) -> dict[str, str]:
    """The lines ``NAME VALUE`` that a program printed; semihosting prints to the standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return dict(line.split(" ") for line in (done.stdout + done.stderr).splitlines() if " " in line)


def emulated(target: str, app: Path) -> dict[str, str]:
    """What a program prints on a target's board, an instruction a nanosecond."""
    machine = MACHINES[load_target(target).cpu or ""]
    return output("qemu-system-arm", "-M", machine, *ICOUNT, app)


def instructions(target: str, ticks: str) -> int:
    """Of so many ticks of the board's timer."""
    return round(1e9 / HERTZ[MACHINES[load_target(target).cpu or ""]] * int(ticks))


def _told(tool: str, *words: str | Path) -> str:
    command = [f"arm-none-eabi-{tool}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _sections(app: Path, *names: str) -> int:
    """Bytes of these together."""
    sizes = dict(re.findall(r"^(\.\w+) +(\d+)", _told("size", "-A", app), re.MULTILINE))
    return sum(int(sizes[name]) for name in names)


def ram_bytes(app: Path) -> int:
    """Data and zeroed memory, without the stack that the linker file keeps free."""
    return _sections(app, ".data", ".bss")


def flash_bytes(app: Path) -> int:
    """The whole image as the linker made it, without the samples of `data`."""
    samples = re.findall(
        r"^\w+ (\w+) \w (?:train|test)_[xy]$", _told("nm", "-S", app), re.MULTILINE
    )
    assert len(samples) == 4
    return _sections(app, ".text", ".data") - sum(int(size, 16) for size in samples)
