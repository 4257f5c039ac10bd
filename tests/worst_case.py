"""Random nets whose calls cost the most that they can, as a program for a board takes them."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from random_trunks import Block, Drawn, Loss, NetSpec, draw_adopted, draw_trunk, filled, skeleton
from trials.random_nets import draw

from dfedge.exporters.golden import to_arrays
from dfedge.native import build
from dfedge.native.instructions import bound
from dfedge.native.instructions.trunk import values
from dfedge.native.layout import block_of
from dfedge.native.table import ProgramTable, make_table
from dfedge.operations import OPERATIONS
from dfedge.trunk import Trunk

HERE = Path(__file__).parent
BOARD = HERE.parent / "targets" / "cortex-m"
LINK = BOARD.with_name("mps3-an547") / "link.ld"
"""Of 512 KB of RAM, which both boards have."""
BOARDS = {"plain": "mps2-an386", "simd32": "mps2-an386", "mve": "mps3-an547"}
TICK = {"mps2-an386": 40.0, "mps3-an547": 31.25}
"""Instructions of one, of each board's timer, under -icount shift=0."""
TIMES = 4
"""Calls that are counted together."""
ONCE = ("add", "go_infer", "go_step")
"""Those that are counted alone."""
FLASH, SECTOR = 300_000, 4_096
"""Bytes of nets in one program; of a sector."""
NEW, KNOWN = 2, (2, 4, 8)
"""Samples of a new class, and those it is placed among: of one net after the other."""


@dataclass(frozen=True)
class Case:
    """A net: what is measured of it.

    Attributes:
        state: the first.
        known: samples that a new class is placed among; 0: none is added.
        slot_bytes: of flash.
    """

    table: ProgramTable
    state: NDArray[np.uint8]
    known: int
    slot_bytes: int


