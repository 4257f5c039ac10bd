"""The step of a plan without its trunk, at work on the host: what learns in the trial at export."""

from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from dfedge.compile import step
from dfedge.compile.state import State
from dfedge.data.dataset import Labels
from dfedge.native.build import compiler
from dfedge.native.program import NativeProgram
from dfedge.native.table import make_table
from dfedge.plan import Plan

CHUNK = 128
"""Samples of one call."""

Inputs = NDArray[np.int8]
"""[N, H, W, C]."""


@dataclass(frozen=True)
class LatentSamples:
    """Inputs of the first layer, int8 [N, H, W, C], and labels."""

    x: Inputs
    y: Labels


class Learner:
    """A plan without its trunk, in the native interpreter where it can be built, else in torch."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan, self.state = replace(plan, trunk=None), state
        self.program = None
        if compiler() is not None:
            arrays = {name: value.numpy() for name, value in state.items()}
            self.program = NativeProgram(self.plan, make_table(self.plan, arrays, {}))
            self.program.write(arrays)

    def learn(self, x: Inputs, y: Labels) -> None:
        """One step."""
        if self.program is not None:
            self.program.train(x, y.astype(np.int32))
            return
        labels = torch.from_numpy(y.astype(np.int32))
        self.state = step.train(self.plan, self.state, torch.from_numpy(x), labels)[0]

    def scores(self, x: Inputs) -> NDArray[np.int32]:
        """Scores [N, K]."""
        parts = [x[start : start + CHUNK] for start in range(0, len(x), CHUNK)]
        return np.concatenate([self._infer(part) for part in parts])

    def _infer(self, x: Inputs) -> NDArray[np.int32]:
        if self.program is not None:
            return self.program.infer(x)
        return step.infer(self.plan, self.state, torch.from_numpy(x)).numpy()

    def accuracy(self, samples: LatentSamples) -> float:
        """Fraction recognised."""
        return float((self.scores(samples.x).argmax(1) == samples.y).mean())
