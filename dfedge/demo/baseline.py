"""The baseline that learning must beat: anchors set to the new class means, all weights frozen."""

import numpy as np
import torch

from dfedge.data.dataset import Split
from dfedge.data.image import to_input
from dfedge.int8.rounding import round_half_up
from dfedge.lower.state import State
from dfedge.lower.step import features, infer
from dfedge.plan import Plan


def anchors_only(plan: Plan, state: State, stream: Split, test: Split) -> float:
    """Accuracy on ``test`` once every layer's anchors are its class means over ``stream``."""
    moved = dict(state)
    x = torch.from_numpy(to_input(stream.x))
    member = torch.nn.functional.one_hot(torch.from_numpy(stream.y), plan.classes).T.double()
    mean = member / member.sum(1, keepdim=True)
    for i, p in enumerate(features(plan, state, x)[:-1]):
        moved[f"layer{i}.anchors"] = round_half_up(mean @ p.double()).to(torch.int8)
    answers = infer(plan, moved, torch.from_numpy(to_input(test.x))).argmax(1).numpy()
    return float(np.mean(answers == test.y))
