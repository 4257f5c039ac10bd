"""PyTorch as a runner: the step itself, which every other runtime is held against."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfedge.bundle import Bundle
from dfedge.compile import step
from dfedge.int8.trunk import latents
from dfedge.state import State


class TorchRunner:
    """See `dfedge.device.runners.Runner`; any batch size."""

    def __init__(self, bundle: Bundle) -> None:
        self.plan = bundle.manifest.plan
        self.names = bundle.manifest.state_names
        given = bundle.constants()
        self.constants = {name: torch.from_numpy(value.copy()) for name, value in given.items()}
        self.set_state(bundle.initial_state())

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.state = {name: torch.from_numpy(np.array(state[name])) for name in self.names}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return {name: value.numpy().copy() for name, value in self.state.items()}

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K]."""
        return step.infer(self.plan, self.state, self._latents(x)).numpy()

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, then the latent."""
        return [v.numpy() for v in step.features(self.plan, self.state, self._latents(x))]

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch."""
        return self._learn(step.train, self._latents(x), y)

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of latents."""
        return self._learn(step.train_from, torch.from_numpy(z), y)

    def _latents(self, x: NDArray[np.int8]) -> Tensor:
        return latents(self.plan.trunk, self.constants, torch.from_numpy(x))

    def _learn(
        self, call: Any, x: Tensor, y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        self.state, scores, active = call(self.plan, self.state, x, torch.from_numpy(y))
        return scores.numpy(), active.numpy()
