"""What sizes the integer semantics can hold: every bound of its int32 and exact-float arithmetic.

Checked before training and again at export, so that no program overflows in silence.
"""

from dataclasses import dataclass

from dfedge.errors import DfedgeError
from dfedge.int8.ops import ACTIVATION_MAX, DEAD_SCORE, MARGIN_UNIT, WEIGHT_MAX

INT32 = 1 << 31
MAX_UPDATE_SHIFT = 24
PEAK = ACTIVATION_MAX * WEIGHT_MAX
"""16,129: the largest product of two operands."""

MAX_CELL = 4096
"""Positions of one pooling cell whose mean a float32 reciprocal still rounds exactly."""
MAX_AXIS = 40_000
"""Length of a weight's axis over which the dither's int32 ramp does not wrap."""


@dataclass(frozen=True)
class LayerSize:
    """The sizes of one layer that the bounds speak of."""

    name: str
    height: int
    width: int
    in_channels: int
    channels: int
    kernel: int
    cells: int
    margin: int
    score_shift: int = 0

    @property
    def features(self) -> int:
        """Length d of an anchor."""
        return self.cells * self.cells * self.channels

    def violations(self, classes: int, batch: int) -> list[str]:
        """Every bound that the layer breaks, in words; empty where it fits."""
        fan_in = self.kernel * self.kernel * self.in_channels
        positions = batch * self.height * self.width
        cell = -(-self.height // self.cells) * -(-self.width // self.cells)
        anchor = PEAK * self.features
        checks = [
            # accumulator + bias (kept within 2^30) + half a step
            ("fan-in k*k*C", fan_in, ((INT32 >> 1) - (1 << 23)) // PEAK),
            # correlation + dither, whose threshold is below 2^MAX_UPDATE_SHIFT
            (f"positions summed at batch {batch}", positions,
             (INT32 - (1 << MAX_UPDATE_SHIFT)) // PEAK),
            # 16 * score gap (at most 2 * 127^2 d) + margin * separation (at most 127^2 d)
            ("features d of an anchor", self.features,
             INT32 // (PEAK * (2 * MARGIN_UNIT + self.margin))),
            ("scores' magnitude", anchor << self.score_shift, -DEAD_SCORE - 1),
            ("positions of a pooling cell", cell, MAX_CELL),
            ("longest axis of a tensor", max(self.features, self.in_channels, classes), MAX_AXIS),
        ]  # fmt: skip
        return [
            f"{self.name}: {what} is {got:,}, the integer step holds {limit:,}"
            for what, got, limit in checks
            if got > limit
        ]


def check_sizes(layers: list[LayerSize], classes: int, batch: int) -> None:
    """Refuse sizes that the integer step cannot hold.

    Raises:
        DfedgeError: naming every broken bound.
    """
    broken = [line for layer in layers for line in layer.violations(classes, batch)]
    total = sum((PEAK * layer.features) << layer.score_shift for layer in layers)
    if total >= -DEAD_SCORE:
        broken.append(
            f"the scores' sum may reach {total:,}, the integer step holds {-DEAD_SCORE:,}"
        )
    if broken:
        raise DfedgeError(
            "; ".join(broken) + ". Fewer anchor cells, channels or a smaller image or batch fit."
        )
