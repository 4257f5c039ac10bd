"""ONNX: a functional program a method, ``(*state, x[, y]) -> (*changed state, scores[, active])``.

The primitives of the stock rendering become MatMulInteger (activations as uint8, which runtimes
multiply several times faster than int8 x int8; a signed operand as its positive and its negative
part, because uint8 beyond 127 saturates in kernels without VNNI) and BitShift (on uint32; there is
none on int32).
Inputs carry the state's names; the new value of a tensor NAME leaves as ``NAME.next``.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx_ir.passes import Sequential
from onnx_ir.passes import common as passes
from onnxscript import opset20 as op
from onnxscript.optimizer import fold_constants

from dfedge.export.formats import Progress, Source, Written
from dfedge.export.liveness import plan_memory
from dfedge.export.program import FunctionalProgram, Method
from dfedge.int8 import stock
from dfedge.lower.state import changed_names
from dfedge.quiet import quiet

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


def _shift_right(v: Any, shift: Any) -> Any:
    unsigned = op.BitShift(
        op.Cast(v, to=TENSOR.UINT32), op.Cast(shift, to=TENSOR.UINT32), direction="RIGHT"
    )
    return op.Cast(unsigned, to=TENSOR.INT32)


TRANSLATIONS: dict[Any, Any] = {
    torch.ops.dfedge.matmul_i32.default: _matmul_i32,
    torch.ops.dfedge.matmul_signed.default: _matmul_signed,
    torch.ops.dfedge.shift_right.default: _shift_right,
}


def write(source: Source, folder: Path, progress: Progress) -> Written:
    """Write METHOD.onnx for every method."""
    files, memory = {}, {}
    for i, method in enumerate(source.methods):
        progress(f"onnx {method.name}", i, len(source.methods))
        model = _translate(source, method)
        onnx.checker.check_model(model, full_check=True)
        name = f"{method.name}.onnx"
        (folder / name).write_bytes(model.SerializeToString())
        files[method.name] = name
        memory[method.name] = plan_memory(model, set(source.state))
    progress("onnx", len(source.methods), len(source.methods))
    versions = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
    return Written(files, memory, "dfedge's own liveness plan of the ONNX graph", versions)


def _translate(source: Source, method: Method) -> onnx.ModelProto:
    names = list(source.state)
    wrapper = FunctionalProgram(source.plan, names, method)
    args = (*source.state.values(), *method.example(source.plan))
    results = method.results(source.plan)
    if method.learns:
        changed = changed_names(names, source.plan.cut)
        results = [f"{name}.next" for name in changed] + results
    with quiet():
        exported = torch.export.export(wrapper, args, strict=False)
        exported = exported.run_decompositions(stock.decompositions())
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=TRANSLATIONS,
            input_names=names + ["x", "y"][: len(args) - len(names)],
            output_names=results,
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
