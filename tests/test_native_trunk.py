"""Frozen trunks in the C interpreter: steps, whole trunks, adopted nets; integers, so exactly."""

import dataclasses
import math
import random
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from random_trunks import draw_adopted, draw_trunk
from test_native import CI, each_level, same_state
from trials.random_nets import Drawn, filled

from dfedge.compile import step
from dfedge.errors import DfedgeError
from dfedge.int8.trunk import Constants, evaluate, latents
from dfedge.native import build
from dfedge.native.latents import latents as alone
from dfedge.native.library import Buffer, load
from dfedge.native.places import place, place_above
from dfedge.native.program import FEATURES, INFER, TRAIN, TRAIN_FROM, NativeProgram
from dfedge.native.table import make_table
from dfedge.operations import OPERATIONS, Add, AveragePool, Convolution, Lookup, Select
from dfedge.plan import Conv, Layer, Plan
from dfedge.trunk import Trunk

pytestmark = pytest.mark.skipif(
    build.compiler() is None and not CI, reason="no C compiler; make tools installs one"
)


def program_of(drawn: Drawn, constants: Constants) -> NativeProgram:
    state, given = (
        {name: value.numpy() for name, value in tensors.items()}
        for tensors in (drawn.state, constants)
    )
    program = NativeProgram(drawn.plan, make_table(drawn.plan, state, given))
    program.write(state)
    return program


def under(trunk: Trunk) -> Drawn:
    """The least that learns, above a trunk."""
    height, width, channels = trunk.output_shape
    layer = Layer((Conv(height, width, channels, channels, (1, 1), depthwise=True),))
    drawn = filled(Plan((layer,), 2), random.Random(0), 2, None)
    return dataclasses.replace(drawn, plan=replace(drawn.plan, trunk=trunk))


def images(trunk: Trunk, batch: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 128, (batch, *trunk.input_shape), np.int8)
    x[0] = rng.choice([0, 127, 1])
    return x


def same_latents(trunk: Trunk, constants: Constants, seed: int) -> None:
    """Where values lie best, and with every value row by row that can be."""
    x = images(trunk, 3, seed)
    wanted = evaluate(trunk, constants, torch.from_numpy(x)).numpy()
    for placed in (place, lambda one: place_above(one, 0)):
        with patch("dfedge.native.trunk.place", placed):
            program = program_of(under(trunk), constants)
        for number, found in enumerate(each_level(lambda: program.features(x)[-1])):  # noqa: B023
            assert np.array_equal(found, wanted), (number, trunk)


@pytest.mark.parametrize("kind", OPERATIONS)
@given(st.integers(0, 1 << 30))
@settings(max_examples=25, deadline=None)
def test_a_step_equals_its_definition_at_every_level(kind: type, seed: int) -> None:
    same_latents(*draw_trunk(seed, 1, (kind,)), seed)


