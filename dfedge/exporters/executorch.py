"""ExecuTorch: one .pte with every method over one shared, mutable state, and get_state, set_state.

The primitives of the stock rendering become float32 matrix products of integers, exact because
they are cut so that no partial sum reaches 2^24, and `bitwise_right_shift`.  The shared state of a
loaded program starts undefined for a caller who loads methods one by one: a session loads them all
and then calls set_state with the bundle's state file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.traceback import NodeSource

from dfedge.exporters.casts import cast_fast
from dfedge.exporters.executorch_plan import planned_footprint
from dfedge.exporters.formats import Progress, Source, Written
from dfedge.exporters.order import pool_errors, write_back_early
from dfedge.exporters.program import GetState, SetState, StatefulModule, StatefulProgram, handed
from dfedge.int8 import stock
from dfedge.int8.bounds import EXACT_DEPTH
from dfedge.int8.stock.tiled import Tiled
from dfedge.manifest import MemoryPlan
from dfedge.quiet import quiet
from dfedge.runtimes import runtime

PROGRAM = runtime("executorch").one_file


def _matmul_i32(a: Tensor, b: Tensor) -> Tensor:
    """int8 [M, K] x int8 [K, N] -> int32 [M, N], or G of them; K cut into exact stretches."""
    multiply = torch.mm if a.dim() == 2 else torch.bmm
    total: Tensor | None = None
    depth = a.shape[-1]
    for start in range(0, depth, EXACT_DEPTH):
        size, left, right = min(EXACT_DEPTH, depth - start), a, b
        if size < depth:  # a slice is a copy, of the whole as well
            left, right = a.narrow(-1, start, size), b.narrow(-2, start, size)
        part = multiply(left.to(torch.float32), right.to(torch.float32)).to(torch.int32)
        total = part if total is None else total + part
    assert total is not None
    return total


def _correlate(a: Tensor, b: Tensor) -> Tensor:
    """``a^T b`` as ``(b^T a)^T``, whose transposed operands are the small ones."""
    return _matmul_i32(b.transpose(0, 1), a).transpose(0, 1)


def _shift_right(v: Tensor, shift: Tensor) -> Tensor:
    return torch.bitwise_right_shift(v, shift)


PRIMITIVES: dict[Any, Any] = {
    torch.ops.dfedge.matmul_i32.default: _matmul_i32,
    torch.ops.dfedge.matmul_signed.default: _matmul_i32,
    torch.ops.dfedge.correlate.default: _correlate,
    torch.ops.dfedge.shift_right.default: _shift_right,
}


def decompositions(tile_bytes: int) -> dict[Any, Any]:
    """The stock rendering in tiles."""
    return stock.decompositions() | Tiled(tile_bytes).decompositions()


def write(source: Source, folder: Path, progress: Progress) -> Written:
    """Write program.pte with all methods."""
    inner = StatefulModule(source.plan, source.state, source.constants)
    modules: dict[str, tuple[torch.nn.Module, tuple[Tensor, ...]]] = {
        method.name: (StatefulProgram(inner, method), method.example(source.plan))
        for method in source.methods
    }
    modules["get_state"] = (GetState(inner), ())
    modules["set_state"] = (SetState(inner), tuple(source.state.values()))
    steps = len(modules) + 1
    exported = {}
    stock_in_tiles = decompositions(source.tile_bytes)
    with quiet(), short_provenance():
        for i, (name, (module, args)) in enumerate(modules.items()):
            progress(f"executorch {name}", i, steps)
            program = torch.export.export(module, args, strict=False)
            program = pool_errors(program).run_decompositions(stock_in_tiles)
            exported[name] = cast_fast(program.run_decompositions(PRIMITIVES))
        progress("executorch memory plan", steps - 1, steps)
        buffers = [name.replace(".", "_") for name in source.state]
        manager = _lower(exported, buffers, source.alignment)
        (folder / PROGRAM).write_bytes(manager.buffer)
    progress("executorch", steps, steps)
    memory = memory_plans(manager)
    versions = {name: version(name) for name in ("torch", "executorch")}
    files = dict.fromkeys(memory, PROGRAM)
    footprints = {
        method.name: planned_footprint(
            manager.exported_program(method.name).graph_module, handed(source.plan, method.batch)
        )
        for method in source.methods
    }
    return Written(files, memory, "ExecuTorch's memory planner", versions, footprints)


@contextmanager
def short_provenance() -> Iterator[None]:
    """Nodes share the record of where they came from; torch copies it whole, once a node and pass.

    An eighth of an export's time, for a record that nothing here reads.
    """
    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]


def memory_plans(manager: Any) -> dict[str, MemoryPlan]:
    """What ExecuTorch planned for each method, but those that read and write the state."""
    return {
        plan.name: MemoryPlan(*plan.non_const_buffer_sizes[1:3])
        for plan in manager.executorch_program.execution_plan
        if plan.name not in ("get_state", "set_state")
    }


def _lower(exported: dict[str, Any], buffers: list[str], alignment: int) -> Any:
    import executorch.kernels.quantized  # noqa: F401  registers the int8 kernels
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass

    class EarlyWriteBack(MemoryPlanningPass):  # type: ignore[misc]
        def run(self, module: Any, signature: Any = None) -> Any:
            write_back_early(module)
            return super().run(module, signature)

    edge = to_edge(exported, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    return edge.to_executorch(
        ExecutorchBackendConfig(
            memory_planning_pass=EarlyWriteBack(share_mutable_buffers=True, alignment=alignment),
            passes=[InitializedMutableBufferPass(buffers)],
            emit_mutable_buffer_names=True,
        )
    )
