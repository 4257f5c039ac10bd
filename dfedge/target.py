"""A device as data: TOML files in targets/, by name or by path."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dfedge import configs
from dfedge.bundle import FormatRecord
from dfedge.errors import DfedgeError, UsageError

KIB = 1024


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device offers.

    Attributes:
        about: one line for people.
        kind: ``linux`` runs the Python package; ``mcu`` runs the .pte program through ExecuTorch's
            C++ runtime, or the C sources on their own.
        ram_bytes: for programs and state, in all.
        flash_bytes: for programs and files, in all.
        formats: that its runtimes open.
        cpu: the processor, as a C compiler names it, where NAME/link.ld lays out its memory.
        sources: where the numbers come from.
    """

    about: str
    kind: Literal["linux", "mcu"]
    ram_bytes: Annotated[int, Meta(ge=KIB)]
    flash_bytes: Annotated[int, Meta(ge=KIB)]
    formats: list[str]
    sources: Annotated[list[str], Meta(min_length=1)]
    cpu: str | None = None


def load_target(name: str) -> Target:
    """Read a target by name or by path (anything that ends in .toml).

    Raises:
        UsageError: no target of that name.
        DfedgeError: a file that is missing or is no target.
    """
    path = configs.find(configs.folder("targets"), "target", name)
    return configs.read(path, Target, "target")


def check_formats(target: Target, name: str, formats: list[str]) -> None:
    """Refuse formats that the device cannot open.

    Raises:
        UsageError: naming them.
    """
    foreign = [format for format in formats if format not in target.formats]
    if foreign:
        raise UsageError(
            f"target '{name}' opens {', '.join(target.formats)}, not {', '.join(foreign)}; "
            "leave that --format out or choose another --target"
        )


def check_fits(target: Target, name: str, format: str, record: FormatRecord, flash: int) -> None:
    """Refuse a program whose arena and state exceed the RAM, or whose files exceed the flash.

    Raises:
        DfedgeError: with the worst method, what it needs, what is allowed and what would help.
    """
    worst = max(record.memory, key=lambda m: record.memory[m].arena_bytes)
    plan = record.memory[worst]
    needs = plan.arena_bytes + plan.state_bytes
    if needs > target.ram_bytes:
        raise DfedgeError(
            f"{format} method {worst} needs {needs:,} B of RAM (arena {plan.arena_bytes:,} B, "
            f"state {plan.state_bytes:,} B); target '{name}' allows {target.ram_bytes:,} B. "
            "A smaller --batch, a smaller net or a larger --target fits."
        )
    if flash > target.flash_bytes:
        raise DfedgeError(
            f"{format}: {flash:,} B of files; target '{name}' allows {target.flash_bytes:,} B "
            "of flash. Fewer batch sizes or a smaller net fits."
        )