def nets(seeds: Sequence[int], most: int) -> list[Case]:
    """At most so many."""
    found: list[Case] = []
    for seed in seeds:
        drawn = _drawn(seed)
        if drawn is None or len(found) == most:
            continue
        table, state = drawn
        adds = values(table.program) < 1_000 and len(found) % 4 == 0
        sectors = max(-(-(table.state_bytes + 136) // SECTOR), 1 + len(found) % 3)
        known = KNOWN[len(found) // 4 % len(KNOWN)] if adds else 0
        found.append(Case(table, state, known, SECTOR * sectors))
    return found


def _drawn(seed: int) -> tuple[ProgramTable, NDArray[np.uint8]] | None:
    """One that is small, or none; every third has a trunk of a few kinds of operations."""
    drawn, constants = draw(seed), {}
    if seed % 6 == 0:
        drawn, constants = draw_adopted(seed)
    elif seed % 3:
        kind = OPERATIONS[seed // 2 % len(OPERATIONS)]
        others = random.Random(seed).sample(OPERATIONS, 2)
        kinds = (kind,) if seed % 3 == 1 else (kind, *others)
        drawn, constants = _with_head(*draw_trunk(seed, 3, kinds), seed)
    if drawn.plan.form != "one-pass":
        return None
    layers = [replace(one, margin=8, separation=1 << 30) for one in drawn.plan.layers]
    plan, state = replace(drawn.plan, layers=tuple(layers)), to_arrays(drawn.state)
    state["weight_shift"][:] = 2
    state["anchor_shift"][:] = 1
    state["live"][:] = 1
    table = make_table(plan, state, to_arrays(constants))
    small = table.words.nbytes < 16_000 and table.state_bytes < 9_000
    return (table, block_of(table.tensors, state)) if small else None


def _with_head(trunk: Trunk, constants: dict, seed: int) -> tuple[Drawn, dict]:
    """A trunk below one linear layer."""
    spec = NetSpec([Block(trunk.output_shape[2], "gain", mean=True), Block(4, "linear")],
                   anchors=1, loss=Loss(margin=0.5))  # fmt: skip
    plan = skeleton(spec, trunk.output_shape, 4, "one-pass")
    drawn = filled(plan, random.Random(seed), 1, None)
    return Drawn(replace(drawn.plan, trunk=trunk), drawn.state, 1), constants


def programs(cases: Sequence[Case]) -> Iterator[range]:
    """Numbers of those that fit one program together."""
    first = used = 0
    for i, case in enumerate(cases):
        bytes = case.table.words.nbytes + len(case.state)
        if used + bytes > FLASH:
            yield range(first, i)
            first, used = i, 0
        used += bytes
    yield range(first, len(cases))


def write(path: Path, cases: Sequence[Case], part: range, more: Sequence[str] = ()) -> None:
    """``cases.h`` of some of them."""
    lines, rows = [f"enum {{ FIRST = {part.start} }};", *more], []
    for i in part:
        case = cases[i]
        for name, block in (("table", case.table.words), ("state", case.state.view(np.int32))):
            numbers = ", ".join(map(str, block))
            lines.append(f"static const int32_t {name}{i}[] = {{{numbers}}};")
        size = len(case.state)
        rows.append(f"{{table{i}, state{i}, {size}, {case.known}, {case.slot_bytes}}}")
    lines.append(f"static const net NETS[] = {{{', '.join(rows)}}};")
    path.write_text("\n".join(lines) + "\n")


def longest(k: bound.Kernels, case: Case) -> dict[str, int]:
    """Bounds of the slices that calls.h measures."""
    return {
        f"go_{name}": bound.longest(k, case.table, name == "step") for name in ("infer", "step")
    }


def counts(k: bound.Kernels, case: Case) -> dict[str, bound.Counts]:
    """Of every call that calls.h measures."""
    table = case.table
    found = {
        "infer": bound.infer(k, table), "features": bound.features(k, table),
        "step": bound.step(k, table), "load": bound.load(table, case.slot_bytes),
        "save": bound.save(table),
    }  # fmt: skip
    return found | (
        {"add": bound.add_class(k, table, NEW, bound.KnownCounts(case.known, case.known))}
        if case.known
        else {}
    )


def compiled(k: bound.Kernels, app: Path, *words: str | Path) -> Path:
    """A program for the board of a set of kernels, as board.cmake has it compiled."""
    subprocess.run(
        ["arm-none-eabi-gcc", f"-mcpu={k.cpu}", "-mthumb", f"-mfloat-abi={k.floats}", "-std=c99",
         "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-nostartfiles",
         "-Wall", "-Wl,--gc-sections", f"-L{BOARD}", f"-T{LINK}", f"-I{BOARD}",
         f"-I{HERE / 'on_device'}", "-o", app, BOARD / "startup.c", *words],
        check=True,
    )  # fmt: skip
    return app


def lines(k: bound.Kernels, app: Path) -> list[list[str]]:
    """What a program prints, in words."""
    done = subprocess.run(
        ["qemu-system-arm", "-M", BOARDS[k.name], "-nographic", "-semihosting",
         "-icount", "shift=0", "-kernel", app],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return [line.split() for line in (done.stdout + done.stderr).splitlines()]


def ran(k: bound.Kernels, source: Path, folder: Path) -> dict[tuple[str, int], float]:
    """Instructions by call and case, of a program over ``cases.h``."""
    kernels = sorted(build.SOURCES.glob("*.c"))
    words = ["-DDFE_SMALL=1", f"-I{folder}", f"-I{build.SOURCES}", source, *kernels]
    found = {}
    for call, *numbers in lines(k, compiled(k, folder / k.name, *words)):
        if call in ("untrained", "refused"):
            continue  # sums that would not fit, or an arena beyond this program's
        assert len(numbers) == 2, call
        case, ticks = map(int, numbers)
        found[call, case] = ticks * TICK[BOARDS[k.name]] / (1 if call in ONCE else TIMES)
    for call, beside in (("step", "copy"), ("save", "erase")):
        for case in [number for name, number in found if name == call]:
            found[call, case] -= found[beside, case]
    return found
