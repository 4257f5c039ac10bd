"""``df-r``: as ``df-o``, but what crosses a boundary goes through fixed random weights.

``df-r`` takes weights B drawn once, ``df-r-concordant`` takes |B| with the signs of the layer's own
weights, the stronger variant of the feedback-alignment literature.  (arXiv 2408.14925, DF-R.)
"""

from dfedge.learn.net import Net, stages
from dfedge.learn.rules import Rule
from dfedge.learn.rules.df_o import step
from dfedge.learn.units import Feedback


def _feed_back(net: Net, kind: Feedback) -> None:
    for name, stage in stages(net):
        stage.take_feedback(kind, name)


PLAIN = Rule(step, prepare=lambda net: _feed_back(net, "plain"))
CONCORDANT = Rule(step, prepare=lambda net: _feed_back(net, "concordant"))
