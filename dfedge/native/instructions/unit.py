"""Layers of a table, as whole calls and slices go through them."""

from dataclasses import dataclass

from dfedge.native.instructions.kernels import Geometry
from dfedge.native.layout import Fields
from dfedge.native.table import ProgramTable

SIGN_CONCORDANT = 3
"""``DFE_SIGN_CONCORDANT``."""


@dataclass(frozen=True)
class LayerInstructions:
    """A layer of a table.

    Attributes:
        row: of ``dfe_layer``.
        convs: its convolutions.
    """

    row: Fields
    convs: list[Geometry]

    @property
    def chain(self) -> int:
        """Convolutions that follow one another."""
        return self.row["joined"] or len(self.convs)

    @property
    def skip(self) -> Geometry | None:
        """The convolution of the skipped input."""
        return self.convs[self.chain] if len(self.convs) > self.chain else None

    @property
    def output(self) -> tuple[int, int, int]:
        """[H, W, C]."""
        end = self.convs[self.chain - 1]
        return end.out_height, end.out_width, end.channels

    @property
    def features(self) -> int:
        """Length of an anchor."""
        height, width, channels = self.output
        return min(self.row["cells"], height) * min(self.row["cells"], width) * channels

    @property
    def window(self) -> int:
        """Positions of its maximum."""
        return min(2, self.output[0]) * min(2, self.output[1]) if self.row["pool"] else 1


def units(table: ProgramTable) -> list[LayerInstructions]:
    """All layers."""
    return [
        LayerInstructions(
            row, [Geometry.of(c) for c in table.convs[row["first"] :][: row["convs"]]]
        )
        for row in table.layers
    ]
