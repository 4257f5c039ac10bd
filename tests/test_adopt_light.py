"""Real classifiers as onnx ships them: shapes are real, weights are drawn; onnxruntime is right."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from dfedge.adoption.blocks import tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.onnx_graph import load_onnx
from dfedge.adoption.read_onnx import read_onnx

pytestmark = pytest.mark.slow
FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
NETS = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
    "squeezenet", "zfnet512",
)  # fmt: skip


def drawn(model: onnx.ModelProto) -> onnx.ModelProto:
    """The files make their weights of one number each: others, of a sensible size, instead."""
    graph, numbers = model.graph, np.random.default_rng(0)
    shapes = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    uses = {
        name: (node.op_type, place) for node in graph.node for place, name in enumerate(node.input)
    }
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        kind, place = uses[node.output[0]]
        if kind == "Reshape":
            continue
        shape = tuple(map(int, shapes[node.input[0]]))
        if len(shape) > 1:
            # Above what keeps a signal's size: it must not vanish among the biases.
            value = numbers.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        elif kind == "Unsqueeze" or (kind == "BatchNormalization" and place in (1, 4)):
            value = numbers.uniform(0.5, 1, shape)
        else:
            value = numbers.standard_normal(shape) * 0.1
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
    return model


@pytest.mark.parametrize("name", NETS)
def test_a_real_classifier_is_read_as_it_is(name: str) -> None:
    model = drawn(load_onnx(FOLDER / f"light_{name}.onnx"))
    graph = read_onnx(model)
    last = model.graph.node[-1]
    if last.op_type == "Softmax":  # its scores say more than what it makes of them
        model.graph.node.remove(last)
        model.graph.output[0].name = last.input[0]
        model.graph.output[0].type.tensor_type.ClearField("shape")
    held = {one.name for one in model.graph.initializer}
    (given,) = (one.name for one in model.graph.input if one.name not in held)
    x = np.random.default_rng(1).random((1, 3, 224, 224), np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    wanted = session.run(None, {given: x})[0].reshape(1, 1000)
    for change in (lambda graph: graph, fold):
        graph = change(graph)
        found = graph.result(torch.from_numpy(x)).flatten(1).numpy()
        assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()
    assert len(np.unique(wanted)) > 100
    tail_of(graph)
