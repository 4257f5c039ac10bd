"""MODEL -> `Graph`: ``package.module:function`` that returns a net, or a file."""

import sys
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.export import ExportedProgram

from dfedge.adoption import onnx_graph, pt2, torch_graph
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.onnx_graph import load_onnx
from dfedge.adoption.read import read
from dfedge.adoption.read_onnx import read_onnx
from dfedge.adoption.tflite_onnx import load_tflite
from dfedge.adoption.values import Refused
from dfedge.errors import DfedgeError, UsageError, foreign
from dfedge.quiet import quiet
from dfedge.regular import is_file

Shape = tuple[int, int, int]
"""[H, W, C]."""
Open = tuple[int | None, int | None, int | None]
"""The same; None: left open."""
KINDS = (
    "package.module:function that returns a torch.nn.Module, a torch.export file .pt2, an ONNX "
    "file .onnx, or a LiteRT file .tflite"
)

_WEIGHTS = (
    "weights without the code of their net; write a function that builds it and loads them into a "
    "file nets.py, and pass nets:FUNCTION"
)
_KERAS = "a Keras model; convert it to .tflite or .onnx first"
INSTEAD = {
    ".pt": _WEIGHTS, ".pth": _WEIGHTS, ".ckpt": _WEIGHTS, ".safetensors": _WEIGHTS,
    ".h5": _KERAS, ".keras": _KERAS,
}  # fmt: skip
"""Suffix -> what a file is that people have at hand, and what to do."""


@dataclass(frozen=True)
class Model:
    """A model that was read, and not yet translated.

    Attributes:
        name: as it was given.
        found: what lies in the file, or what the function returned.
        line: factor and lift that its codes, as 0..1, become the values by that it stands for: a
            quantised LiteRT file's own.
    """

    name: str
    found: onnx.ModelProto | ExportedProgram | nn.Module
    line: tuple[float, float] = (1.0, 0.0)

    @property
    def size(self) -> Open:
        """The size that it was made for; of a function's net only what its first layer says."""
        found = self.found
        if isinstance(found, nn.Module):
            convs = (one for one in found.modules() if isinstance(one, nn.Conv2d | nn.Conv1d))
            first = next(convs, None)
            width = 1 if isinstance(first, nn.Conv1d) else None
            return None, width, first.in_channels if first is not None else None
        dims: list[Any] = []
        last = False
        if isinstance(found, onnx.ModelProto):
            taken = _taken(found)
            if taken is not None:
                dims = [side.dim_value for side in taken.type.tensor_type.shape.dim]
                last = onnx_graph.channels_last(found.graph, taken.name)
        else:
            names = set(found.graph_signature.user_inputs)
            nodes = [node for node in found.graph.nodes if node.name in names]
            if len(nodes) == 1:
                dims, last = list(nodes[0].meta["val"].shape), torch_graph.channels_last(nodes[0])
        sides = [side if isinstance(side, int) and side > 0 else None for side in dims[1:]]
        if not 1 <= len(sides) <= 3:
            return None, None, None
        channels, *rest = [sides[-1], *sides[:-1]] if last else sides
        height, width = [*rest, 1, 1][:2]
        return height, width, channels

    @property
    def values(self) -> int | None:
        """Of a vector that a function's net takes: what its first linear layer reads, where it has
        no convolution; what form the samples have is then not known.
        """
        if not isinstance(self.found, nn.Module) or self.size != (None, None, None):
            return None
        linear = (one for one in self.found.modules() if isinstance(one, nn.Linear))
        return next((one.in_features for one in linear), None)

    def graph(self, image: Shape, refused: Refused = None) -> ForeignGraph:
        """Translate, for samples [H, W, C]: windows are [T, 1, C], vectors [1, 1, C].

        Args:
            refused: see `dfedge.adoption.read`.

        Raises:
            DfedgeError: see `program`, `dfedge.adoption.read` and `dfedge.adoption.read_onnx`.
        """
        if isinstance(self.found, onnx.ModelProto):
            return read_onnx(_closed(self.found, image), refused, (image[2], *image[:2]))
        return read(self.program(image), refused, (image[2], *image[:2]))

    def translated(self, image: Shape) -> tuple[ForeignGraph | None, list[str]]:
        """The net, and all that stands in its way, each with its remedy."""
        refused: list[tuple[str, str]] = []
        graph = None
        try:
            graph = self.graph(image, refused)
        except DfedgeError as error:  # of what no operation is to blame for
            refused.append(("", str(error)))
        first = dict(reversed(refused))
        count = Counter(what for what, _ in refused)
        more = {what: f"; {n - 1} more of the same" if n > 1 else "" for what, n in count.items()}
        return graph, [first[what] + more[what] for what in dict.fromkeys(w for w, _ in refused)]

    def program(self, image: Shape) -> ExportedProgram:
        """What torch exports of it, in evaluation mode, for images [H, W, C].

        Raises:
            DfedgeError: what cannot be exported: the reason in one sentence.
        """
        found = self.found
        return _functional(
            found if isinstance(found, ExportedProgram) else _export(found, self.name, image),
            self.name,
        )


