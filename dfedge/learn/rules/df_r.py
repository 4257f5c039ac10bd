"""``df-r``: as ``df-o``, but what crosses a boundary goes through fixed random weights.

``df-r`` takes weights B drawn once, ``df-r-concordant`` takes |B| with the signs of the layer's own
weights, the stronger variant of the feedback-alignment literature.  (arXiv 2408.14925, DF-R.)
"""

from dfedge.learn.net import Net, stages
from dfedge.learn.rules import HostRule
from dfedge.learn.rules.df_o import step
from dfedge.learn.units import Draw, normal
from dfedge.plan import Feedback


def through(feedback: Feedback, draw: Draw = normal) -> HostRule:
    """``df-o`` whose errors go down through other weights."""

    def prepare(net: Net) -> None:
        for name, stage in stages(net):
            stage.take_feedback(feedback, draw(name, stage.weight.shape))

    return HostRule(step, prepare, draw=draw)


PLAIN, CONCORDANT = through("fixed"), through("sign-concordant")
