"""A call in slices: the same bits as the whole call, whatever goes on between two of them."""

import ctypes

import numpy as np
import pytest
from random_trunks import draw_adopted
from test_on_device import needs
from trials.random_nets import draw

from dfedge.exporters.golden import to_arrays
from dfedge.native import build
from dfedge.native.program import FEATURES, INFER, TRAIN, TRAIN_FROM, NativeProgram
from dfedge.native.table import make_table

pytestmark = needs(build.COMPILERS[0])
MORE = 11
ROOM = 4_096
"""Bytes of a ``dfe_job``, and more."""


def program(seed: int) -> tuple[NativeProgram, int]:
    """A random net, every third behind a frozen trunk, and a batch size."""
    drawn, constants = draw_adopted(seed) if seed % 3 == 0 else (draw(seed), {})
    state = to_arrays(drawn.state)
    made = NativeProgram(drawn.plan, make_table(drawn.plan, state, to_arrays(constants)))
    made.write(state)
    return made, drawn.batch


def in_slices(
    one: NativeProgram, call: int, x: np.ndarray, y: np.ndarray, beside: object
) -> tuple[list[np.ndarray], int]:
    """What a call gives, and its slices; ``beside`` is called between them."""
    results = one.results(call, len(x))
    arena = np.full(one.arena_bytes(call, len(x)), 0x55, np.uint8)
    job = np.zeros(ROOM, np.uint8)
    table = one.table.words
    at = [array.ctypes.data for array in (table, one.state, x, y, *results)]
    words, state, seen, labels, first, *second = map(ctypes.c_void_p, at)
    where, last = ctypes.c_void_p(job.ctypes.data), second[0] if second else None
    status = one.library.dfe_begin(
        where, call, words, state, len(x), seen, labels, first, last,
        ctypes.c_void_p(arena.ctypes.data), ctypes.c_size_t(arena.nbytes),
    )  # fmt: skip
    assert status == 0
    count = 1
    while (status := one.library.dfe_go(where)) == MORE:
        count += 1
        beside()  # type: ignore[operator]
    assert status == 0
    return results, count


@pytest.mark.parametrize("seed", range(24))
def test_slices_give_the_bits_of_the_whole_call_while_other_nets_compute(seed: int) -> None:
    (one, batch), (whole, _), (other, _) = program(seed), program(seed), program(seed + 100)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 128, (1, *other.plan.input_shape)).astype(np.int8)
    expected = other.infer(noise)

    def beside() -> None:
        if rng.random() < 0.2:
            assert np.array_equal(other.infer(noise), expected)

    counts = []
    for turn in range(3):
        x = rng.integers(0, 128, (batch, *one.plan.input_shape)).astype(np.int8)
        y = rng.integers(0, 2, batch).astype(np.int32)  # rows that are live
        for call in (INFER, FEATURES, TRAIN, TRAIN_FROM):
            if call == FEATURES and one.plan.form == "label-plane":
                continue
            given = x
            if call == TRAIN_FROM:
                if not one.plan.frozen:
                    continue
                given = np.ascontiguousarray(whole.features(x)[-1])
            found, count = in_slices(one, call, given, y, beside)
            counts.append(count)
            if call == INFER:
                wanted = [whole.infer(given)]
            elif call == FEATURES:
                *seen, latent = whole.features(given)
                wanted = [np.concatenate([part.reshape(-1) for part in seen]), latent]
            else:
                wanted = list(whole.train(given, y, latent=call == TRAIN_FROM))
            assert all(map(np.array_equal, found, wanted)), (turn, call)
            assert np.array_equal(one.state, whole.state), (turn, call)
    plane = one.plan.form == "label-plane"
    assert max(counts) == 1 if plane else max(counts) > 2 * len(one.plan.layers)
