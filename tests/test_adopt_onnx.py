"""ONNX files are adopted as the nets that they came from; onnxruntime says what is right."""

import math
import re
import shutil
from pathlib import Path

import foreign_nets
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from test_adopt import adopted_run, weights  # noqa: F401  fixtures

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.fold import fold
from dfedge.adoption.load import load_graph
from dfedge.adoption.onnx_graph import load_onnx
from dfedge.adoption.read_onnx import read_onnx
from dfedge.errors import DfedgeError
from dfedge.learn.run import Run
from dfedge.quiet import quiet

FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
Node = onnx.NodeProto
EXPORTERS = {
    "dynamo": {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)},
    "torchscript": {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, weights: None):  # noqa: F811
    """A foreign net's file, by its name and the exporter's."""
    folder = tmp_path_factory.mktemp("exported")

    def export(name: str, exporter: str) -> Path:
        path = folder / f"{name}-{exporter}.onnx"
        if not path.is_file():
            net = getattr(foreign_nets, name)().eval()
            with quiet():
                torch.onnx.export(net, (torch.zeros(3, 1, 8, 8),), path, **EXPORTERS[exporter])
        return path

    return export


# -- exporters -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", ["small", "residual", "tiny"])
def test_the_graph_is_that_of_the_net(exported, name: str, exporter: str) -> None:
    x, _ = foreign_nets.digits("test")
    ours = fold(load_graph(str(exported(name, exporter)), (8, 8, 1)))
    theirs = fold(load_graph(f"foreign_nets:{name}", (8, 8, 1)))
    for a, b in zip(ours.nodes, theirs.nodes, strict=True):
        for part in ("op", "reads", "shape", "kernel", "stride", "pads", "groups", "bounds"):
            assert getattr(a, part) == getattr(b, part), (a.name, part)
    with torch.no_grad():
        net = getattr(foreign_nets, name)()(x)
    assert torch.allclose(ours.result(x).flatten(1), net, atol=1e-3)
    assert torch.allclose(ours.result(x), theirs.result(x), atol=1e-3)


@pytest.mark.parametrize(
    "opset", [9, 10, 11, 13, 15, 18, 20, 21, 22]
)  # the older exporter ends at 20
def test_files_of_old_and_new_opsets_are_read(opset: int, tmp_path: Path) -> None:
    """By torch's newer exporter where the older one ends."""
    x, _ = foreign_nets.digits("test")
    for name in ("residual", "mobile", "small"):
        net = getattr(foreign_nets, name)().eval()
        with quiet():
            torch.onnx.export(net, (torch.zeros(3, 1, 8, 8),), tmp_path / "net.onnx",
                              dynamo=opset > 20, opset_version=opset)  # fmt: skip
        assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == opset
        found = fold(load_graph(str(tmp_path / "net.onnx"), (8, 8, 1))).result(x[:50]).flatten(1)
        with torch.no_grad():
            assert torch.allclose(found, net(x[:50]), atol=1e-3)


def test_an_exporter_that_tells_modules_and_lines_is_quoted(exported) -> None:
    graph = load_graph(str(exported("small", "dynamo")), (8, 8, 1))
    node = next(node for node in graph.nodes if node.op == "function")
    assert node.name == "stem.2"
    assert re.search(r"foreign_nets\.py:\d+$", node.where)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_without_folded_weights_the_run_is_equal(exported, exporter: str, tmp_path: Path) -> None:
    one, other = (
        adopt(AdoptOptions(model, "digits"), tmp_path / folder).run
        for model, folder in (
            (str(exported("tiny", exporter)), "onnx"),
            ("foreign_nets:tiny", "torch"),
        )
    )
    assert one.plan.trunk is not None and other.plan.trunk is not None
    assert len(one.plan.trunk.operations) == len(other.plan.trunk.operations)
    for name, value in one.constants().items():
        assert torch.equal(value, other.constants()[name]), name


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_with_them_it_is_as_accurate(exported, adopted_run: Run, exporter: str, tmp_path) -> None:  # noqa: F811
    found = adopt(AdoptOptions(str(exported("small", exporter)), "digits"), tmp_path / "run")
    row = adopted_run.metrics()[0]
    assert found.float_accuracy == row["float_accuracy"]
    assert abs(found.accuracy - row["test_accuracy"]) <= 0.005
    for name, value in found.run.constants().items():
        if name.endswith("weight"):
            apart = (value.int() - adopted_run.constants()[name].int()).abs()
            assert int(apart.max()) <= 1, name


