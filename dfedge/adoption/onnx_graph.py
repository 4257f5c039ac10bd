"""An ONNX graph's values and attributes; what is static is evaluated by onnx's own reference."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from dfedge.adoption.refusal import Site, line_of
from dfedge.adoption.translation import Translation
from dfedge.adoption.values import Pads, Two
from dfedge.errors import DfedgeError, foreign

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
          onnx.TensorProto.BFLOAT16)  # fmt: skip
SHORT = 1024
"""Values of an operand that may be a size: onnx reads what they are."""
SELECTING = ("NonZero", "Compress", "Unique")
"""Operations whose result has an open size, and no more values than go in."""
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
        onnx.checker.check_model(model, full_check=True)
        return inliner.inline_local_functions(model)


class OnnxGraph(Translation[str]):
    """One translation; ``node`` is at work."""

    node: onnx.NodeProto

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.model = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.batch = OPEN_BATCH

    def turn_to(self, node: onnx.NodeProto) -> None:
        """Begin with a node."""
        self.node = node
        self.begin(node.output[0], _site(node))

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
            raise DfedgeError(f"the net takes {names}; allowed: one input, images [B, C, H, W]")
        self._image(given[0])

    def _image(self, given: onnx.ValueInfoProto) -> None:
        kind = given.type.tensor_type
        if kind.elem_type not in FLOATS:
            name = onnx.TensorProto.DataType.Name(kind.elem_type)
            raise DfedgeError(
                f"the net takes '{given.name}' as {name}; allowed: images float [B, C, H, W], 0..1"
            )
        dims = [
            side.dim_value if side.HasField("dim_value") else side.dim_param or "?"
            for side in kind.shape.dim
        ]
        self.input(given.name, dims)
        if isinstance(dims[0], int) and dims[0] > 0:
            self.batch = dims[0]

    def hold(self, name: str, value: Any) -> None:
        """Take a constant, if it is numbers."""
        array = np.asarray(value)
        if array.dtype.kind in "biu" or array.dtype in (np.float16, np.float32, np.float64):
            self.keep(name, name, torch.from_numpy(array.copy()))
        elif array.dtype.name == "bfloat16":
            self.keep(name, name, torch.from_numpy(array.astype(np.float32)))

    def evaluate(self, computed: list[str]) -> Any:
        """The operation's result; of what is computed from the image only the shape is true."""
        given = {name: self.constants[name].numpy() for name in self.node.input
                 if name in self.constants}  # fmt: skip
        for name in computed:
            given[name] = np.zeros((self.batch, *self.value(name).dims), np.float32)
        with foreign(f"operation '{self.site.what}' at node '{self.site.node}'", "one of onnx"):
            self.check_size(self._count(given))
            return ReferenceEvaluator(self.node, opsets=self.opsets).run(None, given)[0]

    def _count(self, given: dict[str, NDArray[Any]]) -> int:
        """How many values the operation's result has, as onnx infers it before anything is made."""
        types, short = [], []
        for name, array in given.items():
            if array.size <= SHORT:
                short.append(numpy_helper.from_array(array, name))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                types.append(helper.make_tensor_value_info(name, kind, array.shape))
        out = onnx.ValueInfoProto(name=self.node.output[0])
        graph = helper.make_graph([self.node], "one", types, [out], short)
        opsets = [helper.make_opsetid(*entry) for entry in self.opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        made = model.graph.output[0].type.tensor_type
        sides = [side.dim_value for side in made.shape.dim if side.HasField("dim_value")]
        if made.HasField("shape") and len(sides) == len(made.shape.dim):
            return math.prod(sides)
        if self.node.op_type not in SELECTING:
            raise self.refusal(
                f"{self.site.what} with a result of open size", "a size that is given"
            )
        return sum(array.size * max(array.ndim, 1) for array in given.values())

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

    def window(self, kernel: Two) -> tuple[Two, Pads, Two]:
        """Stride, pads above, below, left and right, and dilation."""
        strides = self.attribute("strides", [1, 1])
        dilations = self.attribute("dilations", [1, 1])
        top, left, bottom, right = self.attribute("pads", [0, 0, 0, 0])
        pads: Pads = (top, bottom, left, right)
        auto = self.attribute("auto_pad", b"NOTSET").decode()
        if auto == "VALID":
            pads = (0, 0, 0, 0)
        elif auto != "NOTSET":
            sides = self.map(self.operand(0))[1:]
            (top, bottom), (left, right) = (
                _same(side, k, step, auto == "SAME_UPPER")
                for side, k, step in zip(sides, kernel, strides, strict=True)
            )
            pads = (top, bottom, left, right)
        if min(pads) < 0:
            raise self.refusal(f"{self.site.what} with negative pads", "pads from 0 up")
        return (strides[0], strides[1]), pads, (dilations[0], dilations[1])


def _same(side: int, kernel: int, stride: int, upper: bool) -> Two:
    """Pads before and after, for a result of side / stride, rounded up."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def _site(node: onnx.NodeProto) -> Site:
    told = {prop.key: prop.value for prop in node.metadata_props}
    what = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    scopes = re.findall(r"'([^']*)'", told.get("pkg.torch.onnx.name_scopes", ""))
    module = scopes[-2] if len(scopes) > 1 else ""
    line = line_of(told.get("pkg.torch.onnx.stack_trace", ""))
    return Site(what, node.name or node.output[0], module, line)
