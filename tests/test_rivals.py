"""Rivals of adopted nets: the plan's frozen part runs forwards, the part that learns is trained."""

import math
from pathlib import Path

import executorch_rivals
import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace
from random_trunks import draw_adopted, draw_trunk
from test_adopt import adopted_bundle, adopted_run, weights  # noqa: F401  fixtures

from dfedge.bench import int8_litert, int8_onnx, report
from dfedge.bench.frozen import FUNCTIONS, FloatTrunk, frozen
from dfedge.bench.measure import WRITTEN
from dfedge.bench.rival import LEARNING_RATE, FloatLoss, FloatNet, example, latents
from dfedge.bundle import Bundle
from dfedge.exporters.executorch_plan import planned_footprint
from dfedge.footprint import Footprint
from dfedge.operations import OPERATIONS, Convolution
from dfedge.plan import Conv, Layer, Plan
from dfedge.profile import rivals
from dfedge.profile.untrained import plan_of


@pytest.fixture(scope="module")
def plan(adopted_bundle: Bundle) -> Plan:  # noqa: F811
    """Its head learns; two rows are spare."""
    return adopted_bundle.manifest.plan


def test_every_operation_has_a_form_in_float() -> None:
    assert FUNCTIONS.keys() == set(OPERATIONS)


@pytest.mark.parametrize("seed", range(40))
def test_a_float_trunk_has_the_shapes_of_the_integers(seed: int) -> None:
    trunk, _ = draw_trunk(seed)
    height, width, channels = trunk.input_shape
    found = FloatTrunk(trunk)(torch.rand(2, channels, height, width))
    rows, columns, made = trunk.output_shape
    assert found.shape == (2, made, rows, columns)


@pytest.mark.parametrize("seed", range(10))
def test_any_adopted_plan_has_a_rival(seed: int) -> None:
    plan = draw_adopted(seed)[0].plan
    loss, found = FloatLoss(plan)(*example(plan, 3))
    loss.backward()
    assert found.shape == (3,)


LINE = Plan(
    (
        Layer((Conv(24, 1, 3, 8, (5, 1), pads=(2, 2, 0, 0)),), pool=True, cells=3),
        Layer((Conv(12, 1, 8, 6, (3, 1), pads=(1, 1, 0, 0)),), cells=5),
    ),
    4,
)
"""Of windows [24, 3]; the second layer's map is cut into five cells of three."""


def test_a_net_of_signals_has_every_rival(tmp_path: Path) -> None:
    loss, found = FloatLoss(LINE)(*example(LINE, 3))
    loss.backward()
    assert found.shape == (3,)
    int8_litert.write(LINE, 2, tmp_path / "net.tflite")
    scores = run_litert(tmp_path / "net.tflite", np.zeros((2, 24, 1, 3), np.int8))
    assert scores.shape == (2, 4)


@pytest.mark.parametrize("seed", range(40))
def test_groups_of_a_trunk_are_groups_in_its_rivals(seed: int, tmp_path: Path) -> None:
    drawn, _ = draw_adopted(seed)
    plan = drawn.plan
    wanted = sum(
        math.prod(one.constants([plan.trunk.shapes[read] for read in one.reads])["weight"][1])
        for one in plan.trunk.operations
        if isinstance(one, Convolution)
    )
    module = FloatTrunk(plan.trunk)
    found = sum(p.numel() for name, p in module.named_parameters() if name.endswith("weight"))
    assert found == wanted
    if seed < 12:
        int8_litert.write(plan, 1, tmp_path / "net.tflite")
        x = np.zeros((1, *plan.input_shape), np.int8)
        assert run_litert(tmp_path / "net.tflite", x).shape == (1, plan.classes)


def run_litert(path: Path, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(str(path))
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], x)
    net.invoke()
    return net.get_tensor(net.get_output_details()[0]["index"])


def test_only_what_learns_is_trained(plan: Plan) -> None:
    rival = FloatLoss(plan)
    names = {name.split(".")[0] for name, _ in rival.named_parameters()}
    assert names == {"net"}
    assert dict(rival.frozen.named_buffers())
    last = plan.layers[-1].convs[0]
    assert rival.net.head.weight.shape == (plan.classes, last.in_channels)
    assert sum(1 for _ in FloatNet(replace(plan, cut=1)).parameters()) == 2  # weight and bias


@pytest.mark.parametrize("stretches", [1, 2])
def test_a_planned_step_is_that_of_autograd(plan: Plan, stretches: int) -> None:
    x, y = example(plan, 4)
    eager = FloatLoss(plan)
    values = {name.removeprefix("net."): value.detach() for name, value in tensors(eager).items()}
    trace = rivals.in_place(plan, 4, stretches)
    *made, found = trace.module(*(values[name] for name in trace.inputs[:-2]), x, y)
    loss = eager(x, y)[0]
    loss.backward()
    assert torch.allclose(found, loss, rtol=1e-5)
    for (name, value), new in zip(eager.net.named_parameters(), made, strict=True):
        wanted = value.detach() - LEARNING_RATE * value.grad
        assert torch.allclose(new, wanted, atol=1e-6), name


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def test_a_joint_step_gives_the_gradients_of_autograd(plan: Plan) -> None:
    eager, (x, y) = FloatLoss(plan), example(plan, 4)
    trace = rivals.joint(plan, 4)
    values = {name: value.detach().clone() for name, value in tensors(eager).items()}
    loss, _, *rest = trace.module(*(values[name] for name in trace.inputs[:-2]), x, y)
    wanted = eager(x, y)[0]
    wanted.backward()
    assert torch.allclose(loss, wanted, rtol=1e-5)
    for (name, value), gradient in zip(eager.named_parameters(), rest, strict=False):
        assert torch.allclose(gradient, value.grad, atol=1e-6), name


