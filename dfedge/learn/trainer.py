"""The training loop on the host: epochs of a rule, in float and then under fake quantisation.

Everything random in an epoch is drawn from a generator seeded with (seed, epoch), and the learning
rate is a function of the step, so a run resumed at an epoch's boundary equals one never stopped.
No value leaves the device before the epoch's end.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfedge.learn.augment import augment
from dfedge.learn.goodness import pool_cells
from dfedge.learn.net import Net
from dfedge.learn.rules import Rule
from dfedge.learn.spec import Settings

WARM_UP = 0.1
Progress = Callable[[int, int], None]
"""Called with (batches done, batches in all) of an epoch."""


@dataclass(frozen=True)
class EpochReport:
    """Means over one epoch: per layer the loss and the active fraction; accuracy as it trained."""

    loss: list[float]
    active: list[float]
    accuracy: float


@dataclass(frozen=True)
class Samples:
    """The training split on the training device: pixels 0..127 int8 [N, C, H, W], labels [N]."""

    x: Tensor
    y: Tensor


def make_optimiser(net: Net, settings: Settings) -> torch.optim.AdamW:
    """AdamW over convolutions (with decay), normalisation and anchors (without)."""
    layers = net.layer_list()
    groups = [
        {"params": [layer.weight for layer in layers], "scale": 1.0},
        {"params": [p for layer in layers for p in layer.norm.parameters()], "scale": 1.0},
        {"params": [layer.anchors for layer in layers], "scale": settings.anchor_lr},
    ]
    for group, decay in zip(groups, (settings.weight_decay, 0.0, 0.0), strict=True):
        group["weight_decay"] = decay
    return torch.optim.AdamW(groups, lr=settings.lr)


def learning_rate(progress: float) -> float:
    """The schedule as a factor: up over the first tenth, then a cosine down to 0."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def initialise_anchors(net: Net, samples: Samples, count: int = 1000) -> None:
    """Set every layer's anchors to its class means over the first ``count`` training samples."""
    net.train()
    x, y = samples.x[:count], samples.y[:count]
    member = nn.functional.one_hot(y, net.classes).T.float()  # [K, B]
    mean = member / member.sum(1, keepdim=True).clamp(min=1)
    for layer, h in net.activations(x):
        layer.anchors.copy_(mean @ pool_cells(h, layer.cells))


@dataclass
class Trainer:
    """One phase of training: float, or quantised where ``net.scales`` are set.

    Attributes:
        epochs: of this phase.
        peak: the phase's peak learning rate as a factor on ``settings.lr``.
    """

    net: Net
    rule: Rule
    settings: Settings
    seed: int
    epochs: int
    peak: float = 1.0

    def __post_init__(self) -> None:
        self.optimiser = make_optimiser(self.net, self.settings)

    def epoch(self, samples: Samples, number: int, progress: Progress) -> EpochReport:
        """Run epoch ``number`` (from 0 in this phase) over the samples.

        In float the normalisation learns and keeps its statistics; quantised, they are folded.
        """
        quantised = self.net.scales is not None
        self.net.train(not quantised)
        generator = torch.Generator().manual_seed(_mix(self.seed, quantised, number))
        count, device = len(samples.y), samples.x.device
        order = torch.randperm(count, generator=generator).to(device)
        batches = max(1, count // self.settings.batch)
        totals: list[Tensor] = []
        for i in range(batches):
            index = order[i * self.settings.batch : (i + 1) * self.settings.batch]
            x = augment(samples.x[index], self.settings.shift, self.settings.flip, generator)
            totals.append(self._batch(x, samples.y[index], (number + i / batches) / self.epochs))
            progress(i + 1, batches)
        mean = torch.stack(totals).mean(0).tolist()  # the epoch's only synchronisation
        layers = len(self.net.layers)
        return EpochReport(mean[:layers], mean[layers:-1], mean[-1])

    def _batch(self, x: Tensor, y: Tensor, progress: float) -> Tensor:
        """One update: losses, active fractions and accuracy in one row [2 L + 1]."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * self.peak * group["scale"] * learning_rate(progress)
        self.optimiser.zero_grad(set_to_none=True)
        signals = self.rule(self.net, x, y)
        self.optimiser.step()
        nearest = torch.stack([s.distance for s in signals]).sum(0).argmin(1)
        return torch.stack(
            [s.loss for s in signals]
            + [s.active for s in signals]
            + [(nearest == y).float().mean()]
        )


def _mix(seed: int, quantised: bool, epoch: int) -> int:
    return (seed * 2 + int(quantised)) * 100_003 + epoch


@torch.no_grad()
def accuracy(net: Net, samples: Samples, batch: int = 500) -> float:
    """Fraction of samples whose best score is at their label."""
    net.eval()
    right = [
        (net.scores(samples.x[i : i + batch]).argmax(1) == samples.y[i : i + batch]).sum()
        for i in range(0, len(samples.y), batch)
    ]
    return float(torch.stack(right).sum()) / len(samples.y)
