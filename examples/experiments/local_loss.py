"""Which loss a layer should minimise on its own goodness: a screen on held-out training samples.

    OMP_NUM_THREADS=1 python examples/experiments/local_loss.py --seconds 120 hinge own sum bp-own

Every run has the same seconds of PROCESSOR time (other programs on the machine do not count), one
core, convolutions in bfloat16, the net's own settings, AdamW's rate up over a tenth of the budget
and then a cosine to 0, and is judged on training samples that it never saw, 5,000 or a fifth; the
test split is not used.  One row a run goes to results/local_loss.json; a run that is there is not
made again.

A variant is words joined by "-":

hinge          the margin relative to the anchors' separation: `df-o` as the paper has it
own            softmax cross-entropy over the layer's own negative distances
prefix         over the sum of them and those of the layers below, as constants
sum            over the sum of all layers', each layer's own part alone with a gradient
rel            distances in units of the mean separation of the layer's anchors
fixed          with temperature 0.1 in place of a learned one
sim, con       plus similarity matching, or a supervised contrastive term, on pooled features
head           plus the cross-entropy of a head (3 x 3 over the pooled cells, ReLU, linear) that is
               dropped at export
bp, two, three errors go down through everything, or through groups whose tops alone have a loss,
               in the place of df-o's one boundary; `df`: through none
early          the own loss of layer l of L counts (l + 1) / L beside what comes from above
skip           units of equal width and no pool add their input (a residual net)
"""

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from dated import dated
from msgspec.structs import replace
from torch import Tensor, nn

from dfedge.allocator import keep_freed_memory
from dfedge.learn.augment import augment
from dfedge.learn.counted import candidates
from dfedge.learn.forms.loss import judge
from dfedge.learn.forms.onepass import START, distances, pixels, separation
from dfedge.learn.lean import pool_cells
from dfedge.learn.net import Net
from dfedge.learn.samples import Samples, batches, to_samples
from dfedge.learn.train import TrainOptions, plan_run
from dfedge.learn.trainer import initialise_anchors, learning_rate, make_optimisers

RESULTS = Path(__file__).parent / "results" / "local_loss.json"
HELD = 5000
NETS = {"cifar10": "ten-slim", "cifar100": "ten-slim"}
"""Of other data: their own."""
GROUPS = {"df": 1, "two": 2, "three": 3, "bp": 1000}
CONTRAST = 0.2
"""Temperature of the contrastive term on normalised features."""


class Head(nn.Module):
    """A dropped head: over a layer's pooled cells."""

    def __init__(self, channels: int, cells: int, classes: int) -> None:
        super().__init__()
        self.cells, self.conv = cells, nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm, self.out = nn.BatchNorm2d(channels), nn.Linear(channels * cells**2, classes)

    def forward(self, p: Tensor) -> Tensor:
        """[B, cells*cells*C] -> [B, K]."""
        x = p.reshape(len(p), self.cells, self.cells, -1).permute(0, 3, 1, 2)
        out: Tensor = self.out(F.relu(self.norm(self.conv(x))).flatten(1))
        return out


