"""Sets of kernels, and the geometry of a convolution as they see it.

The names and sizes of tiles are those of ``src/level.h`` and ``src/panel.h``, compiled for a
microcontroller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

PIXELS, OUTPUTS, CHANNELS, POSITIONS = 4, 16, 16, 16
SUMS = 48
ROOMS = (128, 256)
LEAST = 4


@dataclass(frozen=True)
class Kernels:
    """One set: what ``dfedge/config.h`` chooses by the compiler's macros.

    Attributes:
        name: in instructions.toml.
        cpu: that its constants are measured for.
        floats: the ABI that this needs.
        outputs, group: of packed weights: outputs side by side, weights of each.
        room: weights of one output that have room at most.
    """

    name: str
    cpu: str
    floats: str
    outputs: int
    group: int
    room: int


SETS = (
    Kernels("plain", "cortex-m0plus", "soft", 4, 1, 512),
    Kernels("simd32", "cortex-m4", "hard", 2, 4, 576),
    Kernels("mve", "cortex-m55", "hard", 4, 16, 576),
)
MEANT = {
    "plain": "Cortex-M0, M0+, M3 (plain C)",
    "simd32": "Cortex-M4, M7, M33 (SIMD32)",
    "mve": "Cortex-M55, M85 (Helium)",
}
"""For which processors a set is."""


def up(n: int, to: int) -> int:
    """``n`` rounded up to a multiple."""
    return -(-n // to) * to


def parts(n: int, size: int) -> list[int]:
    """``n`` in tiles of ``size``: [size, size, ..., rest]."""
    return [size] * (n // size) + ([n % size] if n % size else [])


@dataclass(frozen=True)
class Zone:
    """Outputs of one axis that share a window of taps: how many, and begin .. end of the taps."""

    count: int
    begin: int
    end: int

    @property
    def taps(self) -> int:
        """Of the window."""
        return self.end - self.begin


@dataclass(frozen=True)
class Geometry:
    """A convolution, as a row of ``dfe_conv`` or ``dfe_operation`` has it."""

    height: int
    width: int
    in_channels: int
    channels: int
    kernel_height: int
    kernel_width: int
    stride: int
    across: int
    top: int
    bottom: int
    left: int
    right: int
    depthwise: int = 0

    @staticmethod
    def of(row: Mapping[str, int]) -> "Geometry":
        """Of a row of the table."""
        return Geometry(**{field.name: row[field.name] for field in fields(Geometry)})

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return (self.height + self.top + self.bottom - self.kernel_height) // self.stride + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return (self.width + self.left + self.right - self.kernel_width) // self.across + 1

    @property
    def positions(self) -> int:
        """Of the output."""
        return self.out_height * self.out_width

    @property
    def rows(self) -> list[Zone]:
        """Zones down."""
        return _zones(self.out_height, self.stride, self.top, self.kernel_height, self.height)

    @property
    def columns(self) -> list[Zone]:
        """Zones across."""
        return _zones(self.out_width, self.across, self.left, self.kernel_width, self.width)

    def reached(self, tap: int, down: bool) -> int:
        """Outputs of one axis that a tap reaches inside the input."""
        zones = self.rows if down else self.columns
        return sum(zone.count for zone in zones if zone.begin <= tap < zone.end)


def _zones(outputs: int, stride: int, pad: int, kernel: int, size: int) -> list[Zone]:
    found: list[Zone] = []
    for o in range(outputs):
        start = o * stride - pad
        begin = max(0, -start)
        end = max(min(kernel, size - start), begin)
        if found and (found[-1].begin, found[-1].end) == (begin, end):
            found[-1] = Zone(found[-1].count + 1, begin, end)
        else:
            found.append(Zone(1, begin, end))
    return found
