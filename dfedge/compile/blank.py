"""State and constants of zeros for a plan: where only sizes matter, before there are weights."""

import torch

from dfedge.compile.state import State
from dfedge.plan import Plan
from dfedge.sound import Layout, state_layout

TYPES = {"int8": torch.int8, "int32": torch.int32}


def blank(plan: Plan) -> State:
    """Every tensor of `dfedge.compile.state` at its size, all zero but the mask of live classes."""
    return _zeros(state_layout(plan)) | {"live": torch.ones(plan.classes, dtype=torch.int8)}


def blank_constants(plan: Plan) -> State:
    """Of the plan's trunk, all zero."""
    return _zeros(plan.trunk.constants() if plan.trunk else {})


def _zeros(layout: Layout) -> State:
    return {name: torch.zeros(shape, dtype=TYPES[kind]) for name, (kind, shape) in layout.items()}
