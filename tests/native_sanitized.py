"""Random nets, and damaged tables, over a sanitized library: python native_sanitized.py LIBRARY.

A process of its own, because a sanitizer's runtime must be loaded first and ends the process; it
exits 0 if nothing was found.  Every array that C writes is a block of its own, so that a byte
beyond it is seen.
"""

import ctypes
import sys
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from random_trunks import draw_adopted
from trials.random_nets import Drawn, draw

from dfedge.native.library import Buffer, levels, load_file
from dfedge.native.places import place, place_above
from dfedge.native.program import TRAIN, NativeProgram
from dfedge.native.table import make_table

NETS, DAMAGED = 24, 3000
INPUT_BYTES = 1 << 16


@cache
def program_of(seed: int, library: ctypes.CDLL) -> tuple[NativeProgram, Drawn]:
    """A random net; every other one stands on a frozen trunk, half of these row by row."""
    drawn, constants = draw_adopted(seed) if seed % 2 else (draw(seed), {})
    state, given = (
        {name: value.numpy() for name, value in tensors.items()}
        for tensors in (drawn.state, constants)
    )
    placed = place if seed % 4 == 1 else partial(place_above, size=0)
    with patch("dfedge.native.trunk.place", placed):
        return NativeProgram(drawn.plan, make_table(drawn.plan, state, given), library), drawn


def fresh(seed: int, library: ctypes.CDLL) -> tuple[NativeProgram, Drawn]:
    """At its first state."""
    program, drawn = program_of(seed, library)
    program.write({name: value.numpy() for name, value in drawn.state.items()})
    return program, drawn


def call(library: ctypes.CDLL, program: NativeProgram, words: np.ndarray) -> int | None:
    """The status of a step with a table, None where it asks for too much."""
    fields = dict(zip(program.table.program, words.tolist(), strict=False))
    at = words.ctypes.data
    buffer = Buffer(at, words.nbytes)
    if library.dfe_check_sized(buffer):
        return None
    needs = library.dfe_arena_bytes(at, TRAIN, 1)
    if not 0 <= needs < 1 << 22 or fields["state_bytes"] > program.state.nbytes:
        return None
    if library.dfe_check_state(at, program.state.ctypes.data):
        return None
    if fields["height"] * fields["width"] * fields["channels"] > INPUT_BYTES:
        return None
    x, y = np.zeros(INPUT_BYTES, np.int8), np.zeros(1, np.int32)
    scores, active = np.zeros(fields["classes"], np.int32), np.zeros(fields["layers"], np.int32)
    arena = np.empty(needs, np.uint8)
    given = [array.ctypes.data for array in (program.state, x, y, scores, active, arena)]
    status: int = library.dfe_step(at, given[0], 1, *given[1:], needs)
    return status


def damage(library: ctypes.CDLL) -> int:
    """Change one word of a table and run it; the number of tables that were not refused."""
    rng, ran = np.random.default_rng(0), 0
    for number in range(DAMAGED):
        program, _ = fresh(number % NETS, library)
        words = program.table.words
        low, high = ((-3, 300), (-(1 << 31), 1 << 31))[number // NETS % 2]
        words[rng.integers(0, len(words) - constant_words(program))] = rng.integers(low, high)
        ran += call(library, program, words) == 0
    return ran


def constant_words(program: NativeProgram) -> int:
    """At the end of its table."""
    return program.table.program["constant_bytes"] // 4


def main() -> None:
    library = load_file(Path(sys.argv[1]))
    library.dfe_check_sized.argtypes = (Buffer,)
    for seed in range(NETS):
        rng, hashes = np.random.default_rng(seed), []
        for level in range(len(levels(library))):
            if library.dfe_use_level(level):
                continue
            program, drawn = fresh(seed, library)
            x = rng.integers(0, 128, (drawn.batch, *drawn.plan.input_shape), np.int8)
            live = np.flatnonzero(drawn.state["live"].numpy())
            y = rng.choice(live, drawn.batch).astype(np.int32)
            program.infer(x)
            program.train(x, y)
            if drawn.plan.form == "one-pass":
                program.features(x)
            hashes.append(program.state.tobytes())
            rng = np.random.default_rng(seed)
        assert len(set(hashes)) == 1, seed
    ran = damage(library)
    assert 0 < ran < DAMAGED
    print(f"{NETS} nets clean, {ran} of {DAMAGED} damaged tables ran")


if __name__ == "__main__":
    main()
