"""A new last layer over a net's features: class means or least squares, whichever judges better.

Both are judged on every sample by the layer that the other samples make, so that none is kept away
from the fit.  Least squares are those of a ridge, whose hat matrix gives these answers in closed
form: ``(y^ - h y) / (1 - h)`` (Hastie, Tibshirani and Friedman 2009, eq. 7.64).
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.head import Headed
from dfedge.data.dataset import Split
from dfedge.errors import DfedgeError
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.samples import batches, to_samples

LOG = logging.getLogger(__name__)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""In units of the features' mean variance times the number of samples."""


@dataclass(frozen=True)
class Fitted:
    """``weight x + bias``: float [K, F] and [K].

    Attributes:
        how: in words.
        accuracy: of every sample by the others.
    """

    weight: Tensor
    bias: Tensor
    how: str
    accuracy: float


def fitted(head: Headed, drawn: Split) -> ForeignGraph:
    """The net with a last layer that fits samples.

    Raises:
        DfedgeError: a class with fewer than two of them.
    """
    graph, classes = head.graph, len(head.classes)
    count = np.bincount(drawn.y, minlength=classes)
    if count.min() < 2:
        name = head.classes[int(count.argmin())]
        raise DfedgeError(
            f"--head: class '{name}' has {count.min()} training samples; a new last layer needs 2 "
            "of each"
        )
    last = graph.nodes[-1]
    (features,) = last.reads
    parts = [
        graph.result(pixels(x), features).flatten(1)
        for x, _ in batches(to_samples(drawn), graph.at_once(features))
    ]
    found = fit_head(torch.cat(parts), torch.from_numpy(drawn.y), classes)
    LOG.info(
        "a new last layer by %s; %.1f %% of the training samples by the others",
        found.how, 100 * found.accuracy,
    )  # fmt: skip
    weight = found.weight[:, :, None, None]
    nodes = [*graph.nodes[:-1], replace(last, weight=weight, bias=found.bias)]
    return replace(graph, nodes=nodes)


def fit_head(x: Tensor, y: Tensor, classes: int) -> Fitted:
    """Choose among class means and ridges.

    Args:
        x: float [N, F].
        y: int64 [N]; every class at least twice.
    """
    x = x.double()
    return max((_means(x, y, classes), *_ridges(x, y, classes)), key=lambda one: one.accuracy)


def _means(x: Tensor, y: Tensor, classes: int) -> Fitted:
    member = torch.nn.functional.one_hot(y, classes).double()
    count = member.sum(0)
    means = (member.T @ x) / count[:, None]
    scores = 2 * x @ means.T - means.square().sum(1)
    others = (means[y] * count[y, None] - x) / (count[y, None] - 1)  # the class without the sample
    own = 2 * (x * others).sum(1) - others.square().sum(1)
    scores[torch.arange(len(y)), y] = own
    accuracy = float((scores.argmax(1) == y).double().mean())
    return Fitted((2 * means).float(), -means.square().sum(1).float(), "class means", accuracy)


def _ridges(x: Tensor, y: Tensor, classes: int) -> list[Fitted]:
    count = len(x)
    mean = x.mean(0)
    u, s, vt = torch.linalg.svd(x - mean, full_matrices=False)
    targets = torch.nn.functional.one_hot(y, classes).double()
    base = targets.mean(0)
    inside = u.T @ (targets - base)
    size = float(s.square().mean())
    found = []
    for ridge in RIDGES:
        kept = s.square() / (s.square() + ridge * size)
        hat = (u.square() * kept).sum(1) + 1 / count
        made = u @ (kept[:, None] * inside) + base
        left_out = (made - hat[:, None] * targets) / (1 - hat[:, None]).clamp(min=1e-9)
        accuracy = float((left_out.argmax(1) == y).double().mean())
        weight = (vt.T @ ((s / (s.square() + ridge * size))[:, None] * inside)).T
        bias = base - weight @ mean
        found.append(Fitted(weight.float(), bias.float(), f"least squares, ridge {ridge:g}",
                            accuracy))  # fmt: skip
    return found
