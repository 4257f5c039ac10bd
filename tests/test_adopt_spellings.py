"""One function is one operation, however an exporter writes it; onnxruntime says what is right."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adopt_onnx import FLOAT, Node, model, op, rand, right, scored, used

from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.read_onnx import read_onnx

HELD = {
    "whole": np.array([2, 3]), "across": np.array([3]), "down": np.array([2]),
    "one": np.array([1]), "two": np.array([2]), "four": np.array([4]), "end": np.array([9]),
    "zero": np.array([0]), "order": np.array([2, 0, 3, 1]), "w": rand(4, 4, 3, 3),
    "v": rand(4, 4, 1, 1), "c": rand(4), "halves": np.array([2, 2]), "parts": np.array([1, 3]),
    "groups": np.array([0, 2, 2, 6, 6]), "back": np.array([0, 4, 6, 6]), "fl": np.float32(36),
    "vector": np.array([0, 4]), "row": np.array([0, 1, 4]), "column": np.array([0, 4, 1, 1]),
}  # fmt: skip


def graph_of(content: bytes) -> ForeignGraph:
    return fold(read_onnx(onnx.load_model_from_string(content)))


def helper_split(given: str, parts: str) -> Node:
    return onnx.helper.make_node("Split", [given, parts], ["a", "b"], "split", axis=1)


def kinds(graph: ForeignGraph) -> list[tuple]:
    return [(node.op, node.shape, node.kernel, node.stride, node.pads) for node in graph.nodes]


def pool(kind: str, **attributes: object) -> list[Node]:
    return [op(kind, "x", kernel_shape=[6, 6], **attributes)]


MAXIMA: dict[str, tuple[list[Node], int]] = {
    "whole map": (pool("MaxPool"), 18),
    "strides that do not matter": (pool("MaxPool", strides=[6, 1]), 18),
    "GlobalMaxPool": ([op("GlobalMaxPool", "x")], 18),
    "ReduceMax": ([op("ReduceMax", "x", "whole")], 18),
    "ReduceMax of old": ([op("ReduceMax", "x", axes=[-2, -1])], 11),
    "ReduceMax, flat": ([op("ReduceMax", "x", "whole", keepdims=0)], 18),
    "padding that does not matter": (
        [op("MaxPool", "x", kernel_shape=[8, 7], pads=[1, 0, 1, 1])], 18,
    ),
}  # fmt: skip
MEANS: dict[str, tuple[list[Node], int]] = {
    "whole map": (pool("AveragePool"), 18),
    "strides that do not matter": (pool("AveragePool", strides=[1, 5]), 18),
    "GlobalAveragePool": ([op("GlobalAveragePool", "x")], 18),
    "ReduceMean": ([op("ReduceMean", "x", "whole")], 18),
    "ReduceMean, flat": ([op("ReduceMean", "x", axes=[2, 3], keepdims=0)], 11),
    "padding that does not count": (
        [op("AveragePool", "x", kernel_shape=[8, 8], pads=[1, 1, 1, 1])], 18,
    ),
    "of a form": (
        [op("Reshape", "x", "plane", out="f"), op("ReduceMean", "f", "two")], 18,
    ),
    "of channels last": (
        [op("Transpose", "x", out="t", perm=[0, 2, 3, 1]),
         op("ReduceMean", "t", axes=[1, 2], keepdims=0)], 11,
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", MAXIMA)
def test_a_maximum_over_the_image_is_one_operation(spelling: str) -> None:
    nodes, opset = MAXIMA[spelling]
    content = scored(nodes, used(nodes, HELD), (4,), opset)
    right(content)
    assert kinds(graph_of(content)) == kinds(graph_of(scored(*in_short("MaxPool"), (4,))))


@pytest.mark.parametrize("spelling", MEANS)
def test_a_mean_over_the_image_is_one_operation(spelling: str) -> None:
    nodes, opset = MEANS[spelling]
    content = scored(nodes, used(nodes, HELD | {"plane": np.array([0, 4, 36])}), (4,), opset)
    right(content)
    assert kinds(graph_of(content)) == kinds(graph_of(scored(*in_short("AveragePool"), (4,))))


def in_short(kind: str) -> tuple[list[Node], dict[str, np.ndarray]]:
    return pool(kind), {}


CHAINS: dict[str, tuple[list[Node], tuple[int, ...], int]] = {
    "unsqueezed of old, a constant": (
        [op("Unsqueeze", "c", out="u", axes=[1, 2]), op("Mul", "x", "u")], (4, 6, 6), 9,
    ),
    "unsqueezed of old, a value": (
        [op("GlobalAveragePool", "x", out="m"), op("Squeeze", "m", out="s", axes=[2, 3]),
         op("Unsqueeze", "s", out="u", axes=[2, 3]), op("Conv", "u", "v")], (4,), 11,
    ),
    "Sum of three": ([op("Relu", "x", out="r"), op("Sum", "x", "r", "x")], (4, 6, 6), 18),
    "Sum of one": ([op("Sum", "x")], (4, 6, 6), 18),
    "ReduceSum": (
        [op("ReduceSum", "x", "whole", out="s"), op("Div", "s", "fl")], (4,), 18,
    ),
    "rows alone": ([op("ReduceMean", "x", "across")], (4, 6), 18),
    "rows, then columns": (
        [op("ReduceMean", "x", "across", out="r", keepdims=0),
         op("ReduceMean", "r", "down")], (4,), 18,
    ),
    "split": (
        [helper_split("x", "halves"), op("Relu", "b", out="r"), op("Concat", "r", "a", axis=1)],
        (4, 6, 6), 18,
    ),
    "slice": (
        [op("Slice", "x", "one", "end", "one", out="s"), op("Slice", "x", "zero", "one", "one",
         out="t"), op("Concat", "s", "t", "x", axis=1)], (8, 6, 6), 18,
    ),
    "gather": ([op("Gather", "x", "order", axis=1)], (4, 6, 6), 18),
    "shuffle": (
        [op("Reshape", "x", "groups", out="g"), op("Transpose", "g", out="t", perm=[0, 2, 1, 3, 4]),
         op("Reshape", "t", "back", out="s"), op("Conv", "s", "w")], (4, 4, 4), 18,
    ),
    "there and back": (
        [op("Transpose", "x", out="t", perm=[0, 2, 3, 1]), op("Relu", "t", out="r"),
         op("Mul", "r", "c", out="m"), op("Transpose", "m", perm=[0, 3, 1, 2])], (4, 6, 6), 18,
    ),
    "flattened with channels last": (
        [op("Transpose", "x", perm=[0, 2, 3, 1])], (4, 6, 6), 18,
    ),
    "unit sides": (
        [op("GlobalAveragePool", "x", out="m"), op("Reshape", "m", "row", out="r"),
         op("Transpose", "r", out="t", perm=[0, 2, 1]), op("Relu", "t", out="q"),
         op("Reshape", "q", "column", out="s"), op("Conv", "s", "v")], (4,), 18,
    ),
    "neighbours": (
        [op("LRN", "x", alpha=0.5, beta=0.75, bias=2.0, size=3)], (4, 6, 6), 18,
    ),
    "strides": ([op("Conv", "x", "w", strides=[2, 1])], (4, 2, 4), 18),
    "dilation": ([op("Conv", "x", "w", dilations=[2, 1], pads=[2, 0, 1, 1])], (4, 5, 5), 18),
    "dilation of one": ([op("Conv", "x", "v", dilations=[2, 3])], (4, 6, 6), 18),
    "a mean with padding": (
        [op("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1])],
        (4, 3, 6), 18,
    ),
    "a pool with dilation of one": (
        [op("MaxPool", "x", kernel_shape=[1, 3], dilations=[4, 1])], (4, 6, 4), 18,
    ),
    "dropout with a mask": (
        [Node(op_type="Dropout", name="d", input=["x"], output=["y", "mask"])], (4, 6, 6), 9,
    ),
    "a batch norm of old": (
        [op("BatchNormalization", "x", "c2", "c", "c", "c2", momentum=0.9)], (4, 6, 6), 9,
    ),
    "a form computed from a form": (
        [op("ConstantOfShape", "one", out="z", value=onnx.numpy_helper.from_array(np.array([0]))),
         op("Concat", "z", "minus", out="to", axis=0), op("Reshape", "x", "to")], (144,), 12,
    ),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_what_exporters_write_is_read(chain: str) -> None:
    nodes, shape, opset = CHAINS[chain]
    held = HELD | {"c2": rand(4) ** 2 + 0.5, "minus": np.array([-1])}
    right(scored(nodes, used(nodes, held), shape, opset))


def test_a_shuffle_is_one_selection() -> None:
    nodes = CHAINS["shuffle"][0]
    graph = graph_of(scored(nodes, used(nodes, HELD), (4, 4, 4)))
    assert [node.op for node in graph.nodes] == ["input", "select", "conv", "conv"]
    assert graph.nodes[1].channels == (0, 2, 1, 3)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_orders_of_channels_are_followed(data) -> None:
    """Splits, slices, shuffles and transposes that come back, one after the other."""
    nodes: list[Node] = []
    held: dict[str, np.ndarray] = {}
    channels, name = 4, "x"
    for i in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["Gather", "Slice", "Transpose", "Relu"]))
        if kind == "Gather":
            order = data.draw(st.lists(st.integers(0, channels - 1), min_size=1, max_size=6))
            held[f"o{i}"] = np.array(order)
            nodes.append(op(kind, name, f"o{i}", out=f"v{i}", axis=1))
            channels = len(order)
        elif kind == "Slice":
            first = data.draw(st.integers(0, channels - 1))
            step = data.draw(st.integers(1, 2))
            held |= {f"b{i}": np.array([first]), f"e{i}": np.array([99]), f"s{i}": np.array([step]),
                     f"a{i}": np.array([1])}  # fmt: skip
            nodes.append(op(kind, name, f"b{i}", f"e{i}", f"a{i}", f"s{i}", out=f"v{i}"))
            channels = -(-(channels - first) // step)
        elif kind == "Transpose":
            nodes += [op(kind, name, out=f"t{i}", perm=[0, 2, 3, 1]),
                      op("Relu", f"t{i}", out=f"r{i}"),
                      op(kind, f"r{i}", out=f"v{i}", perm=[0, 3, 1, 2])]  # fmt: skip
        else:
            nodes.append(op(kind, name, out=f"v{i}"))
        name = f"v{i}"
    held["w"] = rand(3, channels, 2, 2)
    right(scored([*nodes, op("Conv", name, "w")], held, (3, 5, 5)))


def against(content: bytes, x: np.ndarray, classes: int) -> None:
    """The graph computes what onnxruntime does, of any input."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    (wanted,) = onnxruntime.InferenceSession(content, options).run(None, {"x": x})
    seen = torch.from_numpy(x)
    graph = read_onnx(onnx.load_model_from_string(content))
    seen = seen if seen.shape[1:] == graph.nodes[0].shape else seen.permute(0, 3, 1, 2)
    for change in (lambda graph: graph, fold):
        graph = change(graph)
        found = graph.result(seen).flatten(1).numpy()
        if graph.left_out:
            assert (found.argmax(1) == wanted.reshape(len(x), -1).argmax(1)).all()
        elif np.allclose(wanted.sum(1), 1):
            found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
        assert np.allclose(found, wanted.reshape(len(x), -1), atol=2e-4) or graph.left_out


