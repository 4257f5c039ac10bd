"""Golden batches: real inputs and the exact integers that every runtime must give for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dfedge.compile.state import State
from dfedge.compile.step import infer, train
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.int8.trunk import Constants, latents
from dfedge.plan import Plan
from dfedge.state import digest, tensor_digest

STEPS = 8


@dataclass(frozen=True)
class Golden:
    """Arrays as `dfedge.bundle.Bundle.golden` describes them, and the digest of the final state."""

    arrays: dict[str, NDArray[Any]]
    state_sha256: str


def to_arrays(state: State) -> dict[str, NDArray[Any]]:
    """Torch's state as NumPy's."""
    return {name: value.numpy() for name, value in state.items()}


def golden_samples(samples: int, batch: int) -> NDArray[np.int64]:
    """Which of a data set's samples the golden batches hold."""
    return np.random.default_rng(0).choice(samples, STEPS * batch)


def make_golden(plan: Plan, state: State, split: Split, batch: int, constants: Constants) -> Golden:
    """Golden batches of the images of `golden_samples`.

    Every other batch carries labels moved by one class, so that the margin is violated and every
    kind of update is exercised even by a net that knows its training data.
    """
    x = to_input(split.x).reshape(STEPS, batch, *split.x.shape[1:])
    y = split.y.astype(np.int32).reshape(STEPS, batch)
    y[1::2] = (y[1::2] + 1) % int(state["live"].sum())
    return replay(plan, state, x, y, constants)


def replay(
    plan: Plan,
    state: State,
    x: NDArray[np.int8],
    y: NDArray[np.int32],
    constants: Constants | None = None,
) -> Golden:
    """Train the batches in PyTorch and write down what came out.

    Args:
        x: int8 [S, B, H, W, C].
        y: int32 [S, B].
        constants: of the plan's trunk.
    """
    seen_by_layers = [latents(plan.trunk, constants or {}, torch.from_numpy(one)) for one in x]
    scores, digests = [], []
    for z, one_y in zip(seen_by_layers, y, strict=True):
        state, seen, _ = train(plan, state, z, torch.from_numpy(one_y))
        scores.append(seen.numpy())
        digests.append([tensor_digest(value.numpy()) for value in state.values()])
    after = infer(plan, state, seen_by_layers[-1]).numpy()
    arrays: dict[str, NDArray[Any]] = {
        "x": x,
        "y": y,
        "scores": np.stack(scores),
        "infer": after,
        "digests": np.array(digests, np.uint8),
    }
    return Golden(arrays, digest(to_arrays(state)))
