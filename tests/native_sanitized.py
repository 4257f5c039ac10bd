"""Random nets, and damaged tables, over a sanitized library: python native_sanitized.py LIBRARY.

A process of its own, because a sanitizer's runtime must be loaded first and ends the process; it
exits 0 if nothing was found.  Every array that C writes is a block of its own, so that a byte
beyond it is seen.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

from dfedge.native.library import levels, load
from dfedge.native.program import TRAIN, Program
from dfedge.native.table import make_table
from dfedge.verify.random_nets import draw

NETS, DAMAGED = 24, 3000
INPUT_BYTES = 1 << 16


def damage(library: ctypes.CDLL) -> int:
    """Change one word of a table and run it; the number of tables that were not refused."""
    rng, ran = np.random.default_rng(0), 0
    for number in range(DAMAGED):
        drawn = draw(number % NETS)
        state = {name: value.numpy() for name, value in drawn.state.items()}
        program = Program(drawn.plan, make_table(drawn.plan, state), library)
        program.write(state)
        words = program.table.words
        low, high = ((-3, 300), (-(1 << 31), 1 << 31))[number % 2]
        words[rng.integers(0, len(words))] = rng.integers(low, high)
        needs = library.dfe_arena_bytes(words.ctypes.data, TRAIN, 1)
        if not 0 <= needs < 1 << 22 or words[1] > program.state.nbytes:
            continue
        if library.dfe_check_state(words.ctypes.data, program.state.ctypes.data):
            continue
        first = words[len(program.table.program) + len(program.table.layers[0]) * words[2] :]
        if np.prod(first[:3].astype(np.int64)) > INPUT_BYTES:
            continue
        x, y = np.zeros(INPUT_BYTES, np.int8), np.zeros(1, np.int32)
        scores, active = np.zeros(words[4], np.int32), np.zeros(words[2], np.int32)
        arena = np.empty(needs, np.uint8)
        table, block, *rest = (
            array.ctypes.data for array in (words, program.state, x, y, scores, active, arena)
        )
        ran += library.dfe_step(table, block, 1, *rest, needs) == 0
    return ran


def main() -> None:
    library = load(Path(sys.argv[1]))
    for seed in range(NETS):
        drawn = draw(seed)
        rng = np.random.default_rng(seed)
        state = {name: value.numpy() for name, value in drawn.state.items()}
        hashes = []
        for level in range(len(levels(library))):
            if library.dfe_use_level(level):
                continue
            program = Program(drawn.plan, make_table(drawn.plan, state), library)
            program.write(state)
            x = rng.integers(0, 128, (drawn.batch, *drawn.plan.input_shape), np.int8)
            y = rng.choice(np.flatnonzero(state["live"]), drawn.batch).astype(np.int32)
            program.infer(x)
            program.train(x, y)
            hashes.append(program.state.tobytes())
            rng = np.random.default_rng(seed)
        assert len(set(hashes)) == 1, seed
    ran = damage(library)
    assert 0 < ran < DAMAGED
    print(f"{NETS} nets clean, {ran} of {DAMAGED} damaged tables ran")


if __name__ == "__main__":
    main()
