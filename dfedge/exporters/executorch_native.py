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

from dfedge.exporters import planned
from dfedge.exporters.calls import LIBRARY, Calls
from dfedge.exporters.executorch import PROGRAM, memory_plans, planned_program
from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.native_op import NAMESPACE
from dfedge.native.program import FEATURES, INFER
from dfedge.progress import Progress
from dfedge.quiet import quiet

PLANNER = "ExecuTorch's memory planner; images and labels stay where the caller has them"


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write program.pte with all methods."""
    calls = Calls(source)
    with quiet():
        progress("executorch-native", 0, 1)
        manager = planned_program(_methods(calls), source.alignment, alloc_graph_input=False)
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


def _methods(calls: Calls) -> dict[str, Any]:
    from dfedge.exporters.executorch_call import called  # what it imports talks, too

    ops: Any = getattr(torch.ops, NAMESPACE)
    words = {"program": torch.from_numpy(calls.words)}
    state = {"state": torch.from_numpy(calls.state)}
    methods = {}
    for call in calls:
        batch, arena = call.method.batch, call.arena_bytes
        x, *y = call.method.example(calls.source.plan)
        if call.number == FEATURES:
            made = called(
                ops.features.default, words, state, [x], [call.first, call.second, arena], 2
            )
        elif call.number == INFER:
            made = called(ops.infer.default, words, state, [x], [call.first // batch, arena])
        else:
            numbers = [call.number, call.first // batch, call.second, arena]
            made = called(ops.train.default, words, state, [x, *y], numbers, 2)
        methods[call.method.name] = made
    methods["get_state"] = called(ops.read.default, {}, state, [])
    methods["set_state"] = called(ops.write.default, words, state, [state["state"]])
    return methods
