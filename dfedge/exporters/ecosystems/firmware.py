"""What the files of an ecosystem say of a net."""

from dataclasses import dataclass

from dfedge.native.naming import NET


@dataclass(frozen=True)
class Firmware:
    """A net in C, as its manifests and its README need it.

    Attributes:
        beside: sources beside NAME.c and NAME_store.c.
        small: the kernels are set up for a microcontroller.
        cpu: of a board whose startup code and linker file lie in the folder ``board``.
        version: of the bundle.
        batch: the most samples of one call.
        arena_bytes, state_bytes: RAM.
        table_bytes: flash, beside as many bytes as the state has.
        known_bytes: flash, of known samples.
        normal: it knows what is normal.
        unsure_below: as `dfedge.native.sources.Net`'s.
        input: prototype of what makes a raw sample into x; empty: the caller does.
    """

    prefix: str = NET
    beside: tuple[str, ...] = ()
    small: bool = False
    cpu: str | None = None
    version: int = 0
    batch: int = 1
    arena_bytes: int = 0
    state_bytes: int = 0
    table_bytes: int = 0
    known_bytes: int = 0
    normal: bool = False
    unsure_below: int = 0
    input: str = ""

    @property
    def own(self) -> tuple[str, ...]:
        """The net's own sources, beside the kernels in dfedge/."""
        return (f"{self.prefix}.c", f"{self.prefix}_store.c", *self.beside)

    @property
    def release(self) -> str:
        """A version as package managers want it."""
        return f"{self.version}.0.0"


ABOUT = "A neural network in C that goes on learning on the device, by dfedge."
LICENCE = "Apache-2.0"
"""A line and an SPDX identifier for manifests."""
EXAMPLE = "examples/learn"
"""Folder of the example."""