def open_model(model: str) -> Model:
    """Read a file, or call a function.

    Raises:
        UsageError: neither a function nor a file.
        DfedgeError: what cannot be imported or read: the reason in one sentence.
    """
    if model.endswith(".onnx"):
        return Model(model, load_onnx(_file(model)))
    if model.endswith(".tflite"):
        return Model(model, *load_tflite(_file(model)))
    return Model(model, pt2.load(_file(model)) if model.endswith(".pt2") else _call(model))


def load_graph(model: str, image: Shape) -> ForeignGraph:
    """Read and translate, for images [H, W, C].

    Raises:
        UsageError, DfedgeError: as `open_model` and `Model.graph`.
    """
    return open_model(model).graph(image)


def _taken(model: onnx.ModelProto) -> onnx.ValueInfoProto | None:
    """A file's one input that is not a weight; None: there are several."""
    weights = {weight.name for weight in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    return given[0] if len(given) == 1 else None


def _closed(model: onnx.ModelProto, image: Shape) -> onnx.ModelProto:
    """With the sides of images [H, W, C] where the file leaves them open."""
    taken = _taken(model)
    dims = taken.type.tensor_type.shape.dim[1:] if taken is not None else []
    if taken is None or len(dims) not in (2, 3) or all(side.dim_value > 0 for side in dims):
        return model
    last = onnx_graph.channels_last(model.graph, taken.name)
    *rest, channels = image[: len(dims) - 1] + image[2:]
    sides = (*rest, channels) if last else (channels, *rest)
    closed = onnx.ModelProto()
    closed.CopyFrom(model)
    again = _taken(closed)
    assert again is not None
    for side, value in zip(again.type.tensor_type.shape.dim[1:], sides, strict=True):
        if side.dim_value <= 0:
            side.dim_value = value
    return closed


def _file(model: str) -> Path:
    if not is_file(Path(model)):
        raise UsageError(f"{model}: no such file; allowed: {KINDS}")
    return Path(model)


def _call(model: str) -> nn.Module:
    module, _, function = model.partition(":")
    if not function:
        why = INSTEAD.get(Path(model).suffix.lower(), "not a model")
        raise UsageError(f"{model}: {why}; allowed: {KINDS}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with foreign(model, "a model", f"allowed: {KINDS}"):
        net = getattr(import_module(module), function)()
    if not isinstance(net, nn.Module):
        raise DfedgeError(f"{model} returned {type(net).__name__}; allowed: {KINDS}")
    return net.eval()


def _export(net: nn.Module, model: str, image: Shape) -> ExportedProgram:
    """For the form of samples that the net takes: a function does not say it."""
    found: dict[tuple[int, ...], ExportedProgram] = {}
    why: Exception | None = None
    for form in _forms(image):
        try:
            with quiet():
                found[form] = _exported(net, torch.zeros(2, *form))
        except Exception as error:  # torch raises dozens of classes here
            why = error if image[1] == 1 or why is None else why
        if found and image[1] > 1:
            break
    if len(found) > 1 and (image[0], image[2]) in found:
        raise DfedgeError(
            f"{model} takes windows of {image[0]} samples of {image[2]} channels in any order: "
            f"{' and '.join(str(list(form)) for form in found)}; export it to .pt2 or .onnx with "
            "an example of the order that it was trained on"
        )
    if found:
        return next(iter(found.values()))
    assert why is not None
    text = " ".join(str(why).split())[:300]
    height, width, channels = image
    raise DfedgeError(
        f"{model}: torch.export cannot follow it on samples of {channels} x {height} x {width} "
        f"({type(why).__name__}: {text}); a net must run the same operations whatever it "
        "sees: no branch or loop over tensor values, no dynamic shape"
    ) from why


def _exported(net: nn.Module, example: torch.Tensor) -> ExportedProgram:
    """TorchScript goes by the way of torch's own converter, whose program knows no sizes yet."""
    if isinstance(net, torch.jit.ScriptModule):
        from torch._export.converter import TS2EPConverter  # the only way that torch has

        net = TS2EPConverter(net, (example,)).convert().module()
    return torch.export.export(net, (example,), strict=False)


def _forms(image: Shape) -> list[tuple[int, ...]]:
    """In which a net may take samples [H, W, C], without the batch; of images the first counts."""
    height, width, channels = image
    whole = (channels, height, width)
    if width > 1:
        return [whole, image]
    if height == 1:
        return [whole, (channels,)]
    return list(dict.fromkeys([whole, (height, channels), (channels, height)]))


def _glu(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    value, gate = x.chunk(2, axis)
    return value * torch.sigmoid(gate)


_WRITTEN_OUT: dict[Any, Any] = {torch.ops.aten.glu.default: _glu}
"""Operations that are several of ours."""


def _functional(program: ExportedProgram, model: str) -> ExportedProgram:
    with foreign(model, "an exported graph"), quiet():
        return program.run_decompositions(_WRITTEN_OUT)
