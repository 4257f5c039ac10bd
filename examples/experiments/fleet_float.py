"""Federated averaging in float of the same net, by back-propagation: the rival of `fleet.py`.

McMahan and others, "Communication-efficient learning of deep networks from decentralized data",
2017.  Every device takes as many steps of SGD with momentum from the server's weights; the server
takes the mean of all weights (and running means of batch normalisation), weighted by samples.  The
rate is the best of three on samples that are in no test.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fleet_sets import Fleet
from torch import Tensor

from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.learn.net import Net

RATES, MOMENTUM = (0.03, 0.1, 0.3), 0.9
Weights = dict[str, Tensor]


def tensors(split: Split) -> tuple[Tensor, Tensor]:
    """Pixels 0..127 as the net takes them."""
    return torch.from_numpy(to_input(split.x)).permute(0, 3, 1, 2).float(), torch.from_numpy(
        split.y
    )


def loss(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """Of the last layer, through all of them."""
    last = len(net.units) - 1
    a = net.form.begin(x, y, None)
    for i in range(last):
        a = net.form.hand_on(i, net.units[i], net.activate(i, a))
    return net.form.judge(last, net.activate(last, a), y).loss


def recognised(net: Net, weights: Weights, split: Split) -> float:
    net.load_state_dict(weights)
    net.eval()
    x, y = tensors(split)
    with torch.no_grad():
        return float((net.scores(x).argmax(1) == y).float().mean())


def learned(
    net: Net, weights: Weights, split: Split, rate: float, steps: int, batch: int, seed: list[int]
) -> Weights:
    """The weights after so many steps on one device's samples."""
    net.load_state_dict(weights)
    net.train()
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=MOMENTUM)
    (x, y), draw = tensors(split), np.random.default_rng(seed)
    for _ in range(steps):
        at = torch.from_numpy(draw.choice(len(y), batch, replace=len(y) < batch))
        optimiser.zero_grad()
        loss(net, x[at], y[at]).backward()
        optimiser.step()
    return {name: value.clone() for name, value in net.state_dict().items()}


def averaged(
    fleet: Fleet, rate: float, rounds: int, steps: int, batch: int, seed: int
) -> list[Weights]:
    """The server's weights after each round."""
    net = fleet.run.load_net()
    weights: Weights = {name: value.clone() for name, value in net.state_dict().items()}
    found = []
    for number in range(rounds):
        total: dict[str, Any] = {}
        for i, member in enumerate(fleet.members):
            own = learned(net, weights, member.learns, rate, steps, batch, [seed, number, i])
            for name, value in own.items():  # every device takes as many steps: equal weights
                total[name] = total.get(name, 0) + value.double()
        weights = {name: (value / len(fleet.members)).to(weights[name].dtype)
                   for name, value in total.items()}  # fmt: skip
        found.append(weights)
    return found


def judged(fleet: Fleet, weights: Weights) -> dict[str, float]:
    """Accuracy on the common test, or on each device's own."""
    net = fleet.run.load_net()
    if fleet.test is not None:
        return {"all": recognised(net, weights, fleet.test)}
    return {m.name: recognised(net, weights, m.tested) for m in fleet.members if m.tested}


def rival(
    fleet: Fleet, rounds: int, steps: int, batch: int, seed: int, rates: Sequence[float] = RATES
) -> dict[str, Any]:
    """Accuracy by round at the best rate, and bytes of a device and round, both ways."""
    net, tried = fleet.run.load_net(), {}
    for rate in rates:
        every = averaged(fleet, rate, rounds, steps, batch, seed)
        score = np.mean([recognised(net, one, fleet.chosen_on) for one in every[-3:]])
        tried[rate] = (float(score), every)
    rate = max(tried, key=lambda one: tried[one][0])
    floats = sum(v.numel() for v in net.state_dict().values() if v.is_floating_point())
    return {
        "rate": rate, "chosen": {str(one): tried[one][0] for one in tried},
        "bytes": 2 * 4 * floats,
        "before": judged(fleet, dict(fleet.run.load_net().state_dict())),
        "by_round": [judged(fleet, one) for one in tried[rate][1]],
    }  # fmt: skip