@given(st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_a_trunk_equals_its_definition_wherever_its_values_lie(seed: int) -> None:
    same_latents(*draw_trunk(seed), seed)


@given(st.integers(0, 1 << 30))
@settings(max_examples=30, deadline=None)
def test_a_trunk_alone_equals_its_definition(seed: int) -> None:
    trunk, constants = draw_trunk(seed)
    x = images(trunk, 70, seed)
    given = {name: value.numpy() for name, value in constants.items()}
    wanted = evaluate(trunk, constants, torch.from_numpy(x)).numpy()
    assert np.array_equal(alone(trunk, given, x), wanted)


@given(st.integers(0, 1 << 30))
@settings(max_examples=30, deadline=None)
def test_nets_above_a_trunk_learn_the_same_bytes_as_pytorch(seed: int) -> None:
    """Every rule, frozen layers, layers that hand on their mean; any batch."""
    drawn, constants = draw_adopted(seed)
    plan, state, rng = drawn.plan, drawn.state, np.random.default_rng(seed)
    program, best = program_of(drawn, constants), load().dfe_level_used()
    load().dfe_use_level(seed % (best + 1))
    assert plan.trunk is not None
    live = np.flatnonzero(state["live"].numpy())
    for number in range(2):
        x = images(plan.trunk, drawn.batch, seed + number)
        y = rng.choice(live, drawn.batch).astype(np.int32)
        z, ty = latents(plan.trunk, constants, torch.from_numpy(x)), torch.from_numpy(y)
        state, scores, active = step.train(plan, state, z, ty)
        found = program.train(x, y)
        assert np.array_equal(found[0], scores.numpy())
        assert np.array_equal(found[1], active.numpy())
        same_state(program, state)
        assert np.array_equal(program.infer(x), step.infer(plan, state, z).numpy())
    seen = program.features(x)
    for one, wanted in zip(seen, step.features(plan, state, z), strict=True):
        assert np.array_equal(one, wanted.numpy())
    state, scores, _ = step.train_from(plan, state, torch.from_numpy(seen[-1]), ty)
    assert np.array_equal(program.train(seen[-1], y, latent=True)[0], scores.numpy())
    same_state(program, state)
    load().dfe_use_level(best)


@given(st.integers(0, 1 << 30))
@settings(max_examples=100, deadline=None)
def test_no_two_values_that_are_alive_share_a_byte(seed: int) -> None:
    """But where a step that works value by value writes over what it is the last to read."""
    trunk, _ = draw_trunk(seed, 20)
    found, count = place(trunk), len(trunk.operations)
    sizes = [
        math.prod(step.shape) if not rows else rows * math.prod(step.shape[1:])
        for step, rows in zip(trunk.operations, found.rows, strict=True)
    ]
    together = [i for i in range(count) if not found.rows[i]]  # the last step of i's chain
    ends = [min(end for end in together if end >= i) for i in range(count)]
    last = {read: ends[i] for i, step in enumerate(trunk.operations) for read in step.reads}
    for i in range(count - 1):
        here = range(found.offsets[i], found.offsets[i] + sizes[i])
        assert here.start >= 0 and here.stop <= found.bytes
        dies = max(last.get(i + 1, i), ends[i])
        for j in range(i + 1, min(dies, count - 2) + 1):
            there = range(found.offsets[j], found.offsets[j] + sizes[j])
            apart = here.stop <= there.start or there.stop <= here.start
            over = here == there and dies == j and i + 1 in trunk.operations[j].reads
            assert apart or over, (i, j)


def chain(side: int, *channels: int) -> tuple[Trunk, dict[str, torch.Tensor]]:
    """1 x 1 convolutions, one after the other."""
    steps, constants = [], {}
    for i, (seen, out) in enumerate(pairwise(channels)):
        steps.append(Convolution(str(i), (i,), (side, side, out), (1, 1), 1, (0,) * 4, False, 7))
        constants[f"{i}.weight"] = torch.ones((1, seen, out), dtype=torch.int8)
        for name, value in (("bias", 0), ("lift", 1), ("limit", 1 << 14)):
            constants[f"{i}.{name}"] = torch.full((out,), value, dtype=torch.int32)
    return Trunk((side, side, channels[0]), tuple(steps)), constants


def test_a_trunk_needs_one_images_rows_at_any_batch() -> None:
    trunk, constants = chain(32, 3, 16, 64, 16, 1)
    program = program_of(under(trunk), constants)
    workspace, latent = 32 * (16 + 64 + 16), 32 * 32  # one row of each map between
    assert program.table.program["workspace"] == workspace
    for batch in (1, 16):
        for call in (INFER, TRAIN, FEATURES):
            layer = 2 * batch * latent
            most = max(batch * latent + workspace, 1.1 * layer)
            assert batch * latent + workspace <= program.arena_bytes(call, batch) <= most
        assert program.arena_bytes(TRAIN_FROM, batch) < 1.1 * batch * latent


def test_constants_are_no_part_of_the_state() -> None:
    trunk, constants = chain(4, 3, 8, 8)
    table = program_of(under(trunk), constants).table
    bytes_ = sum(value.numpy().nbytes for value in constants.values())
    assert table.words.nbytes > bytes_ == table.program["constant_bytes"]
    assert table.state_bytes < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("place", 1 << 20), ("place", -1), ("weight", 1 << 20), ("bias", 2), ("lift", -4),
        ("limit", 1 << 20), ("shift", 23), ("shift", -1), ("height", 5), ("reads", 2), ("first", 1),
        ("rows", 5), ("rows", -1), ("kind", len(OPERATIONS)), ("kernel_height", 0), ("stride", 0),
        ("across", 0),
        ("groups", 0), ("groups", 2), ("groups", 8), ("groups", -1),
    ],
)  # fmt: skip
def test_a_damaged_operation_is_refused(name: str, value: int) -> None:
    trunk, constants = chain(4, 3, 8, 8)
    drawn = under(trunk)
    program = program_of(drawn, constants)
    operations = [dict(fields) for fields in program.table.frozen.operations]
    operations[0][name] = value
    frozen = dataclasses.replace(program.table.frozen, operations=operations)
    with pytest.raises(DfedgeError, match="cannot hold"):
        NativeProgram(drawn.plan, dataclasses.replace(program.table, frozen=frozen))