def similarity(p: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference of two Gram matrices (Nokland and Eidnes 2019), all cosines.

    Of centred features [B, d] and of one-hot labels int64 [B].
    """
    p = F.normalize(p - p.mean(1, keepdim=True), dim=1)
    return (p @ p.T - (y[:, None] == y).float()).square().mean()


def contrastive(p: Tensor, y: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020) of one view."""
    p = F.normalize(p - p.mean(0), dim=1)
    logits = (p @ p.T / CONTRAST).fill_diagonal_(-1e9)
    alike = (y[:, None] == y).float().fill_diagonal_(0)
    each = (logits.log_softmax(1) * alike).sum(1) / alike.sum(1).clamp(min=1)
    return -each.mean()


class Variant:
    """One net and how it is trained."""

    def __init__(self, words: set[str], net: Net, samples: Samples) -> None:
        self.words, self.net = words, net
        self.size = next((GROUPS[w] for w in words if w in GROUPS), 0)
        layers = len(net.units)
        size = self.size or 1
        self.tops = [i for i in range(layers) if i % size == size - 1 or i == layers - 1]
        start = math.log(START) if "rel" in words else 0.0
        self.log_scale = nn.Parameter(torch.full((layers,), start))
        if "fixed" in words:
            self.log_scale.requires_grad_(False).fill_(math.log(10.0))
        form = net.one_pass
        self.heads = [
            Head(a.shape[1] // c**2, c, net.classes) if "head" in words else None
            for a, c in zip(form.anchors, form.cells, strict=True)
        ]
        net.train()
        initialise_anchors(net, samples)
        self.optimisers = make_optimisers(net, net.spec.train)
        rate = net.spec.train.lr
        extra: list[dict[str, Any]] = []
        if "fixed" not in words and "hinge" not in words:
            extra.append({"params": [self.log_scale], "scale": net.spec.train.anchor_lr})
        heads = [head for head in self.heads if head]
        extra += [{"params": list(head.parameters()), "scale": 1.0} for head in heads]
        if extra:
            self.optimisers.append(torch.optim.AdamW(extra, lr=rate, weight_decay=0, fused=True))

    def schedule(self, progress: float) -> None:
        """Set the rates; ``progress`` in 0..1."""
        factor = self.net.spec.train.lr * learning_rate(progress)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["scale"]

    def sharpness(self, i: int) -> Tensor:
        """What layer i's distances are multiplied by."""
        scale = self.log_scale[i].exp()
        if "rel" in self.words:
            scale = scale / separation(self.net.one_pass.anchors[i])
        return scale

    def losses(self, seen: dict[int, Tensor], y: Tensor) -> Tensor:
        """The sum of all layers' losses on their outputs h [B, C, H, W]."""
        words, form = self.words, self.net.one_pass
        value = torch.zeros(())
        logits = {}
        for i, h in seen.items():
            p = pool_cells(h.float(), form.cells[i])
            d = distances(p, form.anchors[i])
            weight = (i + 1) / len(self.net.units) if "early" in words else 1.0
            if "hinge" in words:
                value = value + weight * judge(d, y, form.loss, None, form.anchors[i]).loss
            else:
                logits[i] = -d * self.sharpness(i)
            if "own" in words:
                value = value + weight * F.cross_entropy(logits[i], y)
            if "sim" in words:
                value = value + 10 * similarity(p, y)
            if "con" in words:
                value = value + 0.2 * contrastive(p, y)
            head = self.heads[i]
            if head is not None:
                value = value + F.cross_entropy(head(p), y)
        if "prefix" in words:
            below = torch.zeros(())
            for z in logits.values():
                value = value + F.cross_entropy(below + z, y)
                below = below + z.detach()
        if "sum" in words:
            value = value + F.cross_entropy(torch.stack(list(logits.values())).sum(0), y)
        return value

    def step(self, x: Tensor, y: Tensor) -> None:
        """One update."""
        net, size = self.net, self.size
        sliding = not size
        a, inputs, outputs, handed, seen = pixels(x), [], [], [], {}
        with torch.autocast("cpu", torch.bfloat16):
            for i, unit in enumerate(net.units):
                if sliding or (i and i % size == 0):
                    a = a.detach()
                if sliding and i:
                    a.requires_grad_()
                h = net.activate(i, a)
                inputs.append(a)
                outputs.append(h)
                a = net.form.hand_on(i, unit, h)
                handed.append(a)
                if i in self.tops:
                    seen[i] = h.detach().requires_grad_() if sliding else h
        self.losses(seen, y).backward()  # type: ignore[no-untyped-call]
        if sliding:
            down: Tensor | None = None
            for i in reversed(range(len(outputs))):
                own = seen[i].grad
                weights = list(net.units[i].parameters())
                ends, errors = [outputs[i]], [own]
                following = down
                if i:
                    (down,) = torch.autograd.grad(outputs[i], inputs[i], own, retain_graph=True)
                if following is not None:
                    ends, errors = [*ends, handed[i]], [*errors, following]
                torch.autograd.backward(ends, errors, inputs=weights)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def judged(self, samples: Samples) -> dict[str, Any]:
        """Accuracies of each layer, of all, and of the best choice of layers."""
        net, form = self.net, self.net.one_pass
        net.eval()
        rows = []
        for x, _ in batches(samples):
            costs = []
            with torch.autocast("cpu", torch.bfloat16):
                for i, h in enumerate(net.activations(pixels(x))):
                    with torch.autocast("cpu", enabled=False):
                        costs.append(form.costs(i, h))
            scales = torch.stack([self.sharpness(i) for i in range(len(costs))])
            rows.append(torch.stack(costs) * scales[:, None, None])
        net.train()
        cost = torch.cat(rows, 1)[self.tops]

        def right(layers: list[int]) -> float:
            return float((cost[layers].sum(0).argmin(1) == samples.y).float().mean())

        options = [list(one) for one in candidates(len(self.tops))]
        best = max(options, key=right)
        return {
            "layers": [round(100 * right([i]), 2) for i in range(len(self.tops))],
            "all": round(100 * right(options[0]), 2),
            "best": round(100 * right(best), 2),
            "counted": [self.tops[i] for i in best],
            "scales": [round(float(s.exp()), 3) for s in self.log_scale],
        }


def halved(samples: Samples) -> Samples:
    """Images of half the side, the mean of 2 x 2 pixels."""
    x = F.avg_pool2d(samples.x.float(), 2).round().to(samples.x.dtype)
    return Samples(x, samples.y)


def run(
    name: str, data: str, seconds: float, seed: int, lr: float, half: bool, data_dir: Path
) -> dict[str, Any]:
    """Train and judge one variant."""
    words = set(name.split("-"))
    plan, dataset = plan_run(TrainOptions(data, data_dir, NETS.get(data), seed=seed))
    whole = to_samples(dataset.split("train")[1])
    whole = halved(whole) if half else whole
    samples, held = whole.hold_out(min(HELD, len(whole) // 5), seed)
    spec = plan.net
    spec = replace(spec, train=replace(spec.train, lr=lr or spec.train.lr))
    height, width, channels = plan.seen_shape
    if half:
        spec, height, width = replace(spec, anchors=spec.anchors // 2), height // 2, width // 2
    if "skip" in words:
        blocks, width = [], 0
        for block in spec.block:
            kind = "residual" if block.channels == width else "conv"
            blocks.append(replace(block, kind=kind))
            width = block.channels
        spec = replace(spec, block=blocks)
    torch.manual_seed(seed)
    net = Net(spec, (height, width, channels), len(plan.classes))
    variant = Variant(words, net, samples)
    generator = torch.Generator().manual_seed(seed)
    settings, steps, spent, wall = spec.train, 0, 0.0, time.monotonic()
    order = torch.empty(0, dtype=torch.int64)
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        if len(order) < settings.batch:
            order = torch.randperm(len(samples), generator=generator)
        index, order = order[: settings.batch], order[settings.batch :]
        x = augment(samples.x[index], settings.shift // (1 + half), settings.flip, generator)
        variant.schedule(spent / seconds)
        variant.step(x, samples.y[index])
        steps += 1
    row = {"variant": name, "data": data, "seconds": seconds, "seed": seed, "lr": lr, "half": half}
    row |= {"steps": steps, "wall": round(time.monotonic() - wall)}
    return row | variant.judged(held) | dated()


def main(
    variants: Annotated[list[str], typer.Argument(help="Words joined by -, see above.")],
    seconds: float = 600,
    data: str = "cifar10",
    seed: int = 0,
    lr: Annotated[float, typer.Option(help="Peak rate; 0: the net's own.")] = 0,
    half: Annotated[bool, typer.Option(help="Images and anchor cells of half the side.")] = False,
    data_dir: Path = Path(".data"),
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    known = ("variant", "data", "seconds", "seed", "lr", "half")
    for name in variants:
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        wanted = (name, data, seconds, seed, lr, half)
        if any(tuple(row.get(k, False) for k in known) == wanted for row in rows):
            continue
        row = run(name, data, seconds, seed, lr, half, data_dir)
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        lines = ",\n".join(json.dumps(one) for one in [*rows, row])
        RESULTS.write_text(f"[\n{lines}\n]\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    typer.run(main)
