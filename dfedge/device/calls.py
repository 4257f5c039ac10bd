"""What runtimes have in common: every method of a program is one call by its kind."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CallRunner(ABC):
    """The methods of `dfedge.device.runners.Runner`, each as one `call`."""

    @abstractmethod
    def call(self, kind: str, x: NDArray[np.int8], *y: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Run a method; copies of its results."""

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K]."""
        (scores,) = self.call("infer", x)
        return scores

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        return self.call("features", x)

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        scores, active = self.call("train", x, y)
        return scores, active

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of latents."""
        scores, active = self.call("train_from", z, y)
        return scores, active
