"""A device as data (targets/*.toml, by name or by path), and the bytes that a program may use.

Sizes are in bytes; KB, KiB and K are 1,024 of them, as makers of microcontrollers count.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dfedge import configs
from dfedge.errors import DfedgeError, UsageError
from dfedge.native.rendering import format_of
from dfedge.runtimes import find, stock_formats
from dfedge.units import apart

KIB = 1024
UNITS = {"": 1, "B": 1, "K": KIB, "M": KIB**2, "G": KIB**3}

Source = Annotated[str, Meta(pattern=r"^(https://\S+ : .+|chosen: .+)$")]


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where each number of a target comes from: ``URL : what it says``, or ``chosen: why``."""

    ram_bytes: Source
    flash_bytes: Source
    arena_alignment: Source
    model_share: Source


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device offers.

    Attributes:
        about: one line for people.
        kind: ``linux`` runs the Python package; ``mcu`` runs the .pte program through ExecuTorch's
            C++ runtime, or the C sources on their own.
        ram_bytes: of the memory in which arena and state would lie.
        flash_bytes: for programs and files, in all.
        arena_alignment: what addresses of tensors should divide by, in bytes: a power of two.
        model_share: of the RAM, that arena and state together may take.
        runtimes: that can run there.
        cpu: the processor, as a C compiler names it, where NAME/link.ld lays out its memory.
        sources: of the numbers.
        aliases: other names for it.
    """

    about: str
    kind: Literal["linux", "mcu"]
    ram_bytes: Annotated[int, Meta(ge=KIB)]
    flash_bytes: Annotated[int, Meta(ge=KIB)]
    arena_alignment: Annotated[int, Meta(ge=1, le=4096)]
    model_share: Annotated[float, Meta(gt=0, le=1)]
    runtimes: Annotated[list[str], Meta(min_length=1)]
    sources: Sources
    cpu: str | None = None
    aliases: list[str] = []

    def __post_init__(self) -> None:
        if self.arena_alignment & (self.arena_alignment - 1):
            raise ValueError(f"arena_alignment {self.arena_alignment} is not a power of two")
        for name in self.runtimes:
            runtime = find(name)
            if runtime is None or not runtime.writer or runtime.stock:
                known = ", ".join(stock_formats())
                raise ValueError(f"unknown runtime '{name}'; known: {known}")

    @property
    def allowed_bytes(self) -> int:
        """RAM that arena and state may take together."""
        return int(self.ram_bytes * self.model_share)


def load_target(name: str) -> Target:
    """Read a target by name or by path (anything that ends in .toml).

    Raises:
        UsageError: no target of that name.
        DfedgeError: a file that is missing or is not a target.
    """
    path = configs.find(configs.folder("targets"), "target", name)
    return configs.read(path, Target, "target")


def own_name(name: str) -> str:
    """The target's own name where an alias is given; any other name as it is."""
    known = configs.names("targets")
    if name in known or name.endswith(".toml"):
        return name
    return next((own for own in known if name in load_target(own).aliases), name)


@dataclass(frozen=True)
class Budget:
    """The bytes that a program may use.

    Attributes:
        words: what set the limit, for messages.
        ram_bytes: of arena and state together.
        flash_bytes: of programs and first state.
    """

    words: str
    ram_bytes: int
    flash_bytes: int


def budget_of(target: Target, name: str, budget: str | None = None) -> Budget:
    """The target's own budget, or the smaller one that was given.

    Raises:
        UsageError: no size, or one beyond what the target offers.
    """
    if budget is None:
        return Budget(f"target '{name}'", target.allowed_bytes, target.flash_bytes)
    allowed = parse_bytes(budget)
    if allowed > target.allowed_bytes:
        wanted, left = apart(allowed, target.allowed_bytes)
        raise UsageError(
            f"--budget {budget} is {wanted}; target '{name}' leaves a model "
            f"{left}; give a smaller --budget or a larger --target"
        )
    return Budget(f"--budget {budget}", allowed, target.flash_bytes)


def parse_bytes(size: str) -> int:
    """``256KB``, ``1.5 MiB``, ``300000``: bytes.

    Raises:
        UsageError: no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?\s*", size, re.IGNORECASE)
    count = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if count < 1:
        raise UsageError(f"--budget {size}: no size; write it as 256KB, 1.5MB or 300000 (bytes)")
    return count


def check_runtimes(target: Target, name: str, formats: list[str]) -> None:
    """Refuse formats that the device cannot open.

    Raises:
        UsageError: naming them.
    """
    foreign = [name for name in formats if format_of(name) not in target.runtimes]
    if foreign:
        raise UsageError(
            f"target '{name}' opens {', '.join(target.runtimes)}, not {', '.join(foreign)}; "
            "leave that --format out or choose another --target"
        )


def check_flash(budget: Budget, format: str, flash: int) -> None:
    """Refuse files that exceed the flash.

    Raises:
        DfedgeError: with both sizes.
    """
    if flash > budget.flash_bytes:
        needed, allowed = apart(flash, budget.flash_bytes)
        raise DfedgeError(
            f"{format}: {needed} of files; {budget.words} allows {allowed} "
            "of flash. Reduce the number of batch sizes, or use a smaller net."
        )
