"""Instructions per multiply-accumulate of every kernel, on an emulated Cortex-M4 and Cortex-M55.

    python examples/experiments/instructions.py

QEMU's -icount shift=0 makes every instruction last a nanosecond, and the board's timer counts them:
40 a tick at 25 MHz, 31.25 at 32 MHz.  Multiplications with the border's zeros count as such, so a
3 x 3 convolution of N positions has 9 N C O.  "half": one input in two is zero.  "still": no weight
moves.  Writes results/instructions.json beside this file (a minute).
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dated import dated

from dfedge.native import build
from dfedge.target import load_target

HERE = Path(__file__).parent
BOARD = HERE.parent.parent / "targets" / "cortex-m"
PRINT = HERE.parent.parent / "tests" / "on_device"
LINK = BOARD.with_name("mps3-an547") / "link.ld"
"""Of 512 KB of RAM, which both boards have."""
HERTZ = {"mps2-an386": 25_000_000, "mps3-an547": 32_000_000}
"""Of each board's timer."""


@dataclass(frozen=True)
class Shape:
    """A convolution [side, side, inputs] -> [side, side, outputs]."""

    name: str
    side: int
    inputs: int
    outputs: int
    kernel: int
    depthwise: bool = False

    @property
    def products(self) -> int:
        """Multiply-accumulates."""
        inputs = 1 if self.depthwise else self.inputs
        return self.side**2 * self.kernel**2 * inputs * self.outputs


SHAPES = (
    Shape("conv3x3_32_32", 16, 32, 32, 3),
    Shape("conv3x3_64_64", 8, 64, 64, 3),
    Shape("conv3x3_16_16", 16, 16, 16, 3),
    Shape("conv3x3_8_12", 8, 8, 12, 3),
    Shape("conv1x1_32_64", 16, 32, 64, 1),
    Shape("conv1x1_64_32", 16, 64, 32, 1),
    Shape("conv1x1_16_16", 16, 16, 16, 1),
    Shape("first3x3_3_16", 32, 3, 16, 3),
    Shape("first3x3_1_8", 16, 1, 8, 3),
    Shape("depthwise3x3_32", 16, 32, 32, 3, True),
    Shape("linear_256_64", 1, 256, 64, 1),
)


def built(target: str, folder: Path) -> Path:
    """The program for one board."""
    rows = [f"SHAPE({s.name}, {s.side}, {s.inputs}, {s.outputs}, {s.kernel}, {int(s.depthwise)})"
            for s in SHAPES]  # fmt: skip
    (folder / "shapes.h").write_text("\n".join(rows) + "\n")
    cpu = load_target(target).cpu
    app = folder / target
    sources = [HERE / "instructions.c", BOARD / "startup.c", *sorted(build.SOURCES.glob("*.c"))]
    subprocess.run(
        ["arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=hard", "-std=c99", "-O2",
         "-ffreestanding", "-DDFE_SMALL=1", "-Wall", "-ffunction-sections", "-nostartfiles",
         "-Wl,--gc-sections", f"-L{BOARD}", f"-T{LINK}", f"-I{folder}", f"-I{BOARD}",
         f"-I{build.SOURCES}", f"-I{PRINT}", "-o", app, *sources],
        check=True,
    )  # fmt: skip
    return app


def counted(target: str, app: Path) -> dict[str, dict[str, float]]:
    """Instructions per multiply-accumulate, by shape and kernel."""
    done = subprocess.run(
        ["qemu-system-arm", "-M", target, "-nographic", "-semihosting", "-icount", "shift=0",
         "-kernel", app], capture_output=True, text=True, check=True,
    )  # fmt: skip
    products = {s.name: s.products for s in SHAPES}
    found: dict[str, dict[str, float]] = {}
    for line in (done.stdout + done.stderr).splitlines():
        name, what, ticks = line.split()
        count = int(ticks) * 1e9 / HERTZ[target]
        found.setdefault(name, {})[what] = round(count / products[name], 3)
    return found


def main() -> None:
    """Measure both boards, print, keep."""
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for target in sys.argv[1:] or HERTZ:
            results[target] = counted(target, built(target, Path(scratch)))
    for target, rows in results.items():
        print(target)
        for name, row in rows.items():
            print(f"  {name:18}", "  ".join(f"{what} {value:6.3f}" for what, value in row.items()))
    text = json.dumps({**dated(), **results}, indent=1) + "\n"
    (HERE / "results" / "instructions.json").write_text(text)


if __name__ == "__main__":
    main()