@pytest.mark.parametrize("before", ["nothing", "its mean"])
def test_images_may_come_with_channels_last(before: str) -> None:
    nodes = [op("Transpose", "x", out="t", perm=[0, 3, 1, 2])]
    if before == "its mean":
        nodes = [op("Sub", "x", "mean", out="s"), op("Transpose", "s", out="t", perm=[0, 3, 1, 2])]
    nodes += [op("Conv", "t", "w", out="c"), op("Flatten", "c", out="f"),
              op("Gemm", "f", "last", out="scores")]  # fmt: skip
    held = {"w": rand(5, 3, 3, 3), "last": rand(5 * 6 * 4, 10), "mean": rand(3)}
    content = model(nodes, used(nodes, held), shape=["b", 8, 6, 3])
    against(content, rand(2, 8, 6, 3, seed=4), 10)
    assert graph_of(content).nodes[0].shape == (3, 8, 6)


ENDS: dict[str, list[Node]] = {
    "convolution, relu, mean": [op("Conv", "x", "k", "b", out="c"), op("Relu", "c", out="r"),
                                op("GlobalAveragePool", "r", out="m"), op("Softmax", "m", axis=1,
                                out="scores")],
    "convolution, mean": [op("Conv", "x", "k", "b", out="c"),
                          op("GlobalAveragePool", "c", out="scores")],
    "mean, convolution": [op("GlobalAveragePool", "x", out="m"),
                          op("Conv", "m", "k", "b", out="scores")],
    "a sum of scores": [op("GlobalAveragePool", "x", out="m"), op("Conv", "m", "k", "b", out="c"),
                        op("Relu", "c", out="r"), op("Add", "r", "c", out="scores")],
    "softmax, then flat": [op("GlobalAveragePool", "x", out="m"), op("Conv", "m", "k", "b",
                           out="c"), op("Softmax", "c", axis=1, out="s"),
                           op("Flatten", "s", out="scores")],
    "a part of the scores": [op("GlobalMaxPool", "x", out="m"), op("Conv", "m", "k", "b",
                             out="c"), op("Flatten", "c", out="f"),
                             op("Slice", "f", "one", "end", "one", out="scores")],
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_scores_that_no_linear_layer_gives_are_handed_on(end: str) -> None:
    nodes, classes = ENDS[end], 6 if end == "a part of the scores" else 7
    held = {"k": rand(7, 4, 1, 1), "b": rand(7), "one": np.array([1]), "end": np.array([99])}
    content = model(nodes, used(nodes, held), out=[("scores", FLOAT, None)])
    graph = read_onnx(onnx.load_model_from_string(content))
    against(content, rand(3, 4, 6, 6, seed=5), classes)
    last = fold(graph).nodes[-1]
    assert (last.op, last.shape, last.bounds) == ("conv", (classes, 1, 1), (-math.inf, math.inf))


def test_a_mean_after_the_scores_goes_before_them() -> None:
    content = model(ENDS["convolution, mean"], {"k": rand(7, 4, 1, 1), "b": rand(7)},
                    out=[("scores", FLOAT, ["b", 7, 1, 1])])  # fmt: skip
    assert [node.op for node in graph_of(content).nodes] == ["input", "mean", "conv"]
