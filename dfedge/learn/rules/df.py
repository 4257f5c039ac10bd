"""``df``: Distance-Forward learning, every layer strictly on its own.

No gradient crosses a layer's boundary, and a layer's graph is gone before the next layer computes.
(arXiv 2408.14925, with the N-pair margin loss of `dfedge.learn.forms.loss`.)
"""

from dfedge.learn.forms.loss import Judged
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, Rule, Update


def step(net: Net, batch: Batch, update: Update) -> list[Judged | None]:
    """One batch; see `dfedge.learn.rules`."""
    said: list[Judged | None] = []
    start = net.form.begin(batch.x, batch.y, batch.generator)
    for i, h in enumerate(net.activations(start)):
        judged = net.form.judge(i, h, batch.y)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        update(i)
        said.append(judged.detached())
        del h, judged
    return said


DF = Rule(step)
