"""The operations of frozen trunks: one definition, the same integers in every arithmetic."""

import json
import random
from math import prod

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trunks import Drawing
from torch import Tensor

from dfedge.int8.exact import Exact
from dfedge.int8.ops.trunk import operation, text_of
from dfedge.int8.stock import trunk as stock
from dfedge.int8.stock.tiled import FLOORS, Tiled
from dfedge.native import build, layout_header
from dfedge.native.trunk import FIELDS
from dfedge.operations import OPERATIONS, AnyOperation, Lookup
from dfedge.trunk import Trunk

Drawn = tuple[AnyOperation, list[Tensor], list[Tensor]]


def draw(kind: type, seed: int) -> Drawn:
    """An operation of a kind, three samples of what goes in, and its constants."""
    r = random.Random(seed)
    while True:
        size = (r.randint(1, 9), r.randint(1, 9), r.choice([1, 3, 8, 17]))
        drawing = Drawing(r, size)
        drawing.shapes.append((1, 1, size[2]))
        drawing.add(kind)
        if drawing.operations:
            break
    made = drawing.operations[0]
    g = torch.Generator().manual_seed(seed % (1 << 31))
    values = [torch.randint(0, 128, (3, *s), generator=g, dtype=torch.int8) for s in drawing.shapes]
    parts = [values[read] for read in made.reads]
    names = made.constants([drawing.shapes[read] for read in made.reads])
    return made, parts, [drawing.constants[f"0.{name}"] for name in names]


@pytest.mark.parametrize("kind", OPERATIONS)
@given(st.integers(0, 1 << 30))
@settings(max_examples=20, deadline=None)
def test_an_operation_is_the_same_in_stock_operators_whole_and_in_tiles(
    kind: type, seed: int
) -> None:
    record, parts, constants = draw(kind, seed)
    wanted = operation(text_of(record), parts, constants)
    assert wanted.shape == (3, *record.shape)
    assert wanted.dtype == torch.int8
    assert int(wanted.min()) >= 0
    assert torch.equal(stock.operation(text_of(record), parts, constants), wanted)
    for floor in (0, FLOORS[0]):
        assert torch.equal(Tiled(floor).operation(text_of(record), parts, constants), wanted)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_record_comes_back_from_json_and_has_a_place_in_c(kind: type) -> None:
    record = draw(kind, 1)[0]
    said = json.loads(text_of(record))
    assert said["operation"] == kind.kind()
    assert msgspec.json.decode(text_of(record), type=AnyOperation) == record
    assert record.fields().keys() <= set(FIELDS)
    assert (build.SOURCES / f"op_{kind.kind()}.c").exists()


@pytest.mark.parametrize("kind", OPERATIONS)
@given(st.integers(0, 1 << 30))
@settings(max_examples=20, deadline=None)
def test_a_result_of_another_shape_is_a_flaw(kind: type, seed: int) -> None:
    record, parts, _ = draw(kind, seed)
    if len(set(record.reads)) > 1 or record.reads[0] != 0:
        return
    shape = tuple(parts[0].shape[1:])
    assert not list(Trunk(shape, (record,)).flaws())
    height, width, channels = record.shape
    for wrong in ((height + 1, width, channels), (height, width, channels + 1)):
        changed = msgspec.structs.replace(record, shape=wrong)
        free = wrong[2] != channels and (
            kind.__name__ == "Select"
            or (kind.__name__ == "Convolution" and not record.depthwise and record.groups == 1)
        )
        free = free or (kind.__name__ == "Gather" and wrong[2] == channels)
        assert bool(list(Trunk(shape, (changed,)).flaws())) != free
    fewer = msgspec.structs.replace(record, reads=())
    assert list(Trunk(shape, (fewer,)).flaws())


def test_the_structures_of_c_are_those_that_python_writes() -> None:
    told = "python -m dfedge.native.layout_header writes it anew"
    assert layout_header.HEADER.read_text() == layout_header.header(), told


def test_a_table_is_looked_up_at_every_value() -> None:
    table = torch.arange(127, -1, -1, dtype=torch.int8)
    x = torch.arange(128, dtype=torch.int8).reshape(1, 4, 8, 4)
    record = OPERATIONS[4]("f", (0,), (4, 8, 4))
    assert torch.equal(operation(text_of(record), [x], [table]), 127 - x)
    assert prod(x.shape) == 128


def test_each_channel_has_a_table_of_its_own() -> None:
    table = torch.stack([torch.arange(128), torch.arange(127, -1, -1)]).to(torch.int8)
    x = torch.arange(128, dtype=torch.int8).reshape(1, 4, 16, 2)
    record = Lookup("f", (0,), (4, 16, 2), each=True)
    found = operation(text_of(record), [x], [table])
    assert torch.equal(found, torch.stack([x[..., 0], 127 - x[..., 1]], -1))
    assert record.constants([(4, 16, 2)]) == {"table": ("int8", (2, 128))}


def test_a_record_of_one_table_says_nothing_of_channels() -> None:
    """So that manifests of before are read, and written, as they were."""
    said = json.loads(text_of(Lookup("f", (0,), (4, 8, 4))))
    assert said == {"operation": "lookup", "name": "f", "reads": [0], "shape": [4, 8, 4]}


@pytest.mark.parametrize(
    ("channels", "groups"), [(3, 1), (1000, 1), (5000, 1), (20_000, 1), (4000, 2)]
)
@pytest.mark.parametrize("largest", [False, True])
def test_a_convolutions_sums_are_exact_however_large(
    channels: int, groups: int, largest: bool
) -> None:
    """Beyond 2^24 float32 holds every second integer alone."""
    rng = np.random.default_rng(0)
    x = rng.integers(127 if largest else 0, 128, (2, 2, 2, channels), np.int8)
    w = rng.integers(127 if largest else -127, 128, (4, channels // groups, 6), np.int8)
    w[0, 0, :] = 1  # so that sums are odd
    geometry = [2, 2, 1, 0, 0, 0, 0, 0, 1, groups]
    given = (torch.from_numpy(one) for one in (x, w, np.arange(6, dtype=np.int32)))
    found = Exact().convolve(*given, geometry, lambda total: total)
    flat = x.reshape(2, 4, groups, -1).astype(np.int64)
    per = 6 // groups
    wanted = [
        np.einsum("btc,tco->bo", flat[:, :, g], w[:, :, g * per : (g + 1) * per].astype(np.int64))
        for g in range(groups)
    ]
    assert np.array_equal(found.numpy()[:, 0, 0], np.concatenate(wanted, 1) + np.arange(6))
