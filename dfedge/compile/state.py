"""The state of a program: everything that learning changes or is steered by, by name.

layerI.convJ.weight     int8 [kh*kw, C, O], depthwise [kh*kw, C, 1]
layerI.convJ.bias       int32 [O]
layerI.convJ.feedback   int8 like the weight: df-r's fixed random weights
layerI.anchors          int8 [K, d]              (one-pass form)
planes                  int8 [K, H*W*2]          (label-plane form)
live                    int8 [K]                 0: a spare row that neither wins nor repels
weight_shift            int8 [convolutions]
anchor_shift            int8 [layers]
phase                   int32 scalar             of the dither
error, pace             int32 scalars            `dfedge.compile.pace`
"""

from torch import Tensor, int32

from dfedge.state import DEAD_SCORE, MOVED

State = dict[str, Tensor]


def conv_name(layer: int, conv: int) -> str:
    """Where a convolution's tensors lie."""
    return f"layer{layer}.conv{conv}"


def layer_of(name: str) -> int | None:
    """The layer that a tensor belongs to, or None."""
    head = name.split(".")[0]
    return int(head.removeprefix("layer")) if "." in name else None


def changed_names(names: list[str], cut: int) -> list[str]:
    """The state that training rewrites, in state order; the rest only steers it."""
    return [
        name
        for name in names
        if name in ("phase", "error") or (name.endswith(MOVED) and (layer_of(name) or 0) >= cut)
    ]


def masked(scores: Tensor, live: Tensor) -> Tensor:
    """Scores with every class that is not live set to `DEAD_SCORE`."""
    alive = live.to(int32)
    return scores * alive + DEAD_SCORE * (1 - alive)
