"""``net_save`` of an exported folder, whose power goes, and bits of whose flash flip: power.c."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from dfedge.native import build
from trials.board import PROGRAMS


@dataclass(frozen=True)
class Chances:
    """What is tried.

    Attributes:
        sector, unit: of the flash, in bytes.
        saves: one after the other.
        stride: of the units and sectors of a save the power goes in every so many, torn in four
            ways.
        flips: single bits.
        careless: a control: the firmware erases both slots.
    """

    sector: int = 4096
    unit: int = 8
    saves: int = 8
    stride: int = 1
    flips: int = 100
    careless: bool = False


def lose_power(
    sources: Path, folder: Path, chances: Chances, archive: Path | None = None
) -> dict[str, int]:
    """What was counted, of the net in a folder of C, ``net.h``, under a sanitizer.

    Args:
        archive: the folder's kernels, where they are compiled already.

    Raises:
        DfedgeError: no C compiler.
    """
    app = folder / "power"
    sizes = ("sector", "unit", "saves", "stride", "flips")
    words = [f"-DTRY_{name.upper()}={getattr(chances, name)}" for name in sizes]
    words += ["-DTRY_CARELESS"] if chances.careless else []
    kernels = [archive] if archive else [*(sources / "dfedge").glob("*.c")]
    files = [PROGRAMS / "power.c", *sources.glob("net*.[cS]"), *kernels]
    compiler = [build.required_compiler(), "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror"]
    checked = ["-fsanitize=undefined", "-fno-sanitize-recover"]
    subprocess.run([*compiler, *checked, *words, f"-I{sources}", "-o", app, *files], check=True)
    told = subprocess.run([app], check=True, capture_output=True, text=True).stdout
    return {name: int(count) for name, count in map(str.split, told.splitlines())}
