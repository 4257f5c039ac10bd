"""The training loop on the host: epochs of a rule, in float and then under fake quantisation.

Everything random in an epoch is drawn from a generator seeded with (seed, phase, epoch), and the
learning rate is a function of the step, so a run resumed at an epoch's boundary equals one never
stopped.  Every layer has an optimiser of its own, stepped as soon as the layer's gradient is whole.
No value leaves the device before the epoch's end.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfedge.learn import parallel
from dfedge.learn.augment import augment
from dfedge.learn.forms.labelplane import LabelPlane
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.lean import pool_cells
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, HostRule
from dfedge.learn.samples import Samples, batches
from dfedge.learn.spec import Settings
from dfedge.progress import Count

WARM_UP = 0.1


@dataclass(frozen=True)
class EpochReport:
    """Means over one epoch: per layer the loss and the active fraction (a nan where its own loss is
    not used); accuracy as it trained, among the classes shown.
    """

    loss: list[float]
    active: list[float]
    accuracy: float


def make_optimisers(net: Net, settings: Settings) -> list[torch.optim.AdamW]:
    """One AdamW a layer over convolutions (with decay), normalisation and labels (without)."""
    made = []
    for i, unit in enumerate(net.units):
        weights = [p for p in unit.parameters() if p.ndim > 1]
        norms = [p for p in unit.parameters() if p.ndim == 1]
        labels = [p for p in net.parameters_of(i) if all(p is not q for q in unit.parameters())]
        rate = 1.0 if net.plane else settings.anchor_lr
        groups = [
            {"params": weights, "scale": 1.0, "weight_decay": settings.weight_decay},
            {"params": norms, "scale": 1.0, "weight_decay": 0.0},
            {"params": labels, "scale": rate, "weight_decay": 0.0},
        ]
        full = [group for group in groups if group["params"]]
        made.append(torch.optim.AdamW(full, lr=settings.lr, fused=True))
    return made


def learning_rate(progress: float) -> float:
    """The schedule as a factor: up over the first tenth, then a cosine down to 0."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def initialise_anchors(net: Net, samples: Samples, count: int = 1000) -> None:
    """Set every layer's anchors to its class means over the first ``count`` training samples."""
    if isinstance(net.form, LabelPlane):
        return
    net.train()
    x, y = samples.x[:count], samples.y[:count]
    member = nn.functional.one_hot(y, net.classes).T.float()  # [K, B]
    mean = member / member.sum(1, keepdim=True).clamp(min=1)
    form = net.one_pass
    for i, h in enumerate(net.activations(pixels(x))):
        form.anchors[i].copy_(mean @ pool_cells(h, form.cells[i]))


@dataclass
class Trainer:
    """One phase of training: float, or quantised where ``net.scales`` are set.

    Attributes:
        epochs: of this phase.
        peak: the phase's peak learning rate as a factor on ``settings.lr``.
        rank, world: this process's part of each batch.
        frozen: keep the normalisation's statistics as they are, in float too.
    """

    net: Net
    rule: HostRule
    settings: Settings
    seed: int
    epochs: int
    peak: float = 1.0
    rank: int = 0
    world: int = 1
    frozen: bool = False

    def __post_init__(self) -> None:
        self.optimisers = make_optimisers(self.net, self.settings)

    def epoch(self, samples: Samples, number: int, progress: Count) -> EpochReport:
        """Run epoch ``number`` (from 0 in this phase) over the samples.

        In float the normalisation learns and keeps its statistics; quantised, they are folded.
        """
        quantised = self.net.scales is not None
        self.net.train(not quantised and not self.frozen)
        generator = torch.Generator().manual_seed(_mix(self.seed, quantised, number))
        count, size = len(samples), self.settings.batch
        device = samples.x.device
        order = torch.randperm(count, generator=generator).to(device)
        steps = max(1, count // size)
        mixed = self.settings.mixed(device.type) and not quantised
        rows: list[Tensor] = []
        for i in range(steps):
            index = order[i * size : (i + 1) * size]
            x = augment(samples.x[index], self.settings.shift, self.settings.flip, generator)
            mine = slice(self.rank, None, self.world)
            batch = Batch(x[mine], samples.y[index][mine], number * steps + i, generator)
            self._schedule((number + i / steps) / self.epochs)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                rows.append(self.step(batch))
            progress(i + 1, steps)
        mean = torch.stack(rows).mean(0)
        parallel.average([mean, *self.net.buffers()])
        values = mean.tolist()  # the epoch's only synchronisation
        layers = len(self.net.units)
        return EpochReport(values[:layers], values[layers:-1], values[-1])

    def _schedule(self, progress: float) -> None:
        factor = self.settings.lr * self.peak * learning_rate(progress)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["scale"]

    def _update(self, i: int) -> None:
        parallel.average(p.grad for p in self.net.parameters_of(i))
        self.optimisers[i].step()
        self.optimisers[i].zero_grad(set_to_none=True)

    def step(self, batch: Batch) -> Tensor:
        """One update: losses, active fractions and accuracy in one row [2 L + 1]."""
        said = self.rule.step(self.net, batch, self._update)
        heard = [one for one in said if one is not None]
        used = heard[-1:] if self.rule.last_only else heard
        right = self.net.form.right(torch.stack([one.cost for one in used]).sum(0), batch.y)
        nothing = right.new_full((), math.nan, dtype=torch.float32)
        return torch.stack(
            [one.loss.float() if one else nothing for one in said]
            + [one.active if one else nothing for one in said]
            + [right.float().mean()]
        )


def _mix(seed: int, quantised: bool, epoch: int) -> int:
    return (seed * 2 + int(quantised)) * 100_003 + epoch


@torch.no_grad()
def accuracy(net: Net, samples: Samples) -> float:
    """Fraction of samples whose best score is at their label."""
    net.eval()
    right = [(net.scores(x).argmax(1) == y).sum() for x, y in batches(samples)]
    return float(torch.stack(right).sum()) / len(samples)
