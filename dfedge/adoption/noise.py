"""What integers cost an adopted net: the signal to noise of its operations."""

from collections.abc import Sequence
from dataclasses import dataclass

NOISY = 10.0
"""Signal to noise in dB below which a result is worth a word: a tenth of its energy is noise.
EfficientNet-Lite0 has 14 at its lowest, and loses no accuracy."""


@dataclass(frozen=True)
class OperationLoss:
    """What an operation lost on the samples.

    Attributes:
        snr: signal to noise in dB, of everything up to here; of a result that only a function
            reads, that function's.
    """

    name: str
    op: str
    snr: float


def noisiest(losses: Sequence[OperationLoss]) -> OperationLoss | None:
    """The result that lost most, where that is worth a word (`NOISY`)."""
    worst = min(losses, key=lambda loss: loss.snr, default=None)
    return worst if worst is not None and worst.snr < NOISY else None
