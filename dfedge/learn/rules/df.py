"""``df``: Distance-Forward learning, every layer strictly on its own.

No gradient crosses a layer's boundary, and a layer's graph is gone before the next layer computes.
(arXiv 2408.14925, with the N-pair margin loss of `dfedge.learn.forms.loss`.)
"""

from dfedge.learn.forms.loss import LayerLoss
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, HostRule, Update


def step(net: Net, batch: Batch, update: Update) -> list[LayerLoss | None]:
    """One batch; see `dfedge.learn.rules`."""
    said: list[LayerLoss | None] = []
    a = net.form.begin(batch.x, batch.y, batch.generator)
    for i in range(len(net.units)):
        judged, a = net.look(i, a, batch.y)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        update(i)
        said.append(judged.detached())
        del judged  # with its graph, before the next layer computes
    return said


DF = HostRule(step)
