"""What every exporter is given and gives back (`dfedge.runtimes` lists them)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from numpy.typing import NDArray

from dfedge.compile.state import State
from dfedge.data.inputs.rule import InC
from dfedge.errors import unknown_name
from dfedge.exporters.ecosystems import DEFAULT
from dfedge.exporters.program import Method
from dfedge.footprint import Footprint
from dfedge.int8.stock.tiled import FLOORS
from dfedge.manifest import MemoryPlan, Threshold
from dfedge.native.image import Identity
from dfedge.native.naming import NET
from dfedge.plan import Plan
from dfedge.progress import Progress
from dfedge.runtimes import find, formats


@dataclass(frozen=True)
class ExportSource:
    """What is exported: the plan of the step, its first state, and the methods wanted.

    Attributes:
        alignment: of tensors in an arena that is planned at export, in bytes.
        tile_bytes: `dfedge.int8.stock.tiled.Tiled.floor`, where tiles are cut.
        target: name or path of the device.
        constants: of the plan's trunk.
        known: samples that the bundle brings along, as `dfedge.bundle.Bundle.known` gives them.
        identity: of the bundle, for what learns without its manifest.
        input: how a C program makes a sample into what the net takes.
        normal: what is still normal, where that was learned.
        classes: names of the rows that are in use.
        unsure_below: the lead below which an answer is unsure; 0: not known.
        prefix: what names and files of the C sources begin with.
        ecosystem: whose manifests they get (`dfedge.exporters.ecosystems`).
        binary: they hold the net's numbers as data for an assembler.
    """

    plan: Plan
    state: State
    methods: tuple[Method, ...]
    alignment: int = 16
    tile_bytes: int = FLOORS[0]
    target: str = "host"
    constants: State = field(default_factory=dict)
    known: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    input: InC | None = None
    normal: Threshold | None = None
    classes: tuple[str, ...] = ()
    unsure_below: int = 0
    prefix: str = NET
    ecosystem: str = DEFAULT
    binary: bool = False


@dataclass(frozen=True)
class Written:
    """What an exporter wrote: method -> file name in its folder, its memory plan, its footprint."""

    files: dict[str, str]
    memory: dict[str, MemoryPlan]
    memory_source: str
    versions: dict[str, str]
    footprints: dict[str, Footprint]


Writer = Callable[[ExportSource, Path, Progress], Written]


def load_writer(name: str) -> Writer:
    """The exporter of a format.

    Raises:
        UsageError: no such format.
    """
    runtime = find(name)
    if runtime is None or not runtime.writer:
        raise unknown_name("format", name, list(formats()))
    writer: Writer = resolve_name(runtime.writer)
    return writer