@pytest.mark.parametrize(("seed", "batch"), [(None, 1), (4, 16), (5, 1)])
def test_a_computed_plan_is_that_of_executorch(seed: int | None, batch: int) -> None:
    """Of a net of one's own, and of adopted ones: every byte, and when it is alive."""
    own = plan_of("plain-64", "1x8x8", 10, 3, "df")
    plan = own if seed is None else draw_adopted(seed)[0].plan
    for found, (arena, graph) in (
        (rivals._in_place(plan, batch, 1), executorch_rivals.in_place(plan, batch, 1)),
        (rivals._in_place(plan, batch, 2), executorch_rivals.in_place(plan, batch, 2)),
        (rivals._joint(plan, batch), executorch_rivals.joint(plan, batch)),
    ):
        wanted = planned_footprint(graph, [], label="y")
        assert found.arena_bytes == arena
        assert without_names(found.footprint) == without_names(wanted)


def without_names(found: Footprint) -> Footprint:
    return replace(found, largest=[replace(one, name="") for one in found.largest])


def test_the_ideal_of_int8_stores_what_the_learning_part_sees(plan: Plan) -> None:
    ideal = rivals.int8_ideal(plan, 64)
    conv = [conv for layer in plan.layers for conv in layer.convs]
    given, made = latents(plan, 1)[0].numel(), [one.channels for one in conv]
    assert ideal.arena_bytes >= 64 * (given + sum(made) + max(made))
    assert ideal.state_bytes == sum(
        one.in_channels * (1 if one.depthwise else one.channels) + 4 * one.channels for one in conv
    )


def test_what_lies_below_the_cut_is_frozen(plan: Plan) -> None:
    assert not list(frozen(replace(plan, cut=1)).parameters())
    assert len(frozen(replace(plan, cut=1))) == 2  # the trunk, and one layer


def test_bench_measures_back_propagation_of_the_same_part(
    dfedge,
    adopted_bundle: Bundle,  # noqa: F811
) -> None:
    measured = dfedge("bench", adopted_bundle.folder, "--runtime", "native", "--threads", 1,
                      "--seconds", 0.05, "--json")  # fmt: skip
    assert measured.code == 0, measured.err
    rows = {(row["contender"], row["method"]): row for row in measured.json["rows"]}
    assert rows.keys() == {
        *((name, f"{kind}_b1") for name in ("native", "pytorch-bp") for kind in ("train", "infer")),
        ("executorch-bp", "train_b1"), ("onnx-int8", "infer_b1"), ("litert-int8", "infer_b1"),
    }  # fmt: skip
    answer, yardstick = rows["native", "infer_b1"], rows["litert-int8", "infer_b1"]
    assert answer["ratios"].keys() == {"pytorch-bp", "onnx-int8", "litert-int8"}
    assert answer["ratios"]["litert-int8"] == pytest.approx(
        yardstick["ms"] / answer["ms"], rel=0.1, abs=0.01
    )
    assert yardstick["ratios"] == {}
    assert list(measured.json["not_run"]) == ["ort-training-bp"]


def test_a_rival_that_cannot_be_made_is_told_and_the_others_run(
    adopted_bundle: Bundle,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(int8_litert, "write", refuses)
    monkeypatch.setattr(
        report, "RIVALS", {name: report.RIVALS[name] for name in ("pytorch-bp", "litert-int8")}
    )
    found = report.bench(adopted_bundle, ["native"], (1,), 0.01)
    assert {row.contender for row in found.rows} == {"native", "pytorch-bp"}
    assert found.not_run["litert-int8"] == "RuntimeError: no such operator"


@pytest.mark.parametrize("seed", range(20))
def test_yardsticks_of_any_adopted_plan_run_with_quantised_operators(
    seed: int, tmp_path: Path
) -> None:
    plan = draw_adopted(seed)[0].plan
    int8_litert.write(plan, 2, tmp_path / "net.tflite")
    scores = WRITTEN["litert-int8"](tmp_path / "net.tflite", 1)()["scores"]
    assert (scores.shape, scores.dtype) == ((2, plan.classes), np.int8)


def test_onnxruntimes_yardstick_is_quantised(plan: Plan, tmp_path: Path) -> None:
    int8_onnx.write(plan, 2, tmp_path / "net.onnx")
    (scores,) = WRITTEN["onnx-int8"](tmp_path / "net.onnx", 1)()
    assert scores.shape == (2, plan.classes)
    nodes = onnx.load(tmp_path / "net.onnx").graph
    from_int8 = {node.output[0] for node in nodes.node if node.op_type == "DequantizeLinear"}
    convs = [node for node in nodes.node if node.op_type == "Conv"]
    assert convs and all(set(node.input[:2]) <= from_int8 for node in convs)
    assert onnx.TensorProto.INT8 in {one.data_type for one in nodes.initializer}
