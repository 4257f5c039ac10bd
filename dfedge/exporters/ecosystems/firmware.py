"""What the files of an ecosystem say of a net."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfedge.native.header import NetSources


@dataclass(frozen=True)
class Firmware:
    """A net in C, as its manifests and its README need it.

    Attributes:
        beside: sources beside NAME.c and NAME_store.c.
        small: the kernels are set up for a microcontroller.
        cpu: of a board whose startup code and linker file lie in the folder ``board``.
        known_bytes: flash, of known samples.
        normal: it knows what is normal.
        instructions: at most, by call and set of kernels.
        checksum: of the state after the steps of the report.
        target: that it was exported for.
    """

    net: NetSources
    beside: tuple[str, ...] = ()
    small: bool = False
    cpu: str | None = None
    known_bytes: int = 0
    normal: bool = False
    instructions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    checksum: int = 0
    target: str = "host"

    @property
    def prefix(self) -> str:
        """What names and files begin with."""
        return self.net.prefix

    @property
    def own(self) -> tuple[str, ...]:
        """The net's own sources, beside the kernels in dfedge/."""
        data = (f"{self.prefix}_data.S",) if self.net.binary else ()
        return (f"{self.prefix}.c", f"{self.prefix}_store.c", *data, *self.beside)

    @property
    def assembled(self) -> dict[str, str]:
        """Of the net's own sources those for the assembler, and the file that each includes."""
        image = {f"{self.prefix}_data.S": f"{self.prefix}.dfe"}
        known = {f"{self.prefix}_known_data.S": f"{self.prefix}_known.bin"}
        return {name: one for name, one in (image | known).items() if name in self.own}

    @property
    def release(self) -> str:
        """A version as package managers want it."""
        return f"{self.net.identity.bundle_version}.0.0"


ABOUT = "A neural network in C that goes on learning on the device, by dfedge."
LICENCE = "Apache-2.0"
"""A line and an SPDX identifier for manifests."""
EXAMPLE = "examples/learn"
"""Folder of the example."""
