"""``adopt --check``: everything that stands in a net's way at once, and what each choice costs."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from test_adopt import weights  # noqa: F401
from test_head import folder_of
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.layers import MARGIN
from dfedge.adoption.load import open_model
from dfedge.exporters.fit import sized
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.planned import arena
from dfedge.exporters.program import Method
from dfedge.int8.bounds import most_features
from dfedge.int8.ops.values import MARGIN_UNIT
from dfedge.int8.stock.tiled import FLOORS


def test_the_sizes_are_those_of_the_adopted_net(dfedge, tmp_path: Path) -> None:
    found = dfedge("adopt", "foreign_nets:residual", "--check", "--image", "8x8", "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert (told["image"], told["scores"], told["blockers"]) == ([8, 8, 1], 10, [])
    rows = {row["learn"]: row for row in told["sizes"]}
    assert list(rows) == ["head", "last:1", "last:2", "last:3", "all"]
    for learn in ("head", "last:1", "all"):
        run = adopt(AdoptOptions("foreign_nets:residual", "digits", learn=learn),
                    tmp_path / learn.replace(":", "")).run  # fmt: skip
        plan = sized(run, ExportOptions(("c",)))
        for kind in ("train", "infer"):
            assert rows[learn][f"{kind}_bytes"] == arena(plan, Method(kind, 1), "c", FLOORS[0])
        assert (rows[learn]["flash_bytes"] > 0) == (learn != "all")
        assert rows[learn]["state_bytes"] > 0
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_had_is_a_row_with_its_reason(dfedge) -> None:
    found = dfedge("adopt", "foreign_nets:small", "--check", "--image", "8x8")
    assert found.code == 0, found.err
    assert "last:2, last:3, all: " in found.out and "at most: --learn last:1" in found.out


class Parts(nn.Module):
    """Two halves of a map, which come of one operation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.narrow = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.relu(self.conv(x)).chunk(2, 1)
        return self.fc(torch.relu(self.narrow(a) + self.narrow(b)).mean((2, 3)))


def halved() -> nn.Module:
    """For dfedge's own way in."""
    torch.manual_seed(0)
    return Parts().eval()


def test_a_net_that_can_be_adopted_is_checked_as_it_is_adopted() -> None:
    model = open_model("test_adopt_check:halved")
    graph, blockers = model.translated((12, 12, 3))
    assert graph is not None and not blockers
    x = torch.rand(2, 3, 12, 12)
    with torch.no_grad():
        assert torch.allclose(graph.result(x).flatten(1), halved()(x), atol=1e-5)


class Norms(nn.Module):
    """Two kinds of operations that are not known, one of them three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)
        self.norms = nn.ModuleList(nn.GroupNorm(2, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for norm in self.norms:
            x = torch.relu(norm(x))
        x = torch.cumsum(x, 2)
        return self.fc(x.mean((2, 3)))


def normed() -> nn.Module:
    """For dfedge's own way in."""
    return Norms()


def test_all_that_stands_in_the_way_of_a_function_is_listed_at_once(dfedge) -> None:
    found = dfedge("adopt", "test_adopt_check:normed", "--check", "--image", "16x16")
    assert found.code == 1 and "cannot be adopted as it is: 2 reason(s)" in found.err
    assert found.err.count("error:") == 1
    lines = [line for line in found.out.splitlines() if line[:2] in ("1.", "2.", "3.")]
    assert len(lines) == 2 and "group_norm" in lines[0] and "BatchNorm2d" in lines[0]
    assert lines[0].endswith("; 2 more of the same") and "cumsum" in lines[1]


def test_all_that_stands_in_the_way_of_a_file_is_listed_at_once(dfedge, tmp_path: Path) -> None:
    """With a size of the net's own, and one operation behind another."""
    rng = np.random.default_rng(0)
    values = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, 5)),
              "axis": np.array(2), "one": np.ones(4), "none": np.zeros(4)}  # fmt: skip
    held = [onnx.numpy_helper.from_array(
        np.asarray(value, np.int64 if name == "axis" else np.float32), name)
        for name, value in values.items()]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("CumSum", ["a", "axis"], ["b"], name="sums"),
        helper.make_node("InstanceNormalization", ["b", "one", "none"], ["c"], name="norm"),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 20, 12])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 5])], held,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    found = dfedge("adopt", tmp_path / "net.onnx", "--check", "--json")
    assert found.code == 1
    told = json.loads(found.out)
    assert told["image"] == [20, 12, 3] and told["scores"] == 5 and not told["sizes"]
    assert len(told["blockers"]) == 2
    assert "'sums'" in told["blockers"][0] and "'norm'" in told["blockers"][1]


def test_what_is_missing_without_check_is_named(dfedge) -> None:
    found = dfedge("adopt", "foreign_nets:small", "--data", "digits")
    assert found.code == 2 and "--out is missing; --check alone needs neither" in found.err
    found = dfedge("adopt", "foreign_nets:small")
    assert found.code == 2 and "--data is missing" in found.err


WIDE = most_features(round(MARGIN * MARGIN_UNIT)) + 1


def wide() -> nn.Module:
    """More features than an anchor holds, of a fit that needs no training."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDE), nn.ReLU(), nn.Linear(WIDE, 2)).eval()


def test_of_more_features_than_an_anchor_holds_the_last_layer_alone_learns(
    dfedge, tmp_path: Path
) -> None:
    data = folder_of(tmp_path / "d", {"seven": 7, "zero": 0})
    found = dfedge("adopt", "test_adopt_check:wide", "--data", data, "--head", "new", "--json",
                   "--out", tmp_path / "run")  # fmt: skip
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert len(told["learns"]) == 1 and told["counted"] == [0]
    assert told["test_accuracy"] >= 0.95
    out = tmp_path / "bundle"
    assert dfedge("export", tmp_path / "run", "--format", "onnx", "--out", out).code == 0


@pytest.mark.parametrize("name", ["none.onnx", "foreign_nets"])
def test_no_net_at_all_is_refused(name: str, dfedge) -> None:
    assert dfedge("adopt", name, "--check").code == 2
