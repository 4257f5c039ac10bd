"""``df-o``: overlapping groups, sliding: each layer's loss also reaches the layer right below it.

On every step layer l's own error goes down through W_l, and through layer l-1's pool, normalisation
and ReLU, into the parameters of layer l-1, where it stops.  Two layers' graphs are alive at a time.
(arXiv 2408.14925, DF-O; the sliding reading.)
"""

import torch
from torch import Tensor

from dfedge.learn.forms.loss import Judged
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, Rule, Update


def step(net: Net, batch: Batch, update: Update) -> list[Judged | None]:
    """One batch; see `dfedge.learn.rules`."""
    said: list[Judged | None] = []
    ends: list[Tensor] = []  # of the layer below: its output, and what it handed on
    errors: list[Tensor] = []  # and the errors that arrived at them
    a = net.form.begin(batch.x, batch.y, batch.generator)
    for i, unit in enumerate(net.units):
        cut = a.detach().requires_grad_() if i else a
        h = net.activate(i, cut)
        seen = h.detach().requires_grad_()
        judged = net.form.judge(i, seen, batch.y)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        said.append(judged.detached())
        assert seen.grad is not None
        if i:
            (down,) = torch.autograd.grad(h, cut, seen.grad, retain_graph=True)
            _finish(net, i - 1, ends, [*errors, down])
            update(i - 1)
        a = net.form.hand_on(unit, h)
        ends, errors = [h, a], [seen.grad]
        del h, seen, judged, cut
    last = len(net.units) - 1
    _finish(net, last, ends[:1], errors)
    update(last)
    return said


def _finish(net: Net, i: int, ends: list[Tensor], errors: list[Tensor]) -> None:
    own = [p for p in net.parameters_of(i) if p.grad is None]  # the anchors have theirs
    torch.autograd.backward(ends, errors, inputs=own)


SLIDING = Rule(step)
