"""An ONNX graph's values and attributes; what is static is evaluated by onnx's own reference."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from dfedge.adoption.graph import Shape
from dfedge.adoption.inferred import SHORT, inferred
from dfedge.adoption.refusal import Site, line_of
from dfedge.adoption.translation import Translation
from dfedge.adoption.values import Pads, Two
from dfedge.blocks.kind import least_pads
from dfedge.errors import DfedgeError, foreign

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
          onnx.TensorProto.BFLOAT16)  # fmt: skip
SELECTING = ("NonZero", "Compress", "Unique")
"""Operations whose result has an open size, and no more values than go in."""
NOTHING: Mapping[str, NDArray[Any]] = {}
BEFORE = ("Cast", "Identity", "Add", "Sub", "Mul", "Div", "Neg")
"""Operations that bring an image's values to their scale, before it is convolved."""
TO_FRONT = ([0, 3, 1, 2], [0, 2, 1])
"""Permutations that bring channels to the front, of images and of windows."""
OPEN_BATCH = 2
"""Stands for a batch of any size: with 1, what mixes samples could pass for what does not."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read a file and what lies beside it, and let onnx check it.

    Raises:
        DfedgeError: not ONNX, not sound, or its external data are missing.
    """
    remedy = "export it anew, and keep its .data file beside it where it has one"
    with foreign(path, "an ONNX file", remedy):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        _forget_scalars(model.graph)
        inferred(model, check_type=True, strict_mode=True, data_prop=True)
        return inliner.inline_local_functions(model)


def _forget_scalars(graph: onnx.GraphProto) -> None:
    """paddle2onnx says of every result that it is one number; onnx shall infer what it is."""
    for result in graph.output:
        kind = result.type.tensor_type
        if kind.HasField("shape") and not kind.shape.dim:
            kind.ClearField("shape")


