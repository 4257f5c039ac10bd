"""Instructions per multiply-accumulate of every kernel, on emulated processors.

    apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc
    python examples/experiments/instructions.py [PROCESSOR ...]

Code of a Cortex-M0+ runs on the Cortex-M4's board.  QEMU's -icount shift=0 makes every instruction
last a nanosecond, and the board's timer counts them: 40 a tick at 25 MHz, 31.25 at 32 MHz, 32 on
RISC-V.  Multiplications with the border's zeros count as such, so a
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
from trials.board import PROCESSORS

from dfedge.native import build

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "instructions.json"


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


def built(name: str, folder: Path) -> Path:
    """The program for one processor."""
    rows = [f"SHAPE({s.name}, {s.side}, {s.inputs}, {s.outputs}, {s.kernel}, {int(s.depthwise)})"
            for s in SHAPES]  # fmt: skip
    (folder / "shapes.h").write_text("\n".join(rows) + "\n")
    app = folder / name
    sources = [HERE / "instructions.c", *sorted(build.SOURCES.glob("*.c"))]
    words = ["-std=c99", "-O2", "-ffreestanding", "-Wall", f"-I{folder}", f"-I{build.SOURCES}"]
    subprocess.run([*PROCESSORS[name].compiler, *words, "-o", app, *sources], check=True)
    return app


def counted(name: str, app: Path) -> dict[str, dict[str, float]]:
    """Instructions per multiply-accumulate, by shape and kernel."""
    board = PROCESSORS[name]
    done = subprocess.run([*board.emulator, app], capture_output=True, text=True, check=True)
    products = {s.name: s.products for s in SHAPES}
    found: dict[str, dict[str, float]] = {}
    for line in (done.stdout + done.stderr).splitlines():
        name, what, ticks = line.split()
        count = int(ticks) * board.tick
        found.setdefault(name, {})[what] = round(count / products[name], 3)
    return found


def main() -> None:
    """Measure both boards, print, keep."""
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for target in sys.argv[1:] or PROCESSORS:
            results[target] = counted(target, built(target, Path(scratch)))
    for target, rows in results.items():
        print(target)
        for name, row in rows.items():
            print(f"  {name:18}", "  ".join(f"{what} {value:6.3f}" for what, value in row.items()))
    kept = json.loads(RESULTS.read_text()) if sys.argv[1:] else {}
    RESULTS.write_text(json.dumps({**kept, **dated(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
