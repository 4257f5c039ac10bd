"""Traces lowered to the operators of formats."""

import numpy as np
import onnx
import pytest
import torch
from conftest import refused
from onnx import helper

from dfedge.bundle import Bundle
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.lowered import Format, Lowered
from dfedge.exporters.onnx.model import IR_VERSION, OPSET, model_of
from dfedge.exporters.onnx.write import ONNX
from dfedge.exporters.program import Method, methods
from dfedge.exporters.traced import in_stock, traced


@pytest.fixture(scope="module")
def source(mcu: Bundle) -> ExportSource:
    state = {name: torch.from_numpy(value) for name, value in mcu.initial_state().items()}
    return ExportSource(mcu.manifest.plan, state, methods(mcu.manifest.plan, {1, 3}))


def test_onnx_infers_the_shapes_and_types_that_the_graph_says(source: ExportSource) -> None:
    for method in source.methods:
        graph = Lowered(ONNX, source).graph(method)
        model = model_of(graph, method.name)
        assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
        found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        known = {}
        for value in [*found.input, *found.value_info, *found.output]:
            kind = value.type.tensor_type
            shape = tuple(side.dim_value for side in kind.shape.dim)
            known[value.name] = shape, helper.tensor_dtype_to_np_dtype(kind.elem_type)
        for node, proto in zip(graph.nodes, model.graph.node, strict=True):
            shape, dtype = graph.shapes[node.output], graph.types[node.output]
            assert known[proto.output[0]] == (shape, dtype), proto


def test_everything_that_is_made_is_read(source: ExportSource) -> None:
    for method in source.methods:
        graph = Lowered(ONNX, source).graph(method)
        read = {tensor for node in graph.nodes for tensor in node.inputs}
        made = {node.output for node in graph.nodes} | set(graph.constants)
        assert made <= read | set(graph.outputs.values())
        assert len(set(graph.outputs.values())) == len(graph.outputs)
        assert not set(graph.outputs.values()) & {*graph.inputs.values(), *graph.constants}


def test_a_trace_is_made_once_and_depends_on_sizes_alone(source: ExportSource) -> None:
    method = Method("train", 3)
    assert in_stock(source.plan, method) is in_stock(source.plan, method)
    one, other = traced(source.plan, method), traced(source.plan, method).copy()
    assert one.module.graph is not other.module.graph
    assert list(one.inputs)[-2:] == ["x", "y"]
    assert [*one.results] == [*other.results]


def test_an_operator_that_a_format_does_not_have_is_named(source: ExportSource) -> None:
    known = {target: lower for target, lower in ONNX.table.items() if "floor" not in str(target)}
    poorer = Format("onnx", known, ONNX.copied, ONNX.renaming)
    message = refused(lambda: Lowered(poorer, source).graph(Method("infer", 1)))
    assert "onnx, method infer_b1: no lowering of aten.floor.default" in message
    assert "dfedge/exporters/onnx/lowerings.py" in message


def test_a_graph_that_goes_on_from_another_leaves_it_as_it_was(source: ExportSource) -> None:
    graph = Lowered(ONNX, source).graph(Method("infer", 1))
    before = len(graph.nodes), len(graph.shapes), dict(graph.outputs)
    other = graph.copy()
    other.op("Identity", [other.const(np.int32(5))], (), np.int32)
    other.outputs.clear()
    assert (len(graph.nodes), len(graph.shapes), graph.outputs) == before
