"""Training a net to know what is normal: its classes are the modes of normal operation.

The distance of a sample to the nearest mode's anchors, summed over the layers that count, says how
far it is from normal.  Rule and loss are those of any net; what differs stands here:

* anchors end as the means of their modes' features: learned ones stand where they part the modes
  best, which is not in the middle of them;
* the layers that count are those that best tell held-back normal samples from the same ones made
  unusual (`unusual`);
* of vectors the first layer is the readings themselves, each with a gain of its own: few numbers
  of many that are off are lost in sums of all.

Tried on validation data and worse (examples/experiments/normal.py): anomalies, generated, as one
class or several that only push; changes of the samples as classes (L. Bergman and Y. Hoshen, 2020);
learned anchors; all layers.  A pull to the own anchor in the loss (``--penalty 0.3``) was as good
on one set and better on the other; it is not the default: the reported figures are without it.
"""

import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.blocks import Block
from dfedge.data.modes import NormalWish
from dfedge.data.ranking import area_under_curve
from dfedge.errors import UsageError, chosen
from dfedge.learn.counted import candidates
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.net import Net
from dfedge.learn.samples import Samples, batches
from dfedge.learn.spec import NetSpec
from dfedge.plan import Shape

TASKS = ("classes", "normal")
LARGEST = 127
NOISE, SPIKES, OFFSET, GAIN = 12, 0.04, 24, 0.5
"""Of anomalies: deviation in half codes; part of the values that jump; a channel's move, in half
codes; change of the deviation from the mean."""


def with_readings(spec: NetSpec, shape: Shape) -> NetSpec:
    """The net for samples [H, W, C]: of vectors with the readings themselves as its first layer."""
    if shape[:2] != (1, 1) or spec.block[0].kind == "gain":
        return spec
    depth = spec.depth + 1 if spec.depth else None
    return replace(spec, block=[Block(shape[2], "gain"), *spec.block], depth=depth)


@torch.no_grad()
def settle(net: Net, samples: Samples) -> None:
    """Set every layer's anchors to the means of what it sees of the modes' samples.

    A mode without any sample keeps its anchors.
    """
    net.eval()
    form = net.one_pass
    sums = [torch.zeros_like(anchors) for anchors in form.anchors]
    counts = torch.zeros(net.classes, device=samples.x.device)
    for x, y in batches(samples):
        member = torch.nn.functional.one_hot(y, net.classes).T.float()
        counts += member.sum(1)
        for i, h in enumerate(net.activations(pixels(x))):
            sums[i] += member @ form.features(i, h)[0].float()
    there = counts > 0
    for anchors, total in zip(form.anchors, sums, strict=True):
        anchors[there] = total[there] / counts[there, None]


@torch.no_grad()
def layer_distances(net: Net, x: Tensor) -> Tensor:
    """Each layer's distance to every mode: pixels 0..127 [N, C, H, W] -> [L, N, K]."""
    net.eval()
    parts = [net.layer_costs(part) for part in torch.split(x, 500)]
    return torch.cat(parts, 1)


def unusual(x: Tensor, seed: int) -> Tensor:
    """Samples int8 [N, C, H, W], each made unusual in one of five ways, drawn by the seed.

    Noise; spikes; channels that moved; a louder or quieter signal; a part of the values, or of the
    time, of another sample.
    """
    drawn = torch.Generator().manual_seed(seed)
    n, c, h, w = x.shape

    def some(*shape: int) -> Tensor:
        return torch.rand(shape, generator=drawn)

    real, other = x.float(), x[torch.randperm(n, generator=drawn)].float()
    far = some(n, 1, 1, 1) + 0.5
    signs = (some(n, c, 1, 1) < 0.5) * 2.0 - 1
    mean = real.mean((2, 3), keepdim=True) if h * w > 1 else real.mean(0, keepdim=True)
    part = some(n, c, 1, 1) < 0.5 if h * w == 1 else some(n, 1, h, 1).cummax(2).values > 0.9
    ways = [
        real + torch.randn(x.shape, generator=drawn) * NOISE * far,
        real + (some(*x.shape) < SPIKES) * signs * LARGEST / 2 * far,
        real + (some(n, c, 1, 1) < 0.5) * signs * OFFSET * far,
        mean + (real - mean) * (1 + signs[:, :1] * GAIN * far.clamp(max=1)),
        torch.where(part, other, real),
    ]
    way = torch.arange(n) % len(ways)
    found = torch.stack(ways)[way, torch.arange(n)]
    return found.round().clamp(0, LARGEST).to(torch.int8)


def choose_layers(net: Net, held: Samples, seed: int) -> tuple[tuple[int, ...], float]:
    """The layers that count, and the area under the curve of their distance; the first of equals.

    Args:
        held: normal samples that nothing was trained on.
    """
    x = held.x.cpu()
    normal, off = (layer_distances(net, part.to(held.x.device)) for part in (x, unusual(x, seed)))
    found = []
    for counted in candidates(len(net.units)):
        rows = list(counted)
        far = (one[rows].sum(0).amin(1).cpu().numpy() for one in (normal, off))
        found.append((area_under_curve(*far), counted))
    area, counted = max(found, key=lambda pair: pair[0])
    return counted, area


def conclude(net: Net, own: Samples, held: Samples, seed: int, phase: str) -> dict[str, float]:
    """Settle the anchors after a phase, and after ``float`` choose the layers that count.

    Returns:
        What the run's metrics say of it.
    """
    settle(net, own)
    if phase != "float":
        return {}
    net.counted, area = choose_layers(net, held, seed)
    return {"validation_area": area}


def wish_of(task: str, modes: int | None, false_alarms: float) -> NormalWish | None:
    """Read --task, --modes and --false-alarms; None: to tell classes apart.

    Raises:
        UsageError: another task, options of the other one, or a fraction that is none.
    """
    if chosen("--task", task, TASKS) == "classes":
        if modes is not None:
            raise UsageError(f"--modes {modes} is of --task normal; leave it out")
        return None
    if not 0 < false_alarms < 1:
        raise UsageError(f"--false-alarms {false_alarms}: allowed: between 0 and 1, as 0.01")
    return NormalWish(modes, false_alarms)
