"""Linear classifiers of latents in float: the rivals of `continual_latent.py`."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from continual_rivals import figures
from numpy.typing import NDArray

from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.balanced import Balanced
from dfedge.continual.strategies.replay import unpack
from dfedge.device.session import Session
from dfedge.state import size_bytes

BATCH, FIRST_PASSES = 16, 20
"""Samples of a step; passes over the past before a stream begins."""
Reals = NDArray[Any]
Part = tuple[NDArray[np.int8], NDArray[np.int64]]
"""Latents and labels."""


@dataclass(frozen=True)
class Seen:
    """A stream as its latents, of every experience, and of its past where it has one."""

    train: list[Part]
    test: list[Part]
    past: Part | None = None


def floats(latents: NDArray[np.int8]) -> Reals:
    """float32 [B, features] in 0..1."""
    return latents.reshape(len(latents), -1).astype(np.float32) / 128


class Softmax:
    """A float linear layer under cross-entropy, of the classes that were seen; SGD or AdamW."""

    def __init__(self, features: int, classes: int, kind: str, rate: float) -> None:
        self.weight = np.zeros((features + 1, classes), np.float32)
        self.first, self.second = np.zeros_like(self.weight), np.zeros_like(self.weight)
        self.known = np.zeros(classes, bool)
        self.kind, self.rate, self.steps = kind, rate, 0

    def logits(self, x: Reals) -> Reals:
        """[B, K]; nothing is recognised as a class that was not seen."""
        return np.where(self.known, x @ self.weight[:-1] + self.weight[-1], -np.inf)

    def step(self, x: Reals, y: NDArray[np.int64]) -> None:
        """One update; AdamW with its usual constants and a weight decay of 0.01."""
        error = self.logits(x)
        error = np.exp(error - error.max(1, keepdims=True))
        error /= error.sum(1, keepdims=True)
        error[np.arange(len(y)), y] -= 1
        slope = np.concatenate([x.T @ error, error.sum(0, keepdims=True)]) / len(y)
        self.steps += 1
        if self.kind == "SGD":
            self.weight -= self.rate * slope
            return
        self.first += 0.1 * (slope - self.first)
        self.second += 0.001 * (slope * slope - self.second)
        size = np.sqrt(self.second / (1 - 0.999**self.steps)) + 1e-8
        self.weight *= 1 - 0.01 * self.rate
        self.weight -= self.rate / (1 - 0.9**self.steps) * self.first / size


def propagated(session: Session, seen: Seen, settings: StreamSettings, classes: int,
               rate: tuple[str, float]) -> dict[str, Any]:  # fmt: skip
    """A float linear layer, the product's memory of the same bytes, as many presentations."""
    rng, memory = np.random.default_rng(settings.seed), Balanced(session, settings)
    net = Softmax(int(np.prod(memory.shape)), classes, *rate)
    matrix, seconds, steps = [], 0.0, 0
    if seen.past is not None:
        z, y = seen.past
        net.known[y] = True
        for _ in range(FIRST_PASSES):
            order = rng.permutation(len(y))
            for at in range(0, len(y), BATCH):
                net.step(floats(z[order[at : at + BATCH]]), y[order[at : at + BATCH]])
        memory._offer(z[: settings.remember], y[: settings.remember], rng)
    for z, y in seen.train:
        start = time.process_time()
        for i in range(0, len(y), BATCH):
            new, rows = z[i : i + BATCH], y[i : i + BATCH]
            net.known[rows] = True
            count = min(settings.replayed, memory.held // len(rows)) * len(rows)
            again = rng.permutation(memory.held)[:count]
            old = unpack(memory.latents[again], settings.bits, memory.shape)
            x = floats(np.concatenate([new, old]))
            label = np.concatenate([rows, memory.rows[again].astype(np.int64)])
            order = rng.permutation(len(x))
            for at in range(0, len(x), BATCH):
                net.step(x[order[at : at + BATCH]], label[order[at : at + BATCH]])
            memory._offer(new, rows, rng)
            steps += 1
        seconds += time.process_time() - start
        matrix.append([accuracy(net.logits(floats(x)), t) for x, t in seen.test])
    return figures(matrix, size_bytes(memory.arrays()), 1000 * seconds / steps)


def accuracy(scores: Reals, y: NDArray[np.int64]) -> float:
    return float((scores.argmax(1) == y).mean())


def statistics_of(seen: Seen, classes: int, shared: bool) -> dict[str, Any]:
    """Class means, and of all samples their spread about them: nothing else is remembered."""
    size = seen.train[0][0][0].size
    total, count = np.zeros((classes, size)), np.zeros(classes)
    square, matrix = np.zeros((size, size)), []
    for number, (z, y) in enumerate([*([seen.past] if seen.past else []), *seen.train]):
        x = floats(z).astype(float)
        np.add.at(total, y, x)
        count += np.bincount(y, minlength=classes)
        square += x.T @ x
        means = total / np.maximum(count, 1)[:, None]
        inner = np.eye(size)
        if shared:
            within = (square - (means.T * count) @ means) / count.sum()
            inner = np.linalg.inv(within + 1e-4 * np.trace(within) / size * inner)
        weight = means @ inner
        bias = np.where(count > 0, -(weight * means).sum(1) / 2, -np.inf)
        if number or seen.past is None:
            matrix.append([accuracy(floats(other) @ weight.T + bias, t) for other, t in seen.test])
    return figures(matrix, 4 * (total.size + classes + (square.size if shared else 0)), 0.0)


def all_at_once(seen: Seen) -> float:
    """Logistic regression on all latents of a stream (L-BFGS)."""
    from sklearn.linear_model import LogisticRegression

    x, y = (np.concatenate(parts) for parts in zip(*seen.train, strict=True))
    model = LogisticRegression(C=100, max_iter=500).fit(floats(x), y)
    return float(np.mean([model.score(floats(z), t) for z, t in seen.test]))
