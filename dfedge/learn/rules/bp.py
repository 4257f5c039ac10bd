"""``bp``: back-propagation through the same net from its last layer's loss, the reference.

``bp-checkpoint`` keeps only what layers hand on and computes each again on the way back, the honest
rival in memory; its gradients and statistics are those of ``bp``.
"""

from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.net import Net, stages
from dfedge.learn.rules import Batch, HostRule, Update


def step(net: Net, batch: Batch, update: Update, *, again: bool = False) -> list[LayerLoss | None]:
    """One batch; see `dfedge.learn.rules`.  ``again``: recompute instead of keeping."""
    a = net.form.begin(batch.x, batch.y, batch.generator)
    last = len(net.units) - 1
    for i in range(last):
        a = _kept_input(net, i, a) if again else _onward(net, i, a)
    judged = net.form.judge(last, net.activate(last, a), batch.y)
    norms = [stage.norm for _, stage in stages(net)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # a second forward pass must not count twice in the statistics
    judged.loss.backward()  # type: ignore[no-untyped-call]
    _restore(norms, momenta)
    for i in range(last + 1):
        update(i)
    return [None] * last + [judged.detached()]


def _onward(net: Net, i: int, a: Tensor) -> Tensor:
    return net.form.hand_on(i, net.units[i], net.activate(i, a))


def _kept_input(net: Net, i: int, a: Tensor) -> Tensor:
    result: Tensor = checkpoint(_onward, net, i, a, use_reentrant=False)
    return result


def _restore(norms: list[nn.BatchNorm2d], momenta: list[float | None]) -> None:
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


BP = HostRule(step, last_only=True)
CHECKPOINT = HostRule(partial(step, again=True), last_only=True)
