"""LiteRT files are adopted as the nets that they hold; LiteRT says what is right."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from trials.tflite_files import ordinary

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.centre import centred, sides
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph as FloatGraph
from dfedge.adoption.graph import ForeignNode
from dfedge.adoption.load import load_graph, open_model
from dfedge.adoption.refusal import Site
from dfedge.adoption.translation import Translation
from dfedge.errors import DfedgeError
from dfedge.exporters.graph import StockGraph
from dfedge.exporters.litert.file import TYPES, File, Quantisation
from dfedge.exporters.litert.options import Options, concat_options, plain_options, reduce_options
from dfedge.exporters.litert.options import reshape_options as reshaped

Op, Fused = schema.BuiltinOperator, schema.ActivationFunctionType
NUMBERS = np.random.default_rng(0)
SIDES = (6, 8, 3)
CLASSES = 4
PLAIN = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
Float = NDArray[np.float32]


def options(kind: str, **fields: Any) -> Options:
    """Options of a kind with some fields."""
    made = plain_options(kind)
    for name, value in fields.items():
        assert hasattr(made.fields, name)
        setattr(made.fields, name, value)
    return made


def drawn(*shape: int) -> Float:
    return (NUMBERS.standard_normal(shape) / 2).astype(np.float32)


def to_bytes(graph: StockGraph, scales: Mapping[int, Quantisation] | None = None) -> bytes:
    file = File({Op.CONV_2D: 3, Op.FULLY_CONNECTED: 4} if scales else {})
    file.add("main", graph, scales)
    return file.to_bytes()


class Maker:
    """A float net in the making: what `step` gives becomes the next one's input."""

    def __init__(self, *sides: int) -> None:
        self.g = StockGraph()
        self.at = self.g.inputs["x"] = self.g.tensor((1, *sides), np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.g.shapes[self.at]

    def const(self, value: Any, dtype: Any = np.float32) -> int:
        return self.g.const(value, dtype)

    def step(self, op: int, rest: list[int], shape: tuple[int, ...], opts: Any = None) -> None:
        self.at = self.g.op(op, [self.at, *rest], shape, np.float32, opts)

    def conv(self, channels: int, side: int = 3, **fields: Any) -> None:
        fields = PLAIN | fields
        weights = self.const(drawn(channels, side, side, self.shape[-1]))
        height = -(-self.shape[1] // fields["strideH"])
        width = -(-self.shape[2] // fields["strideW"])
        self.step(Op.CONV_2D, [weights, self.const(drawn(channels))],
                  (1, height, width, channels), options("Conv2D", **fields))  # fmt: skip

    def end(self, bias: Float | None = None) -> bytes:
        """Scores of all values."""
        count = int(np.prod(self.shape))
        if len(self.shape) > 2:
            self.step(Op.RESHAPE, [self.const([1, count], np.int32)], (1, count),
                      reshaped((1, count)))  # fmt: skip
        head = self.const(drawn(CLASSES, count))
        lift = self.const(drawn(CLASSES) if bias is None else bias)
        self.step(Op.FULLY_CONNECTED, [head, lift], (1, CLASSES), options("FullyConnected"))
        return self.bytes()

    def bytes(self) -> bytes:
        """The file of all that was made, whose result is the last."""
        self.g.outputs["scores"] = self.at
        return to_bytes(self.g)


def depthwise(m: Maker) -> None:
    m.step(Op.DEPTHWISE_CONV_2D, [m.const(drawn(1, 3, 3, 6)), m.const(drawn(6))], (1, 3, 4, 6),
           options("DepthwiseConv2D", strideW=2, strideH=2, depthMultiplier=2, dilationWFactor=1,
                   dilationHFactor=1, fusedActivationFunction=Fused.RELU6))  # fmt: skip


def pool(op: int, padding: int) -> Callable[[Maker], None]:
    def make(m: Maker) -> None:
        m.step(op, [], (1, 3, 4, 3), options("Pool2D", strideW=2, strideH=2, filterWidth=2,
                                      filterHeight=2, padding=padding))  # fmt: skip

    return make


def joined(m: Maker) -> None:
    """A branch beside another, along channels."""
    first = m.at
    m.conv(4, fusedActivationFunction=Fused.RELU)
    m.at = m.g.op(Op.CONCATENATION, [m.at, first], (1, *SIDES[:2], 7), np.float32,
                  concat_options(3))  # fmt: skip


def residual(m: Maker) -> None:
    """Added to what went in."""
    first = m.at
    m.conv(3)
    m.at = m.g.op(Op.ADD, [m.at, first], m.shape, np.float32,
                  options("Add", fusedActivationFunction=Fused.RELU))  # fmt: skip


def squeezed(m: Maker) -> None:
    """Squeeze and excite: a map times a number for each channel."""
    first = m.at
    m.step(Op.MEAN, [m.const([1, 2], np.int32)], (1, 1, 1, 3), reduce_options(True))
    m.conv(3, 1)
    m.step(Op.LOGISTIC, [], m.shape)
    m.at = m.g.op(Op.MUL, [m.at, first], (1, *SIDES), np.float32, options("Mul"))


def by_channel(m: Maker) -> None:
    """Arithmetic with a number for each channel."""
    m.step(Op.MUL, [m.const(drawn(3) + 1)], m.shape, options("Mul"))
    m.step(Op.SUB, [m.const(drawn(1, 1, 1, 3))], m.shape, options("Sub"))
    m.conv(4)


def padded(m: Maker) -> None:
    m.step(Op.PAD, [m.const([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)], (1, 9, 9, 3),
           options("Pad"))  # fmt: skip
    m.conv(4)


def mean_ends(m: Maker) -> None:
    m.conv(5, fusedActivationFunction=Fused.RELU)
    m.step(Op.MEAN, [m.const([1, 2], np.int32)], (1, 5), reduce_options(False))


def cut(m: Maker) -> None:
    """Half of the channels of a convolution."""
    m.conv(6)
    m.step(Op.STRIDED_SLICE, [m.const(one, np.int32) for one in
                              ([0, 0, 0, 2], [0, 0, 0, 5], [1, 1, 1, 1])],
           (1, *SIDES[:2], 3), options("StridedSlice", beginMask=7, endMask=7))  # fmt: skip


def cut_by_numbers(m: Maker) -> None:
    """The batch of one is named as well."""
    numbers = [m.const(one, np.int32) for one in ([0, 1, 0, 0], [1, 4, 7, 3])]
    m.step(Op.SLICE, numbers, (1, 4, 7, 3), options("Slice"))
    m.conv(4)


def turned(m: Maker) -> None:
    """Channels to the front and back, as nets made from torch's have."""
    m.conv(4)
    there, back = [m.const(perm, np.int32) for perm in ([0, 3, 1, 2], [0, 2, 3, 1])]
    m.step(Op.TRANSPOSE, [there], (1, 4, *SIDES[:2]), options("Transpose"))
    m.step(Op.LOGISTIC, [], m.shape)
    m.step(Op.TRANSPOSE, [back], (1, *SIDES[:2], 4), options("Transpose"))
    m.conv(4)


def one_value(op: int, kind: str = "", **fields: Any) -> Callable[[Maker], None]:
    def make(m: Maker) -> None:
        m.conv(4)
        m.step(op, [], m.shape, options(kind, **fields) if kind else None)

    return make


def prelu(m: Maker) -> None:
    m.conv(4)
    m.step(Op.PRELU, [m.const(np.abs(drawn(1, 1, 4)))], m.shape)


def enlarged(op: int, kind: str, height: int, width: int, half: bool) -> Callable[[Maker], None]:
    def make(m: Maker) -> None:
        size = m.const([height, width], np.int32)
        m.step(op, [size], (1, height, width, 3), options(kind, halfPixelCenters=half))
        m.conv(4)

    return make


def dilated(m: Maker) -> None:
    m.conv(4, dilationWFactor=2, dilationHFactor=2)


def mirrored(m: Maker) -> None:
    m.step(Op.MIRROR_PAD, [m.const([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)], (1, 9, 9, 3),
           options("MirrorPad"))  # fmt: skip
    m.conv(4)


NETS: dict[str, Callable[[Maker], None]] = {
    "convolution": lambda m: m.conv(5, strideH=2, strideW=2, fusedActivationFunction=Fused.RELU),
    "depthwise": depthwise,
    "average pool": pool(Op.AVERAGE_POOL_2D, schema.Padding.VALID),
    "max pool": pool(Op.MAX_POOL_2D, schema.Padding.SAME),
    "concatenation": joined,
    "residual": residual,
    "squeeze and excite": squeezed,
    "arithmetic by channel": by_channel,
    "pad": padded,
    "mirrored": mirrored,
    "dilated": dilated,
    **{
        f"{word} of {word_of} pixels": enlarged(op, kind, *size, half)
        for word, op, kind, size in (
            ("nearest", Op.RESIZE_NEAREST_NEIGHBOR, "ResizeNearestNeighbor", (9, 17)),
            ("bilinear", Op.RESIZE_BILINEAR, "ResizeBilinear", (12, 24)),
        )
        for word_of, half in (("middles", True), ("corners", False))
    },
    "mean at the end": mean_ends,
    "slice": cut,
    "slice by numbers": cut_by_numbers,
    "transpose": turned,
    "prelu": prelu,
    "leaky": one_value(Op.LEAKY_RELU, "LeakyRelu", alpha=0.1),
    "hard swish": one_value(Op.HARD_SWISH),
    "elu": one_value(Op.ELU),
    "gelu": one_value(Op.GELU, "Gelu", approximate=False),
    "relu6": one_value(Op.RELU6),
    "logistic": one_value(Op.LOGISTIC),
}


def theirs(path: Path, x: NDArray[Any]) -> NDArray[np.float64]:
    """Results of LiteRT's own kernels, in real numbers."""
    net = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    net.allocate_tensors()
    (given,), (made,) = net.get_input_details(), net.get_output_details()
    found = []
    for one in x:
        net.set_tensor(given["index"], one.reshape(given["shape"]).astype(given["dtype"]))
        net.invoke()
        found.append(net.get_tensor(made["index"])[0])
    scale, zero = made["quantization"]
    return np.array(found, np.float64) if not scale else scale * (np.array(found, float) - zero)


def ours(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    """Of images [N, H, W, C], 0..1."""
    graph = fold(load_graph(str(path), x.shape[1:]))
    given = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
    return graph.result(given).flatten(1).numpy()


@pytest.mark.parametrize("name", NETS)
def test_a_float_net_is_the_same_function(name: str, tmp_path: Path) -> None:
    maker, path = Maker(*SIDES), tmp_path / "net.tflite"
    NETS[name](maker)
    path.write_bytes(maker.end())
    x = NUMBERS.random((5, *SIDES)).astype(np.float32)
    assert np.allclose(ours(path, x), theirs(path, x), atol=1e-4)


@pytest.mark.parametrize(
    ("given", "size"),
    [((8, 8), (8, 8, 1)), ((24, 3), (24, 1, 3)), ((10,), (1, 1, 10)), ((5, 6, 3), (5, 6, 3))],
)
def test_the_size_of_an_input_is_its_own(
    given: tuple[int, ...], size: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(Maker(*given).end())
    assert open_model(str(path)).size == size
    x = NUMBERS.random((4, *size)).astype(np.float32)
    assert np.allclose(ours(path, x), theirs(path, x), atol=1e-4)


def quantised(path: Path, zero: int, bias_scale: bool) -> None:
    """Weights with a scale for each channel; the ReLU is only in the range of the codes."""
    draw, g, scales = np.random.default_rng(1), StockGraph(), {}
    x = g.inputs["x"] = g.tensor((1, *SIDES), np.int8)
    scales[x] = Quantisation((1 / 64,), zero)
    weights = g.const(draw.integers(-127, 128, (4, 3, 3, 3)), np.int8)
    scales[weights] = Quantisation(tuple(float(one) for one in draw.uniform(0.002, 0.004, 4)))
    bias = g.const(draw.integers(-900, 900, 4))
    if bias_scale:
        scales[bias] = Quantisation(tuple(s / 64 for s in scales[weights].scales))
    h = g.op(Op.CONV_2D, [x, weights, bias], (1, *SIDES[:2], 4), np.int8,
             options("Conv2D", **PLAIN))  # fmt: skip
    scales[h] = Quantisation((0.05,), -128)
    head = g.const(draw.integers(-90, 90, (CLASSES, 192)), np.int8)
    scales[head] = Quantisation((0.01,))
    none = g.const(np.zeros(CLASSES, np.int32))
    flat = g.op(Op.RESHAPE, [h, g.const([1, 192])], (1, 192), np.int8, reshaped((1, 192)))
    scales[flat] = scales[h]
    scores = g.op(Op.FULLY_CONNECTED, [flat, head, none], (1, CLASSES), np.int8,
                  options("FullyConnected"))  # fmt: skip
    scales[scores] = Quantisation((0.5,))
    g.outputs["scores"] = scores
    path.write_bytes(to_bytes(g, scales))


@pytest.mark.parametrize(("zero", "bias_scale"), [(-128, True), (3, True), (-128, False)])
def test_a_quantised_net_is_the_function_that_its_integers_stand_for(
    zero: int, bias_scale: bool, tmp_path: Path
) -> None:
    """Pixels are its codes; a ReLU that the converter left to the range of the codes is there."""
    path = tmp_path / "net.tflite"
    quantised(path, zero, bias_scale)
    pixels = np.random.default_rng(2).integers(0, 256, (6, *SIDES))
    right = theirs(path, pixels - 128)
    assert np.ptp(right) > 10 and np.abs(right).max() < 60
    assert np.abs(ours(path, pixels / 255) - right).max() <= 1
    # A scale alone is taken into the weights; what is shifted cannot be, for zeros are put around.
    first = fold(load_graph(str(path), SIDES)).nodes[1]
    assert first.name == ("conv_2d_0" if zero == -128 else "input_0")


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("shift", "pad", "taken"), [(0, 1, True), (1, 0, True), (1, 1, False)])
def test_a_scale_is_taken_into_the_weights(groups: int, shift: int, pad: int, taken: bool) -> None:
    scale, bias = torch.tensor([0.7, 1.0, 1.2, 0.9]), shift * torch.tensor([0.1, -0.2, 0.3, 0.0])
    side = 4 + 2 * pad
    nodes = [
        ForeignNode("input", "x", (), (4, 6, 6)),
        ForeignNode("affine", "a", (0,), (4, 6, 6), scale, bias),
        ForeignNode(
            "conv",
            "c",
            (1,),
            (8, side, side),
            torch.from_numpy(drawn(8, 4 // groups, 3, 3)),
            torch.from_numpy(drawn(8)),
            (3, 3),
            1,
            (pad,) * 4,
            groups,
        ),
        ForeignNode(
            "conv",
            "s",
            (2,),
            (2, 1, 1),
            torch.from_numpy(drawn(2, 8, side, side)),
            torch.zeros(2),
            (side, side),
        ),
    ]
    x = torch.from_numpy(drawn(3, 4, 6, 6))
    right = FloatGraph([replace(node) for node in nodes]).result(x)
    found = fold(FloatGraph(nodes))
    assert ("a" not in [node.name for node in found.nodes]) == taken
    assert torch.allclose(found.result(x), right, atol=1e-5)


def test_weights_of_half_floats_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TYPES, np.dtype(np.float16), schema.TensorType.FLOAT16)
    m, path = Maker(*SIDES), tmp_path / "net.tflite"
    halves = m.g.const(drawn(4, 3, 3, 3), np.float16)
    weights = m.g.op(Op.DEQUANTIZE, [halves], (4, 3, 3, 3), np.float32, None)
    m.step(Op.CONV_2D, [weights, m.const(drawn(4))], (1, 6, 8, 4),
           options("Conv2D", **PLAIN))  # fmt: skip
    path.write_bytes(m.end())
    x = NUMBERS.random((5, *SIDES)).astype(np.float32)
    assert np.allclose(ours(path, x), theirs(path, x), atol=1e-4)


def test_all_that_stands_in_the_way_is_said_at_once(tmp_path: Path, dfedge: Any) -> None:
    m, path = Maker(*SIDES), tmp_path / "net.tflite"
    m.step(Op.RESIZE_BILINEAR, [m.const([13, 16], np.int32)], (1, 13, 16, 3),
           options("ResizeBilinear"))  # fmt: skip
    m.conv(4)
    m.step(Op.CUMSUM, [m.const(1, np.int32)], m.shape, options("Cumsum"))
    path.write_bytes(m.end())
    found = dfedge("adopt", path, "--check")
    assert found.code == 1
    said = " ".join((found.out + found.err).split())
    assert "Resize from [6, 8] to [13, 16]" in said and "tflite.CUMSUM" in said


def test_a_net_of_a_signal_is_checked_without_data(tmp_path: Path, dfedge: Any) -> None:
    """40 features of sound, and no picture has as many channels."""
    path = tmp_path / "net.tflite"
    m = Maker(30, 1, 40)
    m.conv(4, fusedActivationFunction=Fused.RELU)
    path.write_bytes(m.end())
    found = dfedge("adopt", path, "--check")
    assert found.code == 0, found.err
    assert "windows of 30 samples of 40 channels, 4 scores" in found.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a LiteRT file"),
        (b"\0" * 64, "no TFL3 at byte 4"),
        (ordinary()[:200], "cannot be read as a LiteRT file"),
    ],
)
def test_a_file_that_is_none_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    with pytest.raises(DfedgeError, match=said):
        open_model(str(path))


def test_groups_that_do_not_divide_the_results_are_refused() -> None:
    """As a damaged file's weights ask for; torch raises another exception then."""
    made = Translation[str]()
    made.begin("x", Site("Conv", "conv"))
    made.input("x", (1, 4, 6, 6))
    made.begin("y", Site("Conv", "conv"))
    with pytest.raises(DfedgeError, match=r"O by groups"):
        made.conv("x", torch.zeros(6, 1, 3, 3), None, (1, 1), (0, 0, 0, 0), (1, 1), 4)


def strided(m: Maker) -> None:
    """Strides of 2 as TensorFlow pads them: plain, depthwise, and in a residual sum."""
    m.conv(6, strideH=2, strideW=2, fusedActivationFunction=Fused.RELU)
    m.step(Op.DEPTHWISE_CONV_2D, [m.const(drawn(1, 3, 3, 6)), m.const(drawn(6))], (1, 4, 4, 6),
           options("DepthwiseConv2D", depthMultiplier=1, strideW=2, strideH=2, dilationWFactor=1,
                   dilationHFactor=1, fusedActivationFunction=Fused.RELU))  # fmt: skip
    m.conv(8, 1, fusedActivationFunction=Fused.RELU)
    given = m.at
    m.conv(8, strideH=2, strideW=2, fusedActivationFunction=Fused.RELU)
    m.conv(8)
    inner, m.at = m.at, given
    m.conv(8, 1, strideH=2, strideW=2)
    m.at = m.g.op(Op.ADD, [inner, m.at], m.shape, np.float32,
                  options("Add", fusedActivationFunction=Fused.RELU))  # fmt: skip
    m.step(Op.MEAN, [m.const([1, 2], np.int32)], (1, 8), reduce_options(False))


def test_blocks_with_strides_as_tensorflow_pads_them_learn(tmp_path: Path) -> None:
    path, state = tmp_path / "net.tflite", NUMBERS.bit_generator.state
    x = np.random.default_rng(5).integers(0, 256, (300, 16, 16, 1)).astype(np.uint8)
    bias = np.zeros(CLASSES, np.float32)
    for _ in range(2):  # the second time every class is some sample's
        NUMBERS.bit_generator.state, m = state, Maker(16, 16, 1)
        strided(m)
        path.write_bytes(m.end(bias))
        scores = ours(path, x / 255)
        bias = -np.median(scores, 0).astype(np.float32)
    assert np.bincount(scores.argmax(1), minlength=CLASSES).min() > 20
    np.savez(tmp_path / "data.npz", x=x, y=scores.argmax(1))
    given = AdoptOptions(str(path), str(tmp_path / "data.npz"), learn="all")
    found = adopt(given, tmp_path / "run")
    assert [one.partition(".")[0] for one in found.learned] == [
        "conv_2d_0", "conv_2d_2", "add_6", "fully_connected_8"
    ]  # fmt: skip
    assert found.by_scores > 0.8  # of noise, whose best two scores lie near each other
    blocks = found.run.plan.net.block
    assert [block.sides for block in blocks[:3]] == [(3, 3)] * 3
    assert [block.least_pads for block in blocks[:3]] == [True] * 3


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(3, 3), (10, 4), (1, 5), (2, 2)])
def test_a_centred_kernel_is_the_same_function(kernel: tuple[int, int], stride: int) -> None:
    """Whatever a side leaves over, and at which end the padding lies."""
    for side in (11, 12, 13):
        after = -(-side // stride)
        total = [max((after - 1) * stride + k - side, 0) for k in kernel]
        for front in (0, 1):
            first = [(t + front) // 2 for t in total]
            pads = (first[0], total[0] - first[0], first[1], total[1] - first[1])
            shape, weight = (2, after, after), torch.from_numpy(drawn(2, 3, *kernel))
            node = ForeignNode(
                "conv", "", (0,), shape, weight, torch.zeros(2), kernel, stride, pads
            )
            same = centred(node, sides(node, (3, side, side)))
            x = torch.from_numpy(drawn(4, 3, side, side))
            assert torch.allclose(same.run([x]), node.run([x]), atol=1e-5)
            assert same.pads[0] in (same.pads[1], same.pads[1] - 1)


def test_a_net_is_adopted_and_its_softmax_left_out(tmp_path: Path) -> None:
    m = Maker(8, 8, 1)
    m.conv(8, fusedActivationFunction=Fused.RELU)
    m.end()
    m.step(Op.SOFTMAX, [], (1, CLASSES), options("Softmax", beta=1.0))
    (tmp_path / "net.tflite").write_bytes(m.bytes())
    x = NUMBERS.integers(0, 256, (80, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(80) % CLASSES)
    found = adopt(AdoptOptions(str(tmp_path / "net.tflite"), str(tmp_path / "data.npz")),
                  tmp_path / "run")  # fmt: skip
    assert "conv_2d_0" in [loss.name for loss in found.losses]
    assert "Softmax" in found.left_out[0]
