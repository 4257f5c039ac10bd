"""``df``: Distance-Forward in its one-pass form, every layer strictly on its own.

Distance sign: the right label's distance is to be low.  The loss of layer l is the margin loss over
its own anchors; no gradient crosses a layer's boundary, and a layer's graph is gone before the next
layer computes.  (arXiv 2408.14925, its N-pair margin loss with all wrong labels as negatives; the
one-pass form with learned anchors is this project's reading, `dfedge.learn.goodness`.)
"""

from torch import Tensor

from dfedge.int8.ops import MARGIN_UNIT
from dfedge.learn.goodness import margin_loss
from dfedge.learn.net import Net
from dfedge.learn.rules.signal import Signal


def step(net: Net, x: Tensor, y: Tensor) -> list[Signal]:
    """Accumulate the gradients of one batch: x pixels 0..127 [B, C, H, W], y int64 [B]."""
    margin, signals = net.spec.margin / MARGIN_UNIT, []
    for out in net.outputs(x):
        loss, active = margin_loss(out.distance, out.anchors, y, margin)
        loss.backward()  # type: ignore[no-untyped-call]
        signals.append(Signal(loss.detach(), active, out.distance.detach()))
    return signals
