"""ONNX: a functional program a method, ``(*state, x[, y]) -> (*changed state, scores[, active])``.

The primitives of the stock rendering become MatMulInteger (activations as uint8, which runtimes
multiply several times faster than int8 x int8; a signed operand as its positive and its negative
part, because uint8 beyond 127 saturates in kernels without VNNI) and BitShift (on uint32; there is
none on int32).
Inputs carry the state's names; the new value of a tensor NAME leaves as ``NAME.next``.
"""

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import onnx
import onnx.helper
import onnx.shape_inference
import torch
from onnx_ir.passes import Sequential
from onnx_ir.passes import common as passes
from onnxscript import opset20 as op
from onnxscript.optimizer import fold_constants

from dfedge.compile.state import State, layer_of
from dfedge.exporters.formats import Progress, Source, Written
from dfedge.exporters.liveness import INPUT, Flow, blocks, footprint
from dfedge.exporters.onnx_exporter import UNTRANSLATED, decomposed_once
from dfedge.exporters.onnx_join import joined
from dfedge.exporters.program import (
    Functional,
    Method,
    export_functional,
    export_trunk,
    handed,
)
from dfedge.footprint import Footprint
from dfedge.manifest import MemoryPlan
from dfedge.quiet import quiet
from dfedge.trunk import Trunk

OPSET = 20
TENSOR = onnx.TensorProto


def _matmul_i32(a: Any, b: Any) -> Any:
    return op.MatMulInteger(op.Cast(a, to=TENSOR.UINT8), b)


def _matmul_signed(a: Any, b: Any) -> Any:
    wide = op.Cast(a, to=TENSOR.INT32)
    zero = op.Constant(value_int=0)
    zero = op.Cast(zero, to=TENSOR.INT32)
    above = op.Cast(op.Max(wide, zero), to=TENSOR.UINT8)
    below = op.Cast(op.Max(op.Sub(zero, wide), zero), to=TENSOR.UINT8)
    return op.Sub(op.MatMulInteger(above, b), op.MatMulInteger(below, b))


def _correlate(a: Any, b: Any) -> Any:
    return op.MatMulInteger(op.Transpose(op.Cast(a, to=TENSOR.UINT8), perm=[1, 0]), b)


def _shift_right(v: Any, shift: Any) -> Any:
    unsigned = op.BitShift(
        op.Cast(v, to=TENSOR.UINT32), op.Cast(shift, to=TENSOR.UINT32), direction="RIGHT"
    )
    return op.Cast(unsigned, to=TENSOR.INT32)


TRANSLATIONS: dict[Any, Any] = {
    torch.ops.dfedge.matmul_i32.default: _matmul_i32,
    torch.ops.dfedge.matmul_signed.default: _matmul_signed,
    torch.ops.dfedge.correlate.default: _correlate,
    torch.ops.dfedge.shift_right.default: _shift_right,
}


def write(source: Source, folder: Path, progress: Progress) -> Written:
    """Write METHOD.onnx for every method."""
    files, memory, footprints = {}, {}, {}
    above = msgspec.structs.replace(source.plan, trunk=None)
    trunks: dict[int, onnx.ModelProto] = {}
    for i, method in enumerate(source.methods):
        progress(f"onnx {method.name}", i, len(source.methods))
        with quiet():
            model = _translate(
                export_functional(above, source.state, method, source.constants, UNTRANSLATED)
            )
        if source.plan.trunk is not None and method.kind != "train_from":
            if method.batch not in trunks:
                trunks[method.batch] = _trunk(source.plan.trunk, method.batch, source.constants)
            model = joined(trunks[method.batch], model)
        onnx.checker.check_model(model, full_check=True)
        name = f"{method.name}.onnx"
        (folder / name).write_bytes(model.SerializeToString())
        files[method.name] = name
        memory[method.name], footprints[method.name] = _plan(model, source, method)
    progress("onnx", len(source.methods), len(source.methods))
    versions = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
    return Written(
        files, memory, "dfedge's own liveness plan of the ONNX graph", versions, footprints
    )


def _trunk(trunk: Trunk, batch: int, constants: State) -> onnx.ModelProto:
    """Translated once for all methods of a batch size: most of an adopted net is trunk."""
    with quiet():
        return _translate(export_trunk(trunk, batch, constants))


def _translate(functional: Functional) -> onnx.ModelProto:
    with decomposed_once():
        program = torch.onnx.export(
            functional.program,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=TRANSLATIONS,
            input_names=functional.inputs,
            output_names=functional.outputs,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    _tidy(program.model)
    model: onnx.ModelProto = program.model_proto
    return model


def _tidy(model: Any) -> None:
    """Fold constants and drop what nobody reads.

    Of the exporter's own optimiser without its table of rewrite rules: none of them applies here,
    and trying them all took more than half of an export.
    """
    fold_constants(model)
    Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.ClearMetadataAndDocStringPass(),  # most of the file: where each node was traced
        passes.OutputFixPass(),
        passes.NameFixPass(),
    )(model)


RENAMING = {"Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"}


def _plan(model: onnx.ModelProto, source: Source, method: Method) -> tuple[MemoryPlan, Footprint]:
    """The graph's own liveness; state that goes in is held by the session, new state is live."""
    graph, state = onnx.shape_inference.infer_shapes(model).graph, source.state
    sizes = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        width = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        sizes[value.name] = width * math.prod(d.dim_value for d in kind.shape.dim)
    layers = {name: layer for name in state if (layer := layer_of(name)) is not None}
    flow = Flow(
        nodes=[(node.input, [name for name in node.output if name]) for node in graph.node],
        renamed={n.output[0]: n.input[0] for n in graph.node if n.op_type in RENAMING},
        inputs=[value.name for value in graph.input if value.name not in state],
        outputs=[value.name for value in graph.output],
        free=set(state) | {tensor.name for tensor in graph.initializer},
        layers={**layers, "x": INPUT},
        learned={f"{name}.next" for name in layers},
        handed=handed(source.plan, method.batch),
    )
    held = sum(sizes[value.name] for value in graph.input if value.name in state)
    found = footprint(flow, blocks(flow, sizes.__getitem__))
    return MemoryPlan(found.lower_bound_bytes, held), found
