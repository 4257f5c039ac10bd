"""Where accuracy is lost: signal to noise of every layer, in integers against float."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfedge.learn.net import Net
from dfedge.learn.run import Run
from dfedge.learn.run_data import open_run_data
from dfedge.learn.samples import to_samples
from dfedge.learn.train import quantised_net


@dataclass(frozen=True)
class Lost:
    """What is left of one result.

    Attributes:
        name: of the layer, or of an adopted net's operation.
        snr: signal to noise in dB, of everything up to here.
    """

    name: str
    snr: float


def snr(exact: Tensor, found: Tensor) -> float:
    """``10 log10(sum v^2 / sum (q - v)^2)``."""
    return ratio(float(exact.square().sum()), float((found - exact).square().sum()))


def ratio(signal: float, noise: float) -> float:
    """Of two energies, in dB."""
    return 10 * math.log10(max(signal, 1e-20) / max(noise, 1e-20))


@torch.no_grad()
def layer_losses(net: Net, x: Tensor) -> list[Lost]:
    """Of each layer's output; x pixels 0..127, [N, C, H, W].  The net's scales are kept."""
    start, scales = net.form.sample(x), net.scales
    integers = [h.clone() for h in net.activations(start)]
    net.scales = None
    exact = list(net.activations(start))
    net.scales = scales
    return [
        Lost(f"layer{i}", snr(*pair)) for i, pair in enumerate(zip(exact, integers, strict=True))
    ]


def explain(run: Run, count: int = 256) -> list[Lost]:
    """Of a calibrated run: an adopted trunk's operations as they were adopted, then the layers.

    Raises:
        DfedgeError: not trained, never calibrated, or the data are gone.
    """
    net = quantised_net(run)
    train = open_run_data(run.plan).part("train")[1]
    few = train.take(np.arange(min(count, len(train)))).read(run.plan.input)
    samples = to_samples(few, "cpu", run.plan.trunk, run.constants())
    none: list[dict[str, Any]] = []
    rows = next((row["losses"] for row in run.metrics() if "losses" in row), none)
    trunk = [Lost(f"{row['name']} ({row['op']})", row["snr"]) for row in rows]
    return [*trunk, *layer_losses(net, samples.x)]
