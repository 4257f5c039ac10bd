"""An ONNX file from a graph."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dfedge.exporters.graph import StockGraph

OPSET, IR_VERSION = 20, 9
"""Of ONNX's operators, and the file format that came with them."""


def model_of(graph: StockGraph, name: str) -> onnx.ModelProto:
    """The file's content, checked.

    Raises:
        onnx.checker.ValidationError: ONNX's own rules refuse it, or infer another shape or type.
    """
    ends = {tensor: name for name, tensor in (graph.inputs | graph.outputs).items()}
    names = [ends.get(i, f"t{i}") for i in range(len(graph.shapes))]

    def value(tensor: int) -> onnx.ValueInfoProto:
        return value_info(names[tensor], graph.types[tensor], graph.shapes[tensor])

    nodes = [
        helper.make_node(
            node.kind, [names[i] for i in node.inputs], [names[node.output]], **(node.options or {})
        )
        for node in graph.nodes
    ]
    constants = [
        numpy_helper.from_array(array, names[tensor]) for tensor, array in graph.constants.items()
    ]
    made = helper.make_graph(
        nodes,
        name,
        [value(tensor) for tensor in graph.inputs.values()],
        [value(tensor) for tensor in graph.outputs.values()],
        constants,
    )
    domains = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=domains, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def value_info(name: str, dtype: Any, shape: Any) -> onnx.ValueInfoProto:
    """A tensor at the edge of a graph."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))