@pytest.mark.parametrize("kind", [-1, len(OPERATIONS), 1 << 30])
def test_an_unknown_kind_is_refused_before_it_is_asked(kind: int) -> None:
    """The second of two whose first is made row by row: its kind's table is not read."""
    trunk, constants = chain(4, 3, 8, 8)
    drawn = under(trunk)
    program = program_of(drawn, constants)
    operations = [dict(fields) for fields in program.table.frozen.operations]
    operations[0]["rows"], operations[1]["kind"] = 1, kind
    frozen = dataclasses.replace(program.table.frozen, operations=operations)
    with pytest.raises(DfedgeError, match="cannot hold"):
        NativeProgram(drawn.plan, dataclasses.replace(program.table, frozen=frozen))


def test_sums_beyond_int32_and_constants_beyond_bounds_are_refused() -> None:
    trunk, constants = chain(4, 3, 8, 8)
    drawn = under(trunk)
    wrong = {"0.bias": -(1 << 31), "1.lift": 129, "1.limit": -1, "0.limit": 1 << 15}
    for name, value in wrong.items():
        low = torch.full_like(constants[name], value)
        with pytest.raises(DfedgeError, match="cannot hold"):
            program_of(drawn, constants | {name: low})
    for factors, offset in (((1 << 24, 1 << 20), 0), ((1 << 20, 0), 2_100_000_000)):
        wide = Add("add", (2, 2), trunk.output_shape, factors, offset, 20)
        longer = replace(trunk, operations=(*trunk.operations, wide))
        with pytest.raises(DfedgeError, match="cannot hold"):
            program_of(under(longer), constants)
    table = torch.full((128,), -1, dtype=torch.int8)
    longer = replace(trunk, operations=(*trunk.operations, Lookup("f", (2,), trunk.output_shape)))
    with pytest.raises(DfedgeError, match="cannot hold"):
        program_of(under(longer), constants | {"2.table": table})
    each = Lookup("f", (2,), trunk.output_shape, each=True)
    longer = replace(trunk, operations=(*trunk.operations, each))
    tables = torch.zeros((8, 128), dtype=torch.int8)
    program_of(under(longer), constants | {"2.table": tables})
    tables[-1, -1] = -1
    with pytest.raises(DfedgeError, match="cannot hold"):
        program_of(under(longer), constants | {"2.table": tables})


def test_channels_that_are_not_there_and_means_of_nothing_are_refused() -> None:
    trunk, constants = chain(4, 3, 8)
    chosen = Select("select", (1,), (4, 4, 2))
    longer = replace(trunk, operations=(*trunk.operations, chosen))
    for order in ([0, 8], [-1, 0]):
        wrong = constants | {"1.order": torch.tensor(order, dtype=torch.int32)}
        with pytest.raises(DfedgeError, match="cannot hold"):
            program_of(under(longer), wrong)
    pool = AveragePool("mean", (1,), (6, 4, 8), (1, 1), 1, 1, 0, 0, (2, 0, 0, 0))
    longer = replace(trunk, operations=(*trunk.operations, pool))
    assert list(longer.flaws())
    with pytest.raises(DfedgeError, match="cannot hold"):
        program_of(under(longer), constants)


def test_constants_of_another_trunk_are_refused() -> None:
    trunk, constants = chain(4, 3, 8, 8)
    with pytest.raises(DfedgeError, match=r"constants 1\.bias.*adopt again"):
        program_of(under(trunk), {n: v for n, v in constants.items() if n != "1.bias"})


def test_a_table_cut_short_is_refused() -> None:
    trunk, constants = chain(4, 3, 8, 8)
    program = program_of(under(trunk), constants)
    words = program.table.words

    def check(count: int) -> Any:
        table = Buffer(words.ctypes.data, count)
        return program.library.dfe_check_sized(table)

    assert [check(words.nbytes), check(words.nbytes - 1), check(8)] == [0, 10, 10]
