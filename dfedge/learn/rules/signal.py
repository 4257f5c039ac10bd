"""What a rule reports of one layer on one batch."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Signal:
    """Detached values of one layer.

    Attributes:
        loss: the layer's mean loss, scalar.
        active: fraction of samples whose margin was violated, scalar.
        distance: mean squared distance to every anchor, [B, K].
    """

    loss: Tensor
    active: Tensor
    distance: Tensor
