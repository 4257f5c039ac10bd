"""ONNX files changed at random where they still are ONNX: adopted, or refused with one line."""

import os
import random
import tempfile
from functools import cache
from pathlib import Path

import onnx
import torch
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from dfedge.faults.adopted import first_step, write_samples
from dfedge.faults.archives import Small
from dfedge.faults.structure import changed
from dfedge.faults.trial import Trials, memory
from dfedge.quiet import quiet


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
    """Change, write to ``folder``, adopt, learn; the current folder must be ``folder``."""
    assert folder.samefile(os.curdir)
    draw, found = random.Random(seed), Trials()
    path, samples = folder / "net.onnx", write_samples(folder)
    path.write_bytes(ordinary().SerializeToString())
    first_step(path, samples, folder / "work")  # what is loaded once counts for none of the trials
    with memory():
        for _ in range(trials):
            path.write_bytes(_changed(draw))
            found.judge(lambda: first_step(path, samples, folder / "work"), folder)
    return found


def _changed(draw: random.Random) -> bytes:
    """A file whose fields are of their types: of others protobuf makes none."""
    tree = MessageToDict(ordinary())
    while True:
        try:
            return ParseDict(changed(tree, draw), onnx.ModelProto()).SerializeToString()
        except (ParseError, ValueError, RecursionError, TypeError, AttributeError):
            continue