# -- operators -----------------------------------------------------------------------------------


SCORES = ("scores", FLOAT, ["b", "k"])


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(nodes: list[Node], held: dict[str, np.ndarray], opset: int = 18, **given) -> bytes:
    """From 'x' to 'scores'."""
    shape, kind = given.get("shape", ["batch", 4, 6, 6]), given.get("kind", FLOAT)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(*out) for out in given.get("out", [SCORES])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    graph.input.extend(given.get("inputs", []))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return made.SerializeToString()


def scored(nodes: list[Node], held: dict[str, np.ndarray], shape: tuple[int, ...], opset: int = 18):
    """``nodes`` from 'x' to 'y', which has ``shape``, then a linear layer."""
    size = math.prod(shape)
    nodes = [*nodes, helper.make_node("Flatten", ["y"], ["flat"]),
             helper.make_node("Gemm", ["flat", "last", "none"], ["scores"], "last")]  # fmt: skip
    return model(nodes, held | {"last": rand(size, 10, seed=9), "none": rand(1)}, opset)


def right(content: bytes, side: int = 6) -> None:
    """The graph computes what onnxruntime does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    x = rand(2, 4, side, side, seed=3)
    (wanted,) = onnxruntime.InferenceSession(content, options).run(None, {"x": x})
    for change in (lambda graph: graph, fold):
        graph = change(read_onnx(onnx.load_model_from_string(content)))
        found = graph.result(torch.from_numpy(x)).flatten(1).numpy()
        assert np.allclose(found, wanted.reshape(2, 10), atol=2e-4), np.abs(found - wanted).max()


def op(kind: str, *inputs: str, out: str = "y", **attributes: object) -> Node:
    return helper.make_node(kind, list(inputs), [out], f"{kind} for {out}", **attributes)


@st.composite
def windows(draw, pools: bool = False):
    """(side, kernel, attributes) of a convolution or a pool."""
    side, stride = draw(st.integers(4, 9)), draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    attributes: dict[str, object] = {"strides": [stride, stride]}
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", None]))
    if auto is not None:
        attributes["auto_pad"] = auto
    if not pools and not (auto or "").startswith("SAME"):  # with these ONNX Runtime has none
        attributes["dilations"] = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    if auto in (None, "NOTSET"):
        pads = [draw(st.integers(0, min(2, kernel[i % 2] - 1 if pools else 2))) for i in range(4)]
        attributes["pads"] = pads
        if pools and min(kernel) >= stride and not any(pads[2:]):
            # Elsewhere onnx's inference counts windows in the padding that ONNX Runtime does not.
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    return side, kernel, attributes


def sided(nodes: list[Node], held: dict[str, np.ndarray], side: int, out: int) -> bytes:
    """Images of any side; the map 'y' of ``out`` channels is weighted by place, then scored."""
    content = onnx.load_model_from_string(
        model(nodes, held, shape=["batch", 4, side, side], out=[("y", FLOAT, list("bchw"))])
    )
    inferred = onnx.shape_inference.infer_shapes(content).graph.output[0].type.tensor_type
    _, _, height, width = (dim.dim_value for dim in inferred.shape.dim)
    assume(height > 0 and width > 0)
    content = onnx.load_model_from_string(scored(nodes, held, (out, height, width)))
    for i in (2, 3):
        content.graph.input[0].type.tensor_type.shape.dim[i].dim_value = side
    return content.SerializeToString()


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from([1, 2, 4]), st.booleans())
def test_a_convolution_is_padded_as_onnx_says(window, groups: int, bias: bool) -> None:
    side, kernel, attributes = window
    top, left, bottom, right_side = attributes.get("pads", (0, 0, 0, 0))
    reach = zip(kernel, attributes.get("dilations", (1, 1)), (top + bottom, left + right_side),
                strict=True)  # fmt: skip
    fits = all((taps - 1) * dilation < side + pads for taps, dilation, pads in reach)
    # onnx infers a map where there is none
    assume(fits or attributes.get("auto_pad", "").startswith("SAME"))
    held = {"w": rand(8, 4 // groups, *kernel), "b": rand(8, seed=1)}
    names = ["w", "b"] if bias else ["w"]
    nodes = [op("Conv", "x", *names, group=groups, **attributes)]
    right(sided(nodes, {name: held[name] for name in names}, side, 8), side)


@settings(max_examples=60, deadline=None)
@given(windows(pools=True), st.booleans())
def test_a_pool_is_padded_as_onnx_says_or_refused(window, largest: bool) -> None:
    side, kernel, attributes = window
    kind = "MaxPool" if largest else "AveragePool"
    assume("SAME" not in attributes.get("auto_pad", "") or min(kernel) >= attributes["strides"][0])
    content = sided([op(kind, "x", kernel_shape=kernel, **attributes)], {}, side, 4)
    try:
        right(content, side)
    except DfedgeError as error:
        assert "padding alone" in str(error)
        assert attributes.get("auto_pad", "").startswith("SAME")


def test_the_last_window_of_a_mean_need_not_be_full() -> None:
    pool = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    right(scored([op("AveragePool", "x", **pool)], {}, (4, 3, 3)))
    pool["kernel_shape"] = [3, 3]
    right(scored([op("MaxPool", "x", **pool)], {}, (4, 3, 3)))
    right(scored([op("AveragePool", "x", **pool)], {}, (4, 3, 3)))


def test_a_mean_may_count_its_padding() -> None:
    pool = {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1}
    right(scored([op("AveragePool", "x", **pool)], {}, (4, 6, 6)))


@pytest.mark.parametrize(
    ("held", "pads"),
    [
        ({"pads": np.array([0, 0, 1, 0, 0, 0, 2, 3])}, (1, 2, 0, 3)),
        ({"pads": np.array([1, 0, 2, 2]), "zero": np.float32(0), "axes": np.array([-1, 2])},
         (0, 2, 1, 2)),
    ],
)  # fmt: skip
def test_zeros_around_an_image_are_the_next_convolutions(held: dict, pads: tuple) -> None:
    nodes = [op("Pad", "x", *held, out="p"), op("Conv", "p", "w")]
    out = (8, 4 + sum(pads[:2]), 4 + sum(pads[2:]))
    content = scored(nodes, held | {"w": rand(8, 4, 3, 3)}, out)
    right(content)
    graph = fold(read_onnx(onnx.load_model_from_string(content)))
    assert [(node.op, node.pads) for node in graph.nodes[1:-1]] == [("conv", pads)]


CHAINS = {
    "flatten": [op("Flatten", "x", out="y")],
    "flatten from behind": [op("Flatten", "x", axis=-3)],
    "reshape, batch kept": [op("Reshape", "x", "keep")],
    "reshape, batch inferred": [op("Reshape", "x", "infer")],
    "shape, gather, concat": [
        op("Shape", "x", out="shape"),
        op("Gather", "shape", "zero", out="batch", axis=0),
        op("Unsqueeze", "batch", "axis 0", out="batch 1"),
        op("Concat", "batch 1", "rest", out="to", axis=0),
        op("Reshape", "x", "to"),
    ],
    "shape, slice, product": [
        op("Shape", "x", out="shape"),
        op("Slice", "shape", "one", "four", out="sides"),
        op("ReduceProd", "sides", out="size", keepdims=1),
        op("Slice", "shape", "axis 0", "one", out="batch 1"),
        op("Concat", "batch 1", "size", out="to", axis=0),
        op("Reshape", "x", "to"),
    ],
    "squeeze": [op("GlobalAveragePool", "x", out="m"), op("Squeeze", "m", "sides")],
    "unsqueeze": [
        op("ReduceMean", "x", "sides", out="m", keepdims=0),
        op("Unsqueeze", "m", "sides", out="map"),
        op("Conv", "map", "square"),
    ],
    "there and back": [
        op("Reshape", "x", "keep", out="v"),
        op("Relu", "v", out="r"),
        op("Reshape", "r", "back", out="map"),
        op("Conv", "map", "square"),
    ],
}
HELD = {
    "keep": np.array([0, -1]),
    "infer": np.array([-1, 144]),
    "back": np.array([0, 4, 6, 6]),
    "zero": np.array(0),
    "axis 0": np.array([0]),
    "rest": np.array([-1]),
    "one": np.array([1]),
    "four": np.array([4]),
    "sides": np.array([2, 3]),
    "square": rand(4, 4, 1, 1),
}


def used(nodes: list[Node], held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    made = {name for node in nodes for name in node.output}
    return {name: held[name] for node in nodes for name in node.input
            if name not in made | {"x"}}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_that_only_flatten_are_followed(chain: str) -> None:
    nodes = CHAINS[chain]
    size = 4 if {node.op_type for node in nodes} & {"GlobalAveragePool", "ReduceMean"} else 144
    right(scored(nodes, used(nodes, HELD), (size,)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.data())
def test_random_chains_of_reshapes_are_followed(kinds: list[int], data) -> None:
    nodes: list[Node] = []
    held: dict[str, np.ndarray] = {}
    shape: tuple[int, ...] = (4, 6, 6)
    sizes = [(144,), (4, 6, 6), (4, 36), (24, 6), (1, 144), (4, 6, 6, 1)]
    for i, kind in enumerate(kinds):
        given = nodes[-1].output[0] if nodes else "x"
        last = "y" if i == len(kinds) - 1 else f"v{i}"
        if kind == 0:
            shape = (math.prod(shape),)
            nodes.append(op("Flatten", given, out=last))
        elif kind == 1:
            shape = data.draw(st.sampled_from(sizes))
            held[f"to{i}"] = np.array([0 if data.draw(st.booleans()) else -1, *shape])
            nodes.append(op("Reshape", given, f"to{i}", out=last))
        elif kind == 2:
            axes = [j for j, side in enumerate(shape, 1) if side == 1]
            shape = tuple(side for side in shape if side != 1)
            held[f"to{i}"] = np.array(axes, np.int64)
            nodes.append(op("Squeeze", given, f"to{i}", out=last) if axes
                         else op("Identity", given, out=last))  # fmt: skip
        else:
            shape = (*shape, 1)
            held[f"to{i}"] = np.array([len(shape)])
            nodes.append(op("Unsqueeze", given, f"to{i}", out=last))
    content = scored(nodes, used(nodes, held), shape)
    right(content)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_reshape_across_samples_is_refused(axis: int) -> None:
    content = scored([op("Flatten", "x", axis=axis)], {}, (24, 12))
    with pytest.raises(DfedgeError, match="across samples"):
        read_onnx(onnx.load_model_from_string(content))


SQUARE = {"w": rand(4, 4, 3, 3), "v": rand(144, 10), "b": rand(10), "c": rand(4, 1, 1)}
OPERATORS: dict[str, tuple[list[Node], dict[str, np.ndarray], int]] = {
    "clip, inputs": ([op("Clip", "x", "low", "high")],
                     {"low": np.float32(-0.5), "high": np.float32(0.7)}, 18),
    "clip, upper bound alone": ([op("Clip", "x", "", "high")], {"high": np.float32(0.7)}, 18),
    "clip, attributes": ([op("Clip", "x", min=0.0, max=6.0)], {}, 10),
    "clip by constants that are nodes": (
        [op("Constant", out="low", value_float=0.1), op("Clip", "x", "low")], {}, 18,
    ),
    "hard sigmoid": ([op("HardSigmoid", "x", alpha=0.3, beta=0.2)], {}, 18),
    "hard sigmoid, defaults": ([op("HardSigmoid", "x")], {}, 18),
    "hard swish": ([op("HardSwish", "x")], {}, 18),
    "hard swish, gated": (
        [op("HardSigmoid", "x", out="s", alpha=1 / 6), op("Mul", "x", "s")], {}, 18,
    ),
    "hard swish, written out": (
        [op("Add", "x", "three", out="a"), op("Clip", "a", "zero", "six", out="s"),
         op("Mul", "x", "s", out="m"), op("Div", "m", "six")],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}, 18,
    ),
    "squeeze and excite": (
        [op("GlobalAveragePool", "x", out="m"), op("Conv", "m", "g", out="g1"),
         op("HardSigmoid", "g1", out="s"), op("Mul", "s", "x")],
        {"g": rand(4, 4, 1, 1)}, 18,
    ),
    "a gate by sums": (
        [op("ReduceMean", "x", out="m", axes=[-1, -2], keepdims=1), op("Mul", "x", "m")], {}, 13,
    ),
    "batch norm": (
        [op("BatchNormalization", "x", "s", "o", "m", "v", epsilon=1e-3)],
        {"s": rand(4), "o": rand(4, seed=1), "m": rand(4, seed=2), "v": rand(4, seed=3) ** 2}, 18,
    ),
    "residual": ([op("Conv", "x", "w", out="h", pads=[1, 1, 1, 1]), op("Add", "h", "x")],
                 {"w": SQUARE["w"]}, 18),
    "constants": (
        [op("Sub", "x", "c", out="a"), op("Sub", "one", "a", out="b"), op("Mul", "c", "b", out="d"),
         op("Div", "d", "c1", out="e"), op("Add", "e", "c1")],
        {"c": rand(4, 1, 1), "one": np.float32([1]), "c1": rand(1, 4, 1, 1, seed=5) + 3}, 18,
    ),
    "half of it in float16": (
        [op("Cast", "w16", out="w", to=FLOAT), op("Cast", "x", out="x1", to=FLOAT),
         op("Conv", "x1", "w", pads=[1, 1, 1, 1])],
        {"w16": SQUARE["w"].astype(np.float16)}, 18,
    ),
    "concat": ([op("Relu", "x", out="r"), op("Concat", "x", "r", "x", axis=-3)], {}, 18),
    "nothing": ([op("Identity", "x", out="i"), op("Dropout", "i")], {}, 18),
    "a constant folded": (
        [op("Mul", "w", "w", out="w2"), op("Conv", "x", "w2", pads=[1, 1, 1, 1])],
        {"w": SQUARE["w"]}, 18,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_onnxruntime_does(name: str) -> None:
    nodes, held, opset = OPERATORS[name]
    size = {"concat": 12}.get(name, 4)
    right(scored(nodes, {n: np.asarray(v) for n, v in held.items()}, (size, 6, 6), opset))


@pytest.mark.parametrize("name", ["matmul", "gemm"])
def test_a_linear_layer_is_a_gemm_or_a_product_and_a_sum(name: str) -> None:
    flat = op("Flatten", "x", out="f")
    held = {"v": SQUARE["v"], "b": SQUARE["b"]}
    if name == "matmul":
        right(model([flat, op("MatMul", "f", "v", out="m"), op("Add", "b", "m", out="scores")],
                    held))  # fmt: skip
        return
    held = {"v": rand(10, 144), "b": rand(1, 10)}
    gemm = op("Gemm", "f", "v", "b", out="scores", alpha=0.5, beta=2.0, transB=1)
    right(model([flat, gemm], held))


def test_a_file_of_an_older_time_lists_its_weights_as_inputs() -> None:
    value = helper.make_tensor_value_info("w", FLOAT, [4, 4, 3, 3])
    nodes = [op("Conv", "x", "w", out="c", pads=[1, 1, 1, 1]), op("Flatten", "c", out="f"),
             op("Gemm", "f", "v", "b", out="scores")]  # fmt: skip
    right(model(nodes, {n: SQUARE[n] for n in "wvb"}, opset=9, inputs=[value]))


# -- bad input -----------------------------------------------------------------------------------


def classifier(*nodes: Node, held: dict[str, np.ndarray] | None = None, **given) -> bytes:
    """For digits: nodes from 'x' to 'y' of one channel and any size, then a mean and scores."""
    nodes = nodes or (op("Relu", "x"),)
    nodes = (*nodes, op("GlobalAveragePool", "y", out="m"), op("Flatten", "m", out="f"),
             op("Gemm", "f", "last", out="scores"))  # fmt: skip
    held = (held or {}) | {"last": rand(1, given.pop("classes", 10))}
    return model(list(nodes), held, **{"shape": ["batch", 1, 8, 8]} | given)


W = {"w": rand(1, 1, 3, 3)}
SIGN = {"scale": np.float32(0.1), "zero": np.uint8(3)}
BRANCH = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "branch", [],
                           [helper.make_tensor_value_info("b", FLOAT, ["b", 1, 8, 8])])  # fmt: skip
VAST = {
    "sides": np.array([1 << 16] * 2), "one": rand(1, 1), "column": rand(1 << 16, 1),
    "row": rand(1, 1 << 16), "from": np.int64(0), "to": np.int64(1 << 32), "by": np.int64(1),
    "box": rand(1, 1024, 4), "rank": rand(1, 1, 1024),
}  # fmt: skip
REFUSED: dict[str, tuple[bytes, str]] = {
    "garbage": (b"\x00\x01 not a net", "cannot be read as an ONNX file"),
    "empty": (b"", "cannot be read as an ONNX file"),
    "no shape": (classifier(shape=None), "cannot be read as an ONNX file.*shape"),
    "two inputs": (
        classifier(inputs=[helper.make_tensor_value_info("z", FLOAT, ["b", 1, 8, 8])]),
        "takes 'x', 'z'; allowed: one input",
    ),
    "two outputs": (classifier(out=[SCORES, ("f", FLOAT, ["b", 1])]),
                    r"returns 2 results \(10, 1 a sample\)"),
    "seven": (classifier(classes=7), "gives 7 scores, and the data have 10 classes; --classes"),
    "a map": (model([op("Relu", "x", out="scores")], {}, shape=["b", 1, 8, 8],
                    out=[("scores", FLOAT, ["b", 1, 8, 8])]), "1 x 8 x 8 a sample.*--head add"),
    "two channels": (model([op("Relu", "x", out="scores")], {}, shape=["b", 2, 8, 8],
                           out=[("scores", FLOAT, ["b", 2, 8, 8])]),
                     "images of 2 channels, digits has .* with 1; give an .npz"),
    "bytes": (classifier(op("Cast", "x", to=FLOAT), kind=onnx.TensorProto.UINT8), "as UINT8"),
    "not finite": (classifier(op("Conv", "x", "w"), held={"w": W["w"] * np.nan}),
                   "net's w holds values that are not finite"),
    "negative variance": (
        classifier(op("BatchNormalization", "x", "o", "o", "o", "n"),
                   held={"o": rand(1), "n": np.float32([-1])}),
        "BatchNormalization with numbers that are not finite",
    ),
    "quantised": (classifier(op("QuantizeLinear", "x", "scale", "zero", out="q"),
                             op("DequantizeLinear", "q", "scale", "zero"), held=SIGN),
                  "QuantizeLinear' at node 'QuantizeLinear for q'.*give the float model"),
    "softmax": (classifier(op("Softmax", "x")), "leave softmax out"),
    "turned": (
        classifier(op("Transpose", "x", out="t", perm=[0, 1, 3, 2]), op("Conv", "t", "w"), held=W),
        "'Transpose .*' at node 'Transpose for t'.*whole channels",
    ),
    "a batch of any size": (
        classifier(op("Transpose", "x", perm=[0, 1, 3, 2]), shape=[1 << 30, 1, 8, 8]),
        "with a result of",
    ),
    "more samples": (
        classifier(op("Pad", "x", "around"), held={"around": np.array([1, 0, 0, 0, 0, 0, 0, 0])}),
        "Pad of samples or channels",
    ),
    "branching": (
        classifier(op("Cast", "one", out="c", to=onnx.TensorProto.BOOL),
                   op("If", "c", then_branch=BRANCH, else_branch=BRANCH),
                   held={"one": np.float32(1)}),
        r"If \(control flow\).*same operations",
    ),
    "dilated": (
        classifier(op("Conv", "x", "w", dilations=[20, 20], pads=[20] * 4), held=W),
        "dilated kernel spans 41 x 41.*at most 1024",
    ),
    "a dilated pool": (
        classifier(op("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])),
        "a pool with dilation",
    ),
    "trained": (classifier(op("Dropout", "x", "", "on"), held={"on": np.bool_(True)}), "eval"),
    "weights computed": (classifier(op("Conv", "x", "x")), "weights that are computed"),
    "second result": (
        classifier(helper.make_node("MaxPool", ["x"], ["p", "at"], "pool", kernel_shape=[2, 2]),
                   op("Cast", "at", to=FLOAT)),
        "Cast of 'at'",
    ),
    "foreign domain": (
        classifier(helper.make_node("FusedConv", ["x", "w"], ["y"], "fused", domain="com.acme"),
                   held=W),
        "'com.acme.FusedConv' at node 'fused'.*allowed: convolution",
    ),
    "across samples": (classifier(op("Reshape", "x", "to"), held={"to": np.array([1, -1, 8, 8])}),
                       "across samples"),
    "biases of another net": (classifier(op("Conv", "x", "w", "b"), held=W | {"b": rand(2)}),
                              "Conv with 2 numbers.*1, one a channel"),
    "a bound for each": (classifier(op("Clip", "x", "low"), held={"low": rand(8)}), "Clip"),
    "vast images": (
        model([op("Shape", "x", out="s"), op("Relu", "x", out="scores")], {},
              shape=["b", 1, 8, 1 << 31], out=[("scores", FLOAT, ["b", 1, 8, 1 << 31])]),
        r"takes images of 8 x 2147483648; allowed: sides of at most 4,096 pixels",
    ),
    "vast padding": (
        classifier(op("Pad", "x", "by"), held={"by": np.array([0] * 6 + [1 << 20] * 2)}),
        "Pad with a result of 1,099,528,405,.* values' at .*allowed: at most",
    ),
    "vast window": (
        classifier(op("AveragePool", "x", kernel_shape=[1 << 20] * 2, pads=[(1 << 19) - 1] * 4,
                      count_include_pad=1)),
        "AveragePool with a result of 1,099,511,627,776 values' at .*allowed: at most",
    ),
    **{
        f"vast constant of {node.op_type}": (
            classifier(node, op("Relu", "x"), held=VAST),
            f"'{node.op_type} with a result of 4,294,967,296 values' at node",
        )
        for node in (
            op("ConstantOfShape", "sides", out="v"),
            op("Expand", "one", "sides", out="v"),
            op("Tile", "one", "sides", out="v"),
            op("Add", "column", "row", out="v"),
            op("Range", "from", "to", "by", out="v"),
        )
    },
    "a constant of open size": (
        classifier(helper.make_node("NonMaxSuppression", ["box", "rank"], ["v"], "chosen"),
                   op("Relu", "x"), held=VAST),
        "with a result of open size' at node 'chosen'",
    ),
    "a long name": (classifier(held={"z" * 5000: rand(1) * np.nan}),
                    "net's z{1000}.*letters and more.*train it again"),
    "a whole plane": (classifier(op("Add", "x", "plane"), held={"plane": rand(8, 8)}),
                      "one number, or one a channel"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adopted_gets_one_clear_error(dfedge, tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    (tmp_path / "net.onnx").write_bytes(content)
    out = tmp_path / "run"
    result = dfedge("adopt", tmp_path / "net.onnx", "--data", "digits", "--out", out)
    assert result.code == 1, result.err
    assert re.search(said, " ".join(result.err.split())), result.err
    assert "Traceback" not in result.err and result.err.count("error:") == 1
    assert not out.exists()


def test_damaged_files_are_read_or_refused(exported, tmp_path: Path) -> None:
    content, numbers = exported("small", "torchscript").read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "net.onnx", 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in numbers.integers(0, len(content), 4):
            damaged[place] = numbers.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert read_onnx(load_onnx(path)).nodes[-1].shape == (10, 1, 1)
        except DfedgeError:
            refused += 1
    assert 0 < refused < 150


@pytest.mark.parametrize("gone", [-6, -9])
@pytest.mark.parametrize("step", [1, -1])
def test_a_slice_of_no_values_does_not_end_the_process(
    gone: int, step: int, tmp_path: Path
) -> None:
    """Where onnx's own inference of shapes aborts."""
    held = {
        "pads": np.array([0, 0, gone, 0, 0, 0, 0, 0]), "first": np.array([1]),
        "last": np.array([3]), "axis": np.array([2]), "step": np.array([step]),
    }  # fmt: skip
    nodes = [op("Pad", "x", "pads", out="p"),
             op("Slice", "p", "first", "last", "axis", "step", out="s"),
             op("GlobalMaxPool", "s", out="m"), op("Flatten", "m", out="scores")]  # fmt: skip
    (tmp_path / "net.onnx").write_bytes(model(nodes, held, opset=18))
    with pytest.raises(DfedgeError, match=r"Slice.*reads a value of no numbers"):
        load_onnx(tmp_path / "net.onnx")


