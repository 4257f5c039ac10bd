"""MODEL -> `Graph`: ``package.module:function`` that returns a net, or a file .pt2 or .onnx."""

import sys
from importlib import import_module
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from dfedge.adoption import pt2
from dfedge.adoption.graph import Graph
from dfedge.adoption.onnx_graph import load_onnx
from dfedge.adoption.read import read
from dfedge.adoption.read_onnx import read_onnx
from dfedge.errors import DfedgeError, UsageError, foreign
from dfedge.quiet import quiet
from dfedge.regular import is_file

Shape = tuple[int, int, int]
"""[H, W, C]."""
KINDS = (
    "package.module:function that returns a torch.nn.Module, a torch.export file .pt2, or an ONNX "
    "file .onnx"
)


def load_graph(model: str, image: Shape, classes: int) -> Graph:
    """Load and translate, for images [H, W, C].

    Raises:
        UsageError, DfedgeError: see `load_model`, `dfedge.adoption.read` and
            `dfedge.adoption.read_onnx`.
    """
    if model.endswith(".onnx"):
        return read_onnx(load_onnx(_file(model)), classes)
    return read(load_model(model, image), classes)


def image_of(model: str) -> Shape | None:
    """The size [H, W, C] that a file was made for; None: a function's net, or a size left open.

    Raises:
        UsageError, DfedgeError: as `load_graph`.
    """
    dims: list[object] = []
    if model.endswith(".onnx"):
        proto = load_onnx(_file(model))
        weights = {weight.name for weight in proto.graph.initializer}
        given = [value for value in proto.graph.input if value.name not in weights]
        if len(given) == 1:
            dims = [one.dim_value for one in given[0].type.tensor_type.shape.dim]
    elif model.endswith(".pt2"):
        program = pt2.load(_file(model))
        taken = set(program.graph_signature.user_inputs)
        given_nodes = [node for node in program.graph.nodes if node.name in taken]
        if len(given_nodes) == 1:
            dims = list(given_nodes[0].meta["val"].shape)
    sides = [side for side in dims[1:] if isinstance(side, int) and side > 0]
    if len(dims) != 4 or len(sides) != 3:
        return None
    channels, height, width = sides
    return height, width, channels


def load_model(model: str, image: Shape) -> ExportedProgram:
    """Load and export, in evaluation mode, for images [H, W, C].

    Raises:
        UsageError: neither a function nor a file.
        DfedgeError: what cannot be imported, read or exported: the reason in one sentence.
    """
    saved = model.endswith(".pt2")
    program = pt2.load(_file(model)) if saved else _export(_call(model), model, image)
    return _functional(program, model)


def _file(model: str) -> Path:
    if not is_file(Path(model)):
        raise UsageError(f"{model}: no such file; allowed: {KINDS}")
    return Path(model)


def _call(model: str) -> nn.Module:
    module, _, function = model.partition(":")
    if not function:
        raise UsageError(f"{model}: not a model; allowed: {KINDS}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with foreign(model, "a model", f"allowed: {KINDS}"):
        net = getattr(import_module(module), function)()
    if not isinstance(net, nn.Module):
        raise DfedgeError(f"{model} returned {type(net).__name__}; allowed: {KINDS}")
    return net.eval()


def _export(net: nn.Module, model: str, image: Shape) -> ExportedProgram:
    height, width, channels = image
    example = torch.zeros(2, channels, height, width)
    try:
        with quiet():
            return torch.export.export(net, (example,), strict=False)
    except Exception as error:  # torch raises dozens of classes here
        text = " ".join(str(error).split())[:300]
        raise DfedgeError(
            f"{model}: torch.export cannot follow it on images of {channels} x {height} x {width} "
            f"({type(error).__name__}: {text}); a net must run the same operations whatever it "
            "sees: no branch or loop over tensor values, no dynamic shape"
        ) from error


def _functional(program: ExportedProgram, model: str) -> ExportedProgram:
    with foreign(model, "an exported graph"), quiet():
        return program.run_decompositions({})
