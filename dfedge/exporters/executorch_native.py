"""ExecuTorch, native rendering: every method one operation over one shared block of state.

No operator of ExecuTorch's own is called, so its C++ core alone runs such a program.  The block,
uint8, is laid out as `dfedge.native.table` says.  The program carries no first state: a session
loads all methods and then calls set_state.  Images and labels stay in the caller's memory; all else
that a call needs is in the arena, as ExecuTorch plans it.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfedge.exporters import planned
from dfedge.exporters.calls import LIBRARY, Calls, MethodCall
from dfedge.exporters.executorch import PROGRAM, memory_plans
from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.native_op import NAMESPACE
from dfedge.native.program import FEATURES, INFER
from dfedge.progress import Progress
from dfedge.quiet import quiet

PLANNER = "ExecuTorch's memory planner; images and labels stay where the caller has them"


class NativeBuffers(nn.Module):
    """The table and the state, shared by all methods."""

    program: Tensor
    state: Tensor

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.register_buffer("program", torch.from_numpy(calls.words))
        self.register_buffer("state", torch.from_numpy(calls.state))


class NativeMethod(nn.Module):
    """One call."""

    def __init__(self, block: NativeBuffers, call: MethodCall) -> None:
        super().__init__()
        self.block, self.call = block, call

    def forward(self, x: Tensor, *y: Tensor) -> tuple[Tensor, ...]:
        """``(x[, y]) -> results``."""
        ops, call, given = getattr(torch.ops, NAMESPACE), self.call, self.block
        batch, sizes = call.method.batch, (call.first, call.second)
        if call.number == FEATURES:
            results = ops.features(given.program, given.state, x, *sizes, call.arena_bytes)
        elif call.number == INFER:
            classes = call.first // batch
            results = ops.infer(given.program, given.state, x, classes, call.arena_bytes)
        else:
            results = ops.train(
                given.program, given.state, x, *y, call.number, call.first // batch, call.second,
                call.arena_bytes,
            )  # fmt: skip
        return tuple(results[:-1])


class GetBlock(nn.Module):
    """``() -> state``."""

    def __init__(self, block: NativeBuffers) -> None:
        super().__init__()
        self.block = block

    def forward(self) -> Tensor:
        """A copy."""
        return getattr(torch.ops, NAMESPACE).read(self.block.state)


class SetBlock(nn.Module):
    """``(state) -> its bytes``, int32 [1]; a state that learning can never reach is refused."""

    def __init__(self, block: NativeBuffers) -> None:
        super().__init__()
        self.block = block

    def forward(self, state: Tensor) -> Tensor:
        """Overwrite it."""
        return getattr(torch.ops, NAMESPACE).write(self.block.program, self.block.state, state)


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write program.pte with all methods."""
    calls = Calls(source)
    block = NativeBuffers(calls)
    modules: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        call.method.name: (NativeMethod(block, call), call.method.example(source.plan))
        for call in calls
    }
    modules["get_state"] = (GetBlock(block), ())
    modules["set_state"] = (SetBlock(block), (block.state.clone(),))
    with quiet():
        progress("executorch-native", 0, 1)
        manager = _lower(
            {
                name: torch.export.export(module, given, strict=False)
                for name, (module, given) in modules.items()
            },
            source.alignment,
        )
        (folder / PROGRAM).write_bytes(manager.buffer)
    progress("executorch-native", 1, 1)
    memory = memory_plans(manager)
    arenas = {name: plan.arena_bytes for name, plan in memory.items()}
    versions = LIBRARY | {name: version(name) for name in ("torch", "executorch")}
    return Written(
        dict.fromkeys(memory, PROGRAM),
        memory,
        PLANNER,
        versions,
        planned.interpreted(source, arenas),
    )


def _lower(exported: dict[str, Any], alignment: int) -> Any:
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass

    edge = to_edge(exported, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    planner = MemoryPlanningPass(
        share_mutable_buffers=True, alignment=alignment, alloc_graph_input=False
    )
    return edge.to_executorch(
        ExecutorchBackendConfig(memory_planning_pass=planner, emit_mutable_buffer_names=True)
    )