def test_data_that_do_not_lie_beside_the_file_are_missed(exported, tmp_path: Path) -> None:
    path = exported("small", "dynamo")
    assert path.with_suffix(".onnx.data").is_file()
    shutil.copy(path, tmp_path / "net.onnx")
    with pytest.raises(DfedgeError, match=r"cannot be read as an ONNX file.*\.data file beside it"):
        load_onnx(tmp_path / "net.onnx")


# -- integers ------------------------------------------------------------------------------------


def test_paddings_of_other_frameworks_lose_nothing_in_integers(tmp_path: Path) -> None:
    """Uneven ones, around what is signed and what is not."""
    same = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    nodes = [op("Conv", "x", "w", out="a", **same), op("HardSwish", "a", out="s"),
             op("Conv", "s", "w", out="c", group=4, pads=[0, 1, 2, 1]), op("Relu", "c", out="r"),
             op("MaxPool", "r", out="p", kernel_shape=[3, 3], auto_pad="SAME_LOWER"),
             op("Conv", "p", "v", out="g", pads=[0, 0, 1, 1]),
             op("MaxPool", "g", out="y", kernel_shape=[2, 2], pads=[1, 0, 0, 1])]  # fmt: skip
    held = {"w": rand(4, 1, 3, 3), "v": rand(4, 4, 2, 2), "last": rand(4, 10)}
    ends = [op("GlobalAveragePool", "y", out="m"), op("Flatten", "m", out="f"),
            op("Gemm", "f", "last", out="scores")]  # fmt: skip
    (tmp_path / "net.onnx").write_bytes(model([*nodes, *ends], held, shape=["b", 1, 8, 8]))
    found = adopt(AdoptOptions(str(tmp_path / "net.onnx"), "digits"), tmp_path / "run")
    assert len(found.losses) == 7
    assert min(loss.snr for loss in found.losses) > 30, found.losses
