"""onnx's inference of shapes, without what ends the process: a Slice of a side below one.

Its C++ keeps a start within 0 and the side; where the side is below zero, or is 0 and the step goes
backwards, that is an assertion which aborts.
"""

from collections.abc import Iterator
from math import prod

import onnx
from onnx import helper
from onnx.shape_inference import infer_shapes

from dfedge.errors import DfedgeError

SHORT = 1024
"""Numbers of a weight that may be a size: its values count."""


def inferred(model: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
    """`onnx.shape_inference.infer_shapes`.

    Raises:
        DfedgeError: a Slice reads a value that has no numbers.
    """
    slices = [i for i, node in enumerate(model.graph.node) if node.op_type == "Slice"]
    light = _light(model) if slices else model
    for number in slices:
        node, before = model.graph.node[number], onnx.ModelProto()
        before.CopyFrom(light)
        del before.graph.node[number:], before.graph.output[:]
        if any(side < 1 for side in _sides(infer_shapes(before, data_prop=True).graph, node)):
            name = node.name or node.output[0]
            raise DfedgeError(f"operation 'Slice' at node '{name}' reads a value of no numbers")
    return infer_shapes(model, **how)


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without large weights, which become inputs."""
    light, graph = onnx.ModelProto(), model.graph
    light.CopyFrom(onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import))
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.value_info.extend(graph.value_info)
    known = {value.name for value in graph.input}
    for weight in graph.initializer:
        if prod(weight.dims) <= SHORT:
            light.graph.initializer.append(weight)
        elif weight.name not in known:
            made = helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            light.graph.input.append(made)
    return light


def _sides(graph: onnx.GraphProto, node: onnx.NodeProto) -> Iterator[int]:
    """Of what a node reads, as far as they are known."""
    for value in (*graph.value_info, *graph.input):
        if node.input and value.name == node.input[0]:
            for side in value.type.tensor_type.shape.dim:
                if side.HasField("dim_value"):
                    yield side.dim_value
    for weight in graph.initializer:
        if node.input and weight.name == node.input[0]:
            yield from weight.dims
