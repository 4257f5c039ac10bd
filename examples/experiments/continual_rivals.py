"""Split MNIST by back-propagation and by class means, on the stream and net of continual.py.

    python examples/experiments/continual.py rivals --data-dir .data

The float net (PyTorch, one thread) is the one that was trained on 6,000 images of Fashion-MNIST and
exported, its anchors replaced by a linear layer under cross-entropy; normalisation keeps its
statistics.  SGD, its rate (and EWC's strength) the best of those named in RATES (STRONG) on a
stream of 200 samples an experience with a seed of its own, judged on 200 other training images of
each.  Replay mixes five old samples with each new one.  Beside them stands the exported int8
program on the same streams.  Times are of the processor, one thread: the machine may be busy.
"""

import itertools
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from continual_nets import Given, clothes_net, learned, spread
from torch import Tensor, nn

from dfedge.continual import metrics
from dfedge.continual.settings import StreamSettings
from dfedge.data.dataset import Split
from dfedge.data.streams import Stream, StreamSource, parse_stream
from dfedge.learn.run import Run

BUDGET, REPLAYED, BATCH, CLASSES = 65536, 5, 16, 10
RATES, STRONG, FISHER = (0.01, 0.03, 0.1), (100.0, 1000.0), 100
TRUNK = 3
"""Layers below the latent; `METHODS` says which of them are frozen."""
FIGURES = ("average_accuracy", "forgetting", "bytes", "ms_per_step")
METHODS = {
    "fine-tuning": {"frozen": False},
    "replay of 83 images": {"frozen": False, "replay": True},
    "EWC": {"frozen": False, "ewc": True},
    "fine-tuning of the last layer": {"frozen": True},
    "latent replay": {"frozen": True, "replay": True},
}


class Rival(nn.Module):
    """The net with a linear classifier; from images, or from latents where the trunk is frozen."""

    def __init__(self, run: Run, frozen: bool) -> None:
        super().__init__()
        net = run.load_net()
        self.trunk, self.head = nn.ModuleList(net.units[:TRUNK]), net.units[TRUNK]
        self.out = nn.Linear(self.head.block.channels, CLASSES)
        self.unit = 2.0 ** -run.calibration().layers[TRUNK - 1].output
        for parameter in self.trunk.parameters():
            parameter.requires_grad_(not frozen)

    def latents(self, x: Tensor) -> Tensor:
        """Of bytes [B, 1, 28, 28], in float."""
        x = (x >> 1).float() / 128
        for unit in self.trunk:
            x = unit.hand_on(unit(x))
        return x

    def stored(self, x: Tensor) -> Tensor:
        """Latents as bytes, as the int8 program keeps them."""
        return (self.latents(x) / self.unit).round().clamp(0, 127).to(torch.uint8)

    def forward(self, x: Tensor, latent: bool) -> Tensor:
        """Logits of images, or of stored latents."""
        z = x.float() * self.unit if latent else self.latents(x)
        return self.out(self.head(z).flatten(1))


def tensor(split: Split) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.x).permute(0, 3, 1, 2), torch.from_numpy(split.y)


def learn(run: Run, stream: Stream, seed: int, rate: float, strong: float, frozen: bool,
          replay: bool = False, ewc: bool = False) -> dict[str, Any]:  # fmt: skip
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), Rival(run, frozen).eval()
    moving = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(moving, rate)
    each = (
        int(np.prod(net.latents(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).shape))
        if frozen
        else 784
    ) + 1
    slots, held = BUDGET // each, []
    seen = np.zeros(CLASSES, int)
    importance = [torch.zeros_like(p) for p in moving]
    anchor, matrix, seconds, steps = [p.detach().clone() for p in moving], [], 0.0, 0
    for experience in stream.experiences:
        x, y = tensor(experience.train)
        start = time.process_time()
        for i in range(0, len(y), BATCH):
            new = net.stored(x[i : i + BATCH]).detach() if frozen else x[i : i + BATCH]
            again = rng.permutation(len(held))[: REPLAYED * BATCH] if replay else []
            xs = torch.stack([*new, *(held[k][0] for k in again)])
            ys = torch.stack([*y[i : i + BATCH], *(held[k][1] for k in again)])
            loss = F.cross_entropy(net(xs, frozen), ys)
            if ewc:
                pairs = zip(importance, moving, anchor, strict=True)
                loss = loss + strong / 2 * sum((f * (p - a).square()).sum() for f, p, a in pairs)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
            if replay:
                for one, label in zip(new, y[i : i + BATCH], strict=True):
                    keep(held, slots, (one, label), seen, rng)
        if ewc:
            for i in range(FISHER):
                optimiser.zero_grad()
                F.cross_entropy(net(x[i : i + 1], frozen), y[i : i + 1]).backward()
                for f, p in zip(importance, moving, strict=True):
                    f += p.grad.square() / FISHER
            anchor = [p.detach().clone() for p in moving]
        seconds += time.process_time() - start
        matrix.append([accuracy(net, e.test) for e in stream.experiences])
    moved = sum(p.numel() for p in moving)
    size = len(held) * each if replay else 2 * 4 * moved if ewc else 0
    return figures(matrix, size, 1000 * seconds / steps)