class OnnxGraph(Translation[str]):
    """One translation; ``node`` is at work."""

    node: onnx.NodeProto

    def __init__(self, model: onnx.ModelProto, sample: Shape | None = None) -> None:
        super().__init__()
        self.sample = sample
        self.model = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.batch = OPEN_BATCH
        self.whole = model

    def turn_to(self, node: onnx.NodeProto) -> None:
        """Begin with a node."""
        self.node = node
        self.begin(node.output[0], _site(node))

    def dims_said(self) -> list[int] | None:
        """Shape of the result without the batch, as onnx infers it; asked for by --check alone."""
        return None if self.refused is None else self._inferred.get(self.node.output[0])

    @cached_property
    def _inferred(self) -> dict[str, list[int]]:
        graph = inferred(self.whole, data_prop=True).graph
        return {
            value.name: [side.dim_value for side in value.type.tensor_type.shape.dim[1:]]
            for value in (*graph.value_info, *graph.output)
        }

    def take_inputs(self) -> None:
        """The weights, and the image.

        Raises:
            DfedgeError: not one input, or not float images of one size.
        """
        for weight in self.model.initializer:
            with foreign(f"the net's {weight.name}", "a tensor", "export the net anew"):
                self.hold(weight.name, numpy_helper.to_array(weight))
        given = [value for value in self.model.input if value.name not in self.constants]
        if len(given) != 1:
            names = ", ".join(f"'{value.name}'" for value in given) or "nothing"
            raise DfedgeError(f"the net takes {names}; allowed: one input, a batch of samples")
        self._image(given[0])

    def _image(self, given: onnx.ValueInfoProto) -> None:
        kind = given.type.tensor_type
        if kind.elem_type not in FLOATS:
            name = onnx.TensorProto.DataType.Name(kind.elem_type)
            raise DfedgeError(f"the net takes '{given.name}' as {name}; allowed: float")
        dims = [
            side.dim_value if side.HasField("dim_value") else side.dim_param or "?"
            for side in kind.shape.dim
        ]
        self.begin(given.name, Site("the input", given.name))
        self.input(given.name, dims, channels_last(self.model, given.name), self.sample)
        if isinstance(dims[0], int) and dims[0] > 0:
            self.batch = dims[0]

    def hold(self, name: str, value: Any) -> None:
        """Take a constant, if it is numbers."""
        array = np.asarray(value)
        if array.dtype.kind in "biu" or array.dtype in (np.float16, np.float32, np.float64):
            self.keep(name, name, torch.from_numpy(array.copy()))
        elif array.dtype.name == "bfloat16":
            self.keep(name, name, torch.from_numpy(array.astype(np.float32)))

    def evaluate(self, computed: Mapping[str, NDArray[Any]] = NOTHING) -> list[Any]:
        """The operation's results, of constants and of what stands for a computed operand."""
        given = {name: self.constants[name].numpy() for name in self.node.input
                 if name in self.constants}  # fmt: skip
        given |= computed
        with foreign(f"operation '{self.site.what}' at node '{self.site.node}'", "one of onnx"):
            self.check_size(self._count(given))
            model = self._one_operation(given, {})
            return list(ReferenceEvaluator(model).run(None, given))

    def shape_alone(self, name: str) -> dict[str, NDArray[Any]]:
        """An operand of which only the shape is true."""
        shape = (self.batch, *self.dims(name))
        return {name: np.broadcast_to(np.float32(0), shape)}

    def _count(self, given: dict[str, NDArray[Any]]) -> int:
        """How many values the operation's result has, as onnx infers it before anything is made."""
        short = {name: array for name, array in given.items() if array.size <= SHORT}
        long = {name: array for name, array in given.items() if name not in short}
        model = inferred(self._one_operation(long, short), data_prop=True)
        made = model.graph.output[0].type.tensor_type
        sides = [side.dim_value for side in made.shape.dim if side.HasField("dim_value")]
        if made.HasField("shape") and len(sides) == len(made.shape.dim):
            return math.prod(sides)
        if self.node.op_type not in SELECTING:
            raise self.refusal(
                f"{self.site.what} with a result of open size", "a size that is given"
            )
        return sum(array.size * max(array.ndim, 1) for array in given.values())

    def _one_operation(
        self, given: Mapping[str, NDArray[Any]], held: Mapping[str, NDArray[Any]]
    ) -> onnx.ModelProto:
        """The operation as a model of its file's opset: a node alone would be read as today's."""
        types = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in given.items()
        ]
        weights = [numpy_helper.from_array(array, name) for name, array in held.items()]
        results = [onnx.ValueInfoProto(name=name) for name in self.node.output if name]
        graph = helper.make_graph([self.node], "one", types, results, weights)
        opsets = [helper.make_opsetid(*entry) for entry in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets)

    # -- operands -----------------------------------------------------------------------------

    def operand(self, place: int) -> str:
        """Name of an input; empty: not given."""
        return self.node.input[place] if place < len(self.node.input) else ""

    def optional(self, place: int) -> Tensor | None:
        """A constant input, where it is given."""
        return self.weights(self.operand(place)) if self.operand(place) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node."""
        found = (one for one in self.node.attribute if one.name == name)
        return next((helper.get_attribute_value(one) for one in found), default)

    def setting(self, name: str, place: int, default: Any) -> Any:
        """What is an attribute in old opsets and a constant input in new ones."""
        return self.attribute(name, default) if not self.operand(place) else self.optional(place)

    def window(self, kernel: Sequence[int]) -> tuple[Two, Pads, Two]:
        """Stride, pads above, below, left and right, and dilation; of one axis as of a row."""
        row = [1] * (2 - len(kernel))
        strides = self.attribute("strides", [1] * len(kernel))
        dilations = self.attribute("dilations", [1] * len(kernel))
        if min(*kernel, *strides, *dilations) < 1:
            raise self.refusal(
                f"{self.site.what} with a kernel, stride or dilation below 1", "sizes from 1 up"
            )
        ends = self.attribute("pads", [0] * 2 * len(kernel))
        if not len(kernel) == len(strides) == len(dilations) == len(ends) / 2 <= 2:
            raise self.refusal(f"{self.site.what} of another form than its kernel", "1-d or 2-d")
        pairs = list(zip(ends[: len(kernel)], ends[len(kernel) :], strict=True))
        auto = self.attribute("auto_pad", b"NOTSET").decode()
        if auto == "VALID":
            pairs = [(0, 0)] * len(kernel)
        elif auto != "NOTSET":
            sides = self.dims(self.operand(0))[1:]
            if len(sides) != len(kernel):
                raise self.refusal(f"{self.site.what} of {len(sides)} axes", "as its kernel has")
            pairs = [
                _same(side, (k - 1) * apart + 1, step, auto == "SAME_UPPER")
                for side, k, step, apart in zip(sides, kernel, strides, dilations, strict=True)
            ]
        if min(min(pair) for pair in pairs) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        (top, bottom), (left, right) = [(0, 0)] * len(row) + pairs
        steps, apart = row + list(strides), row + list(dilations)
        return (steps[0], steps[1]), (top, bottom, left, right), (apart[0], apart[1])


def channels_last(graph: onnx.GraphProto, name: str) -> bool:
    """Whether samples come as [B, H, W, C] or [B, T, C]: their channels are brought to the front
    before anything but arithmetic is done with them.
    """
    for _ in range(len(graph.node)):
        readers = [node for node in graph.node if name in node.input]
        perms = [list(one.ints) for node in readers if node.op_type == "Transpose"
                 for one in node.attribute if one.name == "perm"]  # fmt: skip
        if perms and all(perm in TO_FRONT for perm in perms):
            return True
        if len(readers) != 1 or readers[0].op_type not in BEFORE:
            return False
        name = readers[0].output[0]
    return False


def _same(side: int, kernel: int, stride: int, upper: bool) -> Two:
    """Pads before and after; ``upper``: more of them after."""
    before, after = least_pads(side, kernel, stride)
    return (before, after) if upper else (after, before)


def _site(node: onnx.NodeProto) -> Site:
    told = {prop.key: prop.value for prop in node.metadata_props}
    what = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    scopes = re.findall(r"'([^']*)'", told.get("pkg.torch.onnx.name_scopes", ""))
    module = scopes[-2] if len(scopes) > 1 else ""
    line = line_of(told.get("pkg.torch.onnx.stack_trace", ""))
    return Site(what, node.name or node.output[0], module, line)
