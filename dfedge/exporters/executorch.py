"""ExecuTorch: one .pte with every method over one shared, mutable state, and get_state, set_state.

The shared state of a loaded program starts undefined for a caller who loads methods one by one: a
session loads them all and then calls set_state with the bundle's state file.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from dfedge.exporters.executorch_plan import planned_footprint
from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.program import handed
from dfedge.exporters.tiles import in_tiles
from dfedge.exporters.traced import get_state, set_state
from dfedge.manifest import MemoryPlan
from dfedge.progress import Progress
from dfedge.quiet import quiet
from dfedge.runtimes import runtime

PROGRAM = runtime("executorch").one_file


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write program.pte with all methods."""
    plan, steps = source.plan, len(source.methods) + 1
    programs = {}
    with quiet():
        from dfedge.exporters.executorch_program import MethodBuilder  # what it imports talks, too

        for i, method in enumerate(source.methods):
            progress(f"executorch {method.name}", i, steps)
            trace = in_tiles(plan, method, source.tile_bytes)
            programs[method.name] = MethodBuilder(trace, source.state, source.constants).made()
        for name, trace in (("get_state", get_state(plan)), ("set_state", set_state(plan))):
            programs[name] = MethodBuilder(trace, source.state, {}).made()
        progress("executorch memory plan", steps - 1, steps)
        manager = planned_program(programs, source.alignment)
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


def memory_plans(manager: Any) -> dict[str, MemoryPlan]:
    """What ExecuTorch planned for each method, but those that read and write the state."""
    return {
        plan.name: MemoryPlan(*plan.non_const_buffer_sizes[1:3])
        for plan in manager.executorch_program.execution_plan
        if plan.name not in ("get_state", "set_state")
    }


def planned_program(
    programs: dict[str, Any], alignment: int, alloc_graph_input: bool = True
) -> Any:
    """Methods as one program, with their memory plan; the state is shared."""
    from executorch.exir import ExecutorchBackendConfig, ExecutorchProgramManager
    from executorch.exir.passes import MemoryPlanningPass

    planner = MemoryPlanningPass(
        share_mutable_buffers=True, alignment=alignment, alloc_graph_input=alloc_graph_input
    )
    for program in programs.values():
        planner.run(program.graph_module, program.graph_signature)
    planner.run_multimethod()
    return ExecutorchProgramManager(
        programs, backend_config=ExecutorchBackendConfig(emit_mutable_buffer_names=True)
    )