def keep(held: list, slots: int, sample: tuple[Tensor, Tensor], seen: np.ndarray,
         rng: np.random.Generator) -> None:  # fmt: skip
    """Class-balanced, as `dfedge.continual.strategies.balanced`."""
    label = int(sample[1])
    seen[label] += 1
    if len(held) < slots:
        held.append(sample)
        return
    labels = np.array([int(y) for _, y in held])
    counts = np.bincount(labels, minlength=CLASSES)
    if counts[label] < counts.max():
        held[int(rng.choice(np.flatnonzero(labels == counts.argmax())))] = sample
    elif rng.integers(seen[label]) < counts[label]:
        held[int(rng.choice(np.flatnonzero(labels == label)))] = sample


@torch.no_grad()
def accuracy(net: Rival, split: Split) -> float:
    x, y = tensor(split)
    right = [
        (net(x[i : i + 500], False).argmax(1) == y[i : i + 500]) for i in range(0, len(y), 500)
    ]
    return float(torch.cat(right).float().mean())


@torch.no_grad()
def class_means(run: Run, stream: Stream, seed: int) -> dict[str, Any]:
    """Nearest class mean on the frozen trunk's latents, in float."""
    net, matrix = Rival(run, True).eval(), []
    total, count = torch.zeros(CLASSES, net.head.first.weight[0].numel()), torch.zeros(CLASSES)
    seconds, steps = 0.0, 0
    for experience in stream.experiences:
        x, y = tensor(experience.train)
        start = time.process_time()
        for i in range(0, len(y), BATCH):
            total.index_add_(0, y[i : i + BATCH], net.latents(x[i : i + BATCH]).flatten(1))
            count += torch.bincount(y[i : i + BATCH], minlength=CLASSES)
            steps += 1
        seconds += time.process_time() - start
        means = total / count.clamp(min=1)[:, None]
        row = []
        for other in stream.experiences:
            x, y = tensor(other.test)
            parts = [torch.cdist(net.latents(part).flatten(1), means) for part in x.split(500)]
            far = torch.cat(parts).masked_fill(count == 0, torch.inf)
            row.append(float((far.argmin(1) == y).float().mean()))
        matrix.append(row)
    return figures(matrix, 4 * (total.numel() + CLASSES), 1000 * seconds / steps)


def program(stream: str, seed: int, given: Given) -> dict[str, Any]:
    """The exported program with balanced latent replay, as in ``continual.py split``."""
    settings = StreamSettings(
        stream, "mnist", "balanced", BUDGET, bits=4, replayed=REPLAYED, seed=seed
    )
    with patch("time.perf_counter", time.process_time):
        found = learned(clothes_net(given, few=True), settings, given)
    names = {"bytes": "replay_bytes"}
    return {name: found[names.get(name, name)] for name in FIGURES}


def figures(matrix: list[list[float]], size: int, ms: float) -> dict[str, Any]:
    r = np.array([[0.0] * len(matrix), *matrix])
    return {"average_accuracy": metrics.average_accuracy(r), "forgetting": metrics.forgetting(r),
            "bytes": size, "ms_per_step": ms}  # fmt: skip


def rivals(given: Given) -> dict[str, Any]:
    """All of them, on the same streams."""
    clothes_net(given, few=True)  # trains the run as well
    run, source = Run.open(given.out / "latent-few"), StreamSource("mnist", given.data_dir)
    pairs = "class-incremental:each=2,"
    described = pairs + given.size("samples=1000,test=400", "samples=100,test=100")

    def stream(text: str, seed: int) -> Stream:
        return parse_stream(text).make(source, seed)

    seeds, rows = range(given.seeds), {"stream": described}
    rows["int8 program"] = summary([program(described, seed, given) for seed in seeds])
    short = trial(stream(pairs + given.size("samples=400", "samples=100"), 99))
    for name, how in METHODS.items():
        choices = list(itertools.product(RATES, STRONG if how.get("ewc") else (0.0,)))
        tried = {c: learn(run, short, 99, *c, **how)["average_accuracy"] for c in choices}
        best = max(choices, key=lambda choice: tried[choice])
        found = [learn(run, stream(described, s), s, *best, **how) for s in seeds]
        rows[name] = {"rate": best[0], "strength": best[1], **summary(found)}
        print(name, rows[name], flush=True)
    found = [class_means(run, stream(described, seed), seed) for seed in seeds]
    rows["nearest class mean"] = summary(found)
    return rows


def trial(stream: Stream) -> Stream:
    """Each experience's training images, half to learn from and half in the place of the test's."""
    halves = []
    for e in stream.experiences:
        order = np.arange(len(e.train))
        learned, judged = e.train.take(order[::2]), e.train.take(order[1::2])
        halves.append(replace(e, train=learned, test=judged))
    return replace(stream, experiences=tuple(halves))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: spread([f[name] for f in found]) for name in found[0]}
