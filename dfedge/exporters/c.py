"""C: the net as static tables beside the kernels' sources, for a machine without any runtime."""

import shutil
from pathlib import Path

from dfedge import configs
from dfedge.errors import DfedgeError
from dfedge.exporters import planned
from dfedge.exporters.calls import LIBRARY
from dfedge.exporters.ecosystems import Ecosystem, ecosystem
from dfedge.exporters.ecosystems.firmware import Firmware
from dfedge.exporters.ecosystems.readme import readme
from dfedge.exporters.ecosystems.report import expected, report
from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.golden import to_arrays
from dfedge.manifest import MemoryPlan
from dfedge.native import build, known, normal
from dfedge.native import folder as library
from dfedge.native.header import NetSources
from dfedge.native.instructions.bound import bounds
from dfedge.native.program import CALLS, NativeProgram
from dfedge.native.table import make_table
from dfedge.progress import Progress
from dfedge.target import load_target


def _copy_board(target: str, folder: Path) -> None:
    """Startup code, and the linker file that lies beside the target's .toml, in its folder."""
    targets = configs.folder("targets")
    script = configs.find(targets, "target", target).with_suffix("") / "link.ld"
    if not script.is_file():
        raise DfedgeError(f"{script} is missing: a target with a cpu needs a linker file")
    shutil.copytree(targets / "cortex-m", folder)
    shutil.copy(script, folder)


def write(source: ExportSource, folder: Path, watch: Progress) -> Written:
    """See `dfedge.exporters.formats.Writer`; the arenas are those that the interpreter asks for.

    Raises:
        DfedgeError: no C compiler here, which the plan of the memory and the verification need.
    """
    watch("c", 0, 1)
    state = to_arrays(source.state)
    table = make_table(source.plan, state, to_arrays(source.constants))
    program = NativeProgram(source.plan, table)
    program.write(state)
    arenas = {m.name: program.arena_bytes(CALLS[m.kind], m.batch) for m in source.methods}
    called = [m for m in source.methods if m.kind in ("infer", "train")]
    target, drop = load_target(source.target), ecosystem(source.ecosystem)
    net = NetSources(
        shape=source.plan.input_shape,
        table=table,
        state=state,
        classes=source.classes,
        batch=max(m.batch for m in called),
        arena_bytes=max(arenas[m.name] for m in called),
        identity=source.identity,
        unsure_below=source.unsure_below,
        input=source.input,
        prefix=source.prefix,
        binary=source.binary,
    )
    compiled = library.compiled(net, target.kind == "mcu")
    flash = sum(len(content) for name, content in compiled.items() if library.in_flash(name))
    fitting = known.fitting(source.known, target.flash_bytes - flash)
    beside = known.files(fitting, net.binary)
    if source.normal is not None:
        beside |= normal.files(source.normal.distance)
    named = library.named(beside, net.prefix)
    for name, content in (compiled | named).items():
        _put(folder / f"{drop.sources}{name}", content)
    firmware = Firmware(
        net,
        beside=tuple(name for name in named if Path(name).suffix in build.SUFFIXES),
        small=target.kind == "mcu",
        cpu=target.cpu if drop.programs else None,
        known_bytes=known.flash_bytes(fitting),
        normal=source.normal is not None,
        instructions=bounds(table, known.counted(fitting)),
        checksum=expected(program, len(source.classes)),
        target=source.target,
    )
    _put_around(folder, drop, firmware, source.target)
    watch("c", 1, 1)
    memory = {name: MemoryPlan(bytes, table.state_bytes) for name, bytes in arenas.items()}
    files = dict.fromkeys(arenas, f"{drop.sources}{net.prefix}.c")
    footprints = planned.interpreted(source, arenas)
    return Written(files, memory, "dfedge's interpreter", LIBRARY, footprints)


def _put_around(folder: Path, drop: Ecosystem, firmware: Firmware, target: str) -> None:
    """What is not a part of the library: manifests, example, README, licence, programs."""
    for name, text in (drop.files(firmware) | report(firmware, drop)).items():
        _put(folder / name, text.encode())
    _put(folder / "README.md", readme(firmware, drop).encode())
    shutil.copy(configs.licence(), folder / "LICENSE")
    if drop.programs:
        shutil.copytree(build.RUNNER, folder / "run")
    if firmware.cpu:
        _copy_board(target, folder / "board")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
