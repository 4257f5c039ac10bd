"""C: the net as static tables beside the kernels' sources, for a machine without any runtime."""

import shutil
from pathlib import Path

from dfedge import configs
from dfedge.errors import DfedgeError
from dfedge.exporters import planned
from dfedge.exporters.calls import LIBRARY
from dfedge.exporters.formats import Progress, Source, Written
from dfedge.exporters.golden import to_arrays
from dfedge.manifest import MemoryPlan
from dfedge.native import build, known, normal, sources
from dfedge.native.image import image
from dfedge.native.program import CALLS, Program
from dfedge.native.table import make_table
from dfedge.target import load_target


def _copy_board(target: str, folder: Path) -> None:
    """Startup code, and the linker file that lies beside the target's .toml, in its folder."""
    targets = configs.folder("targets")
    script = configs.find(targets, "target", target).with_suffix("") / "link.ld"
    if not script.is_file():
        raise DfedgeError(f"{script} is missing: a target with a cpu needs a linker file")
    shutil.copytree(targets / "cortex-m", folder)
    shutil.copy(script, folder)


def write(source: Source, folder: Path, watch: Progress) -> Written:
    """See `dfedge.exporters.formats.Writer`; the arenas are those that the interpreter asks for.

    Raises:
        DfedgeError: no C compiler here, which the plan of the memory and the verification need.
    """
    watch("c", 0, 1)
    state = to_arrays(source.state)
    table = make_table(source.plan, state, to_arrays(source.constants))
    program = Program(source.plan, table)
    arenas = {m.name: program.arena_bytes(CALLS[m.kind], m.batch) for m in source.methods}
    called = [m for m in source.methods if m.kind in ("infer", "train")]
    batch, arena = max(m.batch for m in called), max(arenas[m.name] for m in called)
    target = load_target(source.target)
    shutil.copytree(build.RUNNER, folder / "run")
    if target.cpu:
        _copy_board(source.target, folder / "board")
    header = sources.header(
        source.plan.input_shape, table, batch, arena, source.identity, source.input
    )
    (folder / "dfedge").mkdir()
    packed = image(table, program.block(state), source.identity)
    (folder / "net.dfe").write_bytes(packed)
    compiled = sources.compiled(header, sources.source(table, state, source.input))
    for name, content in compiled.items():
        (folder / name).write_bytes(content)
    kernels = sum(len(text) for name, text in compiled.items() if name.startswith("dfedge/"))
    beside = known.files(known.fitting(source.known, target.flash_bytes - len(packed) - kernels))
    if source.normal is not None:
        beside |= normal.files(source.normal.distance, source.plan)
    for name, text in beside.items():
        (folder / name).write_text(text)
    more = tuple(name for name in beside if name.endswith(".c"))
    (folder / "CMakeLists.txt").write_text(sources.cmake(target.kind == "mcu", target.cpu, more))
    watch("c", 1, 1)
    memory = {name: MemoryPlan(bytes, table.state_bytes) for name, bytes in arenas.items()}
    files = dict.fromkeys(arenas, "net.c")
    footprints = planned.interpreted(source, arenas)
    return Written(files, memory, "dfedge's interpreter", LIBRARY, footprints)
