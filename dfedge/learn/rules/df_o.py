"""``df-o``: overlapping groups, sliding: each layer's loss also reaches the layer right below it.

On every step layer l's own error goes down through W_l, and through layer l-1's pool, normalisation
and ReLU, into the parameters of layer l-1, where it stops.  Two layers' graphs are alive at a time.
(arXiv 2408.14925, DF-O; the sliding reading.)
"""

from typing import Protocol

import torch
from torch import Tensor

from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, HostRule, Update


class Boundary(Protocol):
    """Where the layers lie with two workers: what crosses from one to the other."""

    def up(self, activation: Tensor) -> None:
        """The lower worker hands its last layer's output on."""

    def error(self) -> Tensor:
        """The lower worker waits for the error that comes down to it."""

    def down(self, error: Tensor) -> None:
        """The upper worker sends its first layer's error down."""


def step(net: Net, batch: Batch, update: Update) -> list[LayerLoss | None]:
    """One batch; see `dfedge.learn.rules`."""
    start = net.form.begin(batch.x, batch.y, batch.generator)
    return slide(net, range(len(net.units)), start, batch.y, update)


def slide(
    net: Net,
    layers: range,
    a: Tensor,
    y: Tensor,
    update: Update,
    boundary: Boundary | None = None,
) -> list[LayerLoss | None]:
    """One batch through some of the layers.

    Args:
        layers: this worker's; all of them where there is one.
        a: what goes into the first of them.
        boundary: to the other worker, where there is one.
    """
    said: list[LayerLoss | None] = []
    ends: list[Tensor] = []  # of the layer below: its output, and what it handed on
    errors: list[Tensor] = []  # and the errors that arrived at them
    for i in layers:
        cut = a.detach().requires_grad_() if i else a
        h = net.activate(i, cut)
        seen = h.detach().requires_grad_()
        judged = net.form.judge(i, seen, y)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        said.append(judged.detached())
        assert seen.grad is not None
        if i:
            (down,) = torch.autograd.grad(h, cut, seen.grad, retain_graph=True)
            if i > layers.start:
                _finish(net, i - 1, ends, [*errors, down])
                update(i - 1)
            elif boundary:
                boundary.down(down)
        a = net.form.hand_on(i, net.units[i], h)
        ends, errors = [h, a], [seen.grad]
        del h, seen, judged, cut
    if boundary and layers.stop < len(net.units):
        boundary.up(a.detach())
        errors.append(boundary.error())
    else:
        ends.pop()
    _finish(net, layers.stop - 1, ends, errors)
    update(layers.stop - 1)
    return said


def _finish(net: Net, i: int, ends: list[Tensor], errors: list[Tensor]) -> None:
    own = [p for p in net.parameters_of(i) if p.grad is None]  # the anchors have theirs
    torch.autograd.backward(ends, errors, inputs=own)


SLIDING = HostRule(step)
