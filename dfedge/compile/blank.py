"""State and constants of zeros for a plan: where only sizes matter, before there are weights."""

import torch

from dfedge.compile.state import State, conv_name
from dfedge.plan import FIXED, Plan


def blank(plan: Plan) -> State:
    """Every tensor of `dfedge.compile.state` at its size, all zero but the mask of live classes."""
    state: State = {}

    def zeros(name: str, *shape: int, dtype: torch.dtype = torch.int8) -> None:
        state[name] = torch.zeros(shape, dtype=dtype)

    for i, layer in enumerate(plan.layers):
        for j, conv in enumerate(layer.convs):
            name = conv_name(i, j)
            shape = conv.taps, conv.in_channels, 1 if conv.depthwise else conv.channels
            zeros(f"{name}.weight", *shape)
            zeros(f"{name}.bias", conv.channels, dtype=torch.int32)
            if plan.feedback in FIXED:
                zeros(f"{name}.feedback", *shape)
        if plan.form == "one-pass":
            zeros(f"layer{i}.anchors", plan.classes, layer.features)
    if plan.form == "label-plane":
        height, width, _ = plan.input_shape
        zeros("planes", plan.classes, height * width * 2)
    state["live"] = torch.ones(plan.classes, dtype=torch.int8)
    zeros("weight_shift", sum(len(layer.convs) for layer in plan.layers))
    if plan.form == "one-pass":
        zeros("anchor_shift", len(plan.layers))
    for name in ("phase", "error", "usual_error", "pace"):
        zeros(name, dtype=torch.int32)
    return state


def blank_constants(plan: Plan) -> State:
    """Of the plan's trunk, all zero."""
    wanted = plan.trunk.constants() if plan.trunk else {}
    types = {"int8": torch.int8, "int32": torch.int32}
    return {name: torch.zeros(shape, dtype=types[kind]) for name, (kind, shape) in wanted.items()}
