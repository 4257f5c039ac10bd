"""Files .pt2 of strangers: none runs code, and ordinary ones are read as torch reads them."""

import io
import sys
from contextlib import suppress
from pathlib import Path

import hostile_pt2
import pytest
import torch
from hostile_pt2 import HOSTILE, MODEL, edited, members, ordinary, packed
from torch import nn

from dfedge.adoption.load import load_graph, open_model
from dfedge.errors import LONGEST_MESSAGE, DfedgeError


def written(folder: Path, raw: bytes) -> str:
    path = folder / "net.pt2"
    path.write_bytes(raw)
    return str(path)


def read(path: str) -> DfedgeError | None:
    """What the file is refused with; None where it is read."""
    try:
        load_graph(path, (8, 8, 1))
    except DfedgeError as error:
        assert "\n" not in str(error)
        return error
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", [way for way in HOSTILE if way not in ("function", "name")])
def test_torch_itself_runs_their_code(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next test would show nothing."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    mark = tmp_path / "mark"
    with suppress(Exception):
        torch.export.load(io.BytesIO(packed(HOSTILE[way](members(ordinary()), mark))))
    assert mark.is_dir()


@pytest.mark.parametrize("way", HOSTILE)
def test_no_archive_runs_code(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    mark = tmp_path / "mark"
    refused = read(written(tmp_path, packed(HOSTILE[way](members(ordinary()), mark))))
    assert not mark.exists()
    harmless = ("sample inputs", "old weights", "old constants")  # what is not needed is not read
    assert (refused is None) == (way in harmless)


def test_an_archive_of_old_torch_is_refused_unread(tmp_path: Path) -> None:
    refused = read(written(tmp_path, hostile_pt2.before_2_8(tmp_path / "mark")))
    assert not (tmp_path / "mark").exists()
    assert "torch 2.8" in str(refused)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_ordinary_archive_holds_what_torch_reads_in_it(tmp_path: Path) -> None:
    ours = open_model(written(tmp_path, ordinary())).program((8, 8, 1))
    theirs = torch.export.load(io.BytesIO(ordinary())).run_decompositions({})
    assert ours.state_dict.keys() == theirs.state_dict.keys()
    for name, value in ours.state_dict.items():
        assert torch.equal(value, theirs.state_dict[name])
    assert str(ours.graph) == str(theirs.graph)


def test_an_open_batch_is_read(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x.view(x.size(0), -1))

    out, batch = io.BytesIO(), torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Flat(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, out)
    assert read(written(tmp_path, out.getvalue())) is None


def test_a_constant_of_huge_size_is_not_made(tmp_path: Path) -> None:
    """A record of no bytes stands for zeros of any shape; strides of zero repeat a value."""

    def huge(tree: dict) -> None:
        meta = next(iter(tree["config"].values()))["tensor_meta"]
        meta["sizes"] = [{"as_int": 1 << 20}, {"as_int": 1 << 12}]
        meta["strides"] = [{"as_int": 0}, {"as_int": 0}]

    found = edited(members(ordinary()), hostile_pt2.WEIGHTS, huge)
    for content in (found["data/weights/weight_0"], b""):
        refused = read(written(tmp_path, packed(found | {"data/weights/weight_0": content})))
        assert "weight_0" in str(refused) and "bytes" in str(refused)


def test_an_operation_that_dfedge_does_not_know_is_named(tmp_path: Path) -> None:
    plain = members(ordinary())
    for target in (
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__.mro",
        "torch.ops.other.op.default",
        "torch.ops.aten.relu",
        "torch.save",
        "_operator.methodcaller",
        "math.sqrt",
    ):
        model = plain[MODEL].replace(b"torch.ops.aten.relu.default", target.encode())
        refused = str(read(written(tmp_path, packed(plain | {MODEL: model}))))
        assert f"operation '{target.removeprefix('torch.ops.aten.')}' at node 'relu'" in refused


def test_a_constant_that_the_file_lets_grow_is_not_made(tmp_path: Path) -> None:
    class Grown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(64, 10)
            self.register_buffer("one", torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x.flatten(1)) + self.one.repeat(1 << 30).sum()

    out = io.BytesIO()
    torch.export.save(torch.export.export(Grown(), (torch.zeros(1, 1, 8, 8),)), out)
    assert "a result of 1,073,741,824 values" in str(read(written(tmp_path, out.getvalue())))


class Complex(nn.Module):
    """Weights or a factor that are not real numbers."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.last = nn.Linear(64, 10, dtype=torch.complex64 if what == "weights" else None)
        self.register_buffer("held", torch.tensor(2j))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        if self.what == "weights":
            return nn.functional.linear(x.to(torch.complex64), self.last.weight, self.last.bias)
        return self.last(x) * (self.held if self.what == "constant" else 2j)


@pytest.mark.parametrize("what", ["weights", "constant", "number"])
def test_complex_numbers_are_refused_and_not_cut_to_real_ones(what: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    torch.export.save(torch.export.export(Complex(what), (torch.zeros(1, 1, 8, 8),)), out)
    assert "complex" in str(read(written(tmp_path, out.getvalue())))


@pytest.mark.parametrize("place", ["device", "payload", "node", "operation", "input"])
def test_a_refusal_quotes_little_of_a_long_name(place: str, tmp_path: Path) -> None:
    long, plain = "x" * 5000, members(ordinary())

    def change(tree: dict) -> None:
        if place == "device":
            next(iter(tree["config"].values()))["tensor_meta"]["device"]["type"] = long
        elif place == "payload":
            tree["config"] = {long: next(iter(tree["config"].values())) | {"use_pickle": True}}
        elif place == "node":
            tree["graph_module"]["graph"]["nodes"][0] |= {"name": long, "target": "a.b"}
        elif place == "operation":
            tree["graph_module"]["graph"]["nodes"][0]["target"] = long
        else:
            tree["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = long

    where = hostile_pt2.WEIGHTS if place in ("device", "payload") else MODEL
    refused = str(read(written(tmp_path, packed(edited(plain, where, change)))))
    assert refused != "None" and len(refused) <= LONGEST_MESSAGE
