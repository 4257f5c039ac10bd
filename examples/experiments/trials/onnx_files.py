"""ONNX files changed at random where they still are ONNX: adopted, or refused with one line."""

import random
import tempfile
from functools import cache
from pathlib import Path

import onnx
import torch
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from dfedge.quiet import quiet
from trials.archives import Small
from trials.first_step import take_changed
from trials.structure import changed
from trials.trial import Trials


@cache
def ordinary() -> onnx.ModelProto:
    """As torch writes it, with an open batch."""
    torch.manual_seed(0)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/net.onnx"
        torch.onnx.export(
            Small().eval(), (torch.zeros(2, 1, 8, 8),), path, dynamo=False,
            input_names=["x"], dynamic_axes={"x": {0: "batch"}},
        )  # fmt: skip
        return onnx.load(path)


def mutate_onnx(folder: Path, trials: int, seed: int) -> Trials:
    """Change, adopt, learn: `trials.first_step.take_changed`."""
    draw = random.Random(seed)
    whole = ordinary().SerializeToString()
    return take_changed(folder, "net.onnx", whole, lambda: _changed(draw), trials)


def _changed(draw: random.Random) -> bytes:
    """A file whose fields are of their types: of others protobuf makes none."""
    tree = MessageToDict(ordinary())
    while True:
        try:
            return ParseDict(changed(tree, draw), onnx.ModelProto()).SerializeToString()
        except (ParseError, ValueError, RecursionError, TypeError, AttributeError):
            continue
