"""``df-o-alternating``: overlapping groups in turn, the loss at a pair's top moving both layers.

On even steps the pairs are (0, 1) (2, 3) ..., on odd steps (0) (1, 2) (3, 4) ...; no gradient
leaves a pair.  (arXiv 2408.14925, DF-O; the alternating reading, as public code of the family has
it.)
"""

from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, HostRule, Update


def groups(layers: int, step: int) -> list[list[int]]:
    """The groups of a step, bottom up."""
    first = [[0]] if step % 2 else []
    rest = list(range(len(first), layers))
    return first + [rest[i : i + 2] for i in range(0, len(rest), 2)]


def step(net: Net, batch: Batch, update: Update) -> list[LayerLoss | None]:
    """One batch; see `dfedge.learn.rules`."""
    said: list[LayerLoss | None] = []
    a = net.form.begin(batch.x, batch.y, batch.generator)
    for members in groups(len(net.units), batch.number):
        for i in members:
            h = net.activate(i, a)
            a = net.form.hand_on(i, net.units[i], h)
        judged = net.form.judge(members[-1], h, batch.y)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        for i in members:
            update(i)
        said += [None] * (len(members) - 1) + [judged.detached()]
        a = a.detach()
        del h, judged
    return said


ALTERNATING = HostRule(step)
