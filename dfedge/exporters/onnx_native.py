"""ONNX, native rendering: one node a method, ``(program, state, x[, y]) -> (state.next, …)``.

The node is an operation of the domain ``dfedge.native``, which `dfedge.native.glue` compiles for
onnxruntime.  The state is one block, uint8, laid out as `dfedge.native.table` says; a session binds
one value to ``state`` and ``state.next``, and it is changed in place.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from dfedge.exporters import planned
from dfedge.exporters.calls import LIBRARY, Calls, MethodCall
from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.onnx.model import IR_VERSION, OPSET, value_info
from dfedge.manifest import MemoryPlan
from dfedge.native.program import INFER
from dfedge.progress import Progress

DOMAIN, DOMAIN_VERSION = "dfedge.native", 1
OPERATIONS = ("Infer", "Train", "TrainFrom", "Features")
"""By the interpreter's number of the call."""


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write METHOD.onnx for every method."""
    calls = Calls(source)
    files, memory = {}, {}
    for call in calls:
        name = f"{call.method.name}.onnx"
        (folder / name).write_bytes(_model(calls, call).SerializeToString())
        files[call.method.name] = name
        given = sum(
            value.numel() * value.element_size() for value in call.method.example(source.plan)
        )
        arena = call.arena_bytes + call.result_bytes + given
        memory[call.method.name] = MemoryPlan(arena, len(calls.state))
    progress("onnx-native", 1, 1)
    footprints = planned.interpreted(source, {m: plan.arena_bytes for m, plan in memory.items()})
    versions = LIBRARY | {"onnx": version("onnx")}
    return Written(
        files, memory, "the interpreter's arena, inputs and outputs", versions, footprints
    )


def _model(calls: Calls, call: MethodCall) -> onnx.ModelProto:
    learns = call.method.learns
    x, *y = call.method.example(calls.source.plan)
    inputs = [
        value_info("state", np.uint8, [len(calls.state)]),
        value_info("x", np.int8, list(x.shape)),
    ]
    inputs += [value_info("y", np.int32, list(label.shape)) for label in y]
    outputs = [value_info("state.next", np.uint8, [len(calls.state)])] if learns else []
    outputs += [value_info(name, kind, shape) for name, kind, shape in call.results]
    node = helper.make_node(
        OPERATIONS[call.number],
        ["program", *(value.name for value in inputs)],
        [*(value.name for value in outputs), "arena"],
        domain=DOMAIN,
        first=call.first,
        second=0 if call.number == INFER else call.second,
        arena=call.arena_bytes,
    )
    table = onnx.numpy_helper.from_array(calls.words, "program")
    graph = helper.make_graph([node], call.method.name, inputs, outputs, [table])
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
