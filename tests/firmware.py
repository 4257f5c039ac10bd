"""Folders of C sources as an export writes them, of small random nets, and compilers for them."""

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from trials.random_nets import filled

from dfedge.data.inputs.image import ImageRule
from dfedge.device.confidence import unsure_below
from dfedge.exporters.c import write
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.golden import to_arrays
from dfedge.exporters.program import methods
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import load_spec
from dfedge.native import build
from dfedge.native.image import Identity
from dfedge.native.program import NativeProgram
from dfedge.native.table import make_table

NET = str(Path(__file__).parent.parent / "examples" / "mcu_net.toml")
SHAPE, CLASSES = (8, 8, 1), tuple(f"digit {number}" for number in range(10))
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Made:
    """A folder, and the same net in Python."""

    folder: Path
    sources: Path
    program: NativeProgram
    known: dict[str, NDArray[np.generic]]

    @property
    def seen(self) -> int:
        return sum(layer.features for layer in self.program.plan.layers)

    def own(self) -> list[Path]:
        return sorted(self.sources.glob("*.[cS]"))

    def kernels(self) -> list[Path]:
        return sorted((self.sources / "dfedge").glob("*.c"))


@dataclass(frozen=True)
class Wish:
    """Of what is written; the seed draws the net."""

    seed: int = 0
    prefix: str = "net"
    ecosystem: str = "cmake"
    target: str = "mps2-an386"
    classes: tuple[str, ...] = CLASSES
    lineage: str = ""
    temperature: int = 0
    binary: bool = True


def made(folder: Path, wish: Wish) -> Made:
    """Write a folder, as `export` does."""
    plan = replace(skeleton(load_spec(NET), SHAPE, 10), feedback="none")
    drawn = filled(plan, random.Random(wish.seed), 1, None)
    state = drawn.state
    state["live"][:] = 1
    state["live"][len(wish.classes) :] = 0
    rng = np.random.default_rng(wish.seed)
    known = {f"{part}.x": rng.integers(0, 128, (4, *SHAPE)).astype(np.int8)
             for part in ("replay", "judge")}  # fmt: skip
    known |= {f"{part}.y": np.arange(4, dtype=np.int32) for part in ("replay", "judge")}
    folder.mkdir(parents=True, exist_ok=True)
    source = ExportSource(
        drawn.plan,
        state,
        methods(drawn.plan, {1}),
        target=wish.target,
        known=known,
        identity=Identity(wish.lineage, 0, 8),
        input=ImageRule(8, 8, 1).in_c(),
        classes=wish.classes,
        prefix=wish.prefix,
        ecosystem=wish.ecosystem,
        binary=wish.binary,
        unsure_below=unsure_below(wish.temperature),
    )
    written = write(source, folder, lambda *_: None)
    arrays = to_arrays(state)
    program = NativeProgram(drawn.plan, make_table(drawn.plan, arrays))
    program.write(arrays)
    place = folder / next(iter(written.files.values()))
    return Made(folder, place.parent, program, known)


def archive(kernels: list[Path], folder: Path) -> Path:
    """The kernels, compiled once for every program that is linked with them."""
    done = folder / "libdfedge.a"
    run(build.required_compiler(), "-std=c99", "-O1", "-fPIC", "-c", *kernels, cwd=folder)
    run("ar", "rcs", done, *sorted(folder.glob("*.o")))
    return done


def run(*command: object, cwd: Path | None = None) -> str:
    """A command's output; its errors are shown where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout
