"""A plan as the C interpreter reads it: one table of int32, and where each tensor of state lies.

The names and their order are those of the structures in ``src/dfedge.h``.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.plan import Conv, Layer, Plan

ABI = 2
ABI_NAME = "dfedge native ABI"
"""What a manifest calls the version of the library that its programs need."""
ALIGN = 4
NOWHERE = -1
RULES = ("df", "df-o", "df-r", "df-r-concordant")
FORMS = ("one-pass", "label-plane")

STEERING = (
    "live", "weight_shift", "bias_shift", "anchor_shift", "phase", "error", "pace", "planes",
)  # fmt: skip
"""Tensors of the whole net."""

Fields = dict[str, int]
"""A structure's fields, by name, in order."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the state: where it lies in the block, its type and shape."""

    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Table:
    """What the interpreter needs to know of a net.

    Attributes:
        program, layers, convs: fields of the three structures.
        tensors: the state's, by name, in state order.
    """

    program: Fields
    layers: list[Fields]
    convs: list[Fields]
    tensors: dict[str, Tensor]

    @property
    def words(self) -> NDArray[np.int32]:
        """As it lies in memory: int32 [words]."""
        rows = [self.program, *self.layers, *self.convs]
        return np.array([value for row in rows for value in row.values()], np.int32)

    @property
    def structure_words(self) -> tuple[int, int, int]:
        """Of one program, layer, convolution."""
        return len(self.program), len(self.layers[0]), len(self.convs[0])

    @property
    def state_bytes(self) -> int:
        """Of the state block."""
        return self.program["state_bytes"]


def lay_out(state: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Place every tensor in one block, in order, each at a multiple of `ALIGN`."""
    placed, offset = {}, 0
    for name, value in state.items():
        placed[name] = Tensor(offset, value.dtype.str.lstrip("<>|="), value.shape)
        offset += -(-value.nbytes // ALIGN) * ALIGN
    return placed


def obstacle(plan: Plan) -> str | None:
    """Why the interpreter cannot run a plan, or None."""
    if plan.trunk is not None:
        return "a frozen trunk (an adopted net)"
    if any(layer.mean for layer in plan.layers):
        return "a layer that hands on its mean (an adopted net)"
    return None


def make_table(plan: Plan, state: dict[str, NDArray[Any]]) -> Table:
    """The table of a plan; of the state only names, types and shapes count.

    Raises:
        DfedgeError: a plan that the interpreter does not know.
    """
    why = obstacle(plan)
    if why is not None:
        raise DfedgeError(
            f"the C interpreter (runtimes c and native) does not know {why}; "
            "use onnx, executorch or litert"
        )
    tensors = lay_out(state)

    def at(name: str) -> int:
        return tensors[name].offset if name in tensors else NOWHERE

    layers: list[Fields] = []
    convs: list[Fields] = []
    for i, layer in enumerate(plan.layers):
        layers.append(_layer(layer, len(convs), at(f"layer{i}.anchors")))
        for j, conv in enumerate(layer.convs):
            name = f"layer{i}.conv{j}"
            offsets = {part: at(f"{name}.{part}") for part in ("weight", "bias", "feedback")}
            convs.append(_conv(conv) | offsets)
    last = list(tensors.values())[-1]
    program = {
        "abi": ABI,
        "state_bytes": -(-(last.offset + last.bytes) // ALIGN) * ALIGN,
        "layers": len(layers),
        "convs": len(convs),
        "classes": plan.classes,
        "rule": RULES.index(plan.rule),
        "form": FORMS.index(plan.form),
        "negatives": plan.negatives,
        "cut": plan.cut,
    }
    return Table(program | {name: at(name) for name in STEERING}, layers, convs, tensors)


def _conv(conv: Conv) -> Fields:
    return {
        "height": conv.height,
        "width": conv.width,
        "in_channels": conv.in_channels,
        "channels": conv.channels,
        "kernel_height": conv.kernel[0],
        "kernel_width": conv.kernel[1],
        "stride": conv.stride,
        **dict(zip(("top", "bottom", "left", "right"), conv.pads, strict=True)),
        "depthwise": int(conv.depthwise),
        "shift": conv.shift,
        "back": conv.back,
    }


def _layer(layer: Layer, first: int, anchors: int) -> Fields:
    join = layer.join
    lift, back = (join.lift, join.back_lift) if join else ((0, 0), (0, 0))
    norm = min(layer.norm, (1 << 63) - 1)
    return {
        "first": first,
        "convs": len(layer.convs),
        "joined": int(join is not None),
        "lift": lift[0],
        "skip_lift": lift[1],
        "back_lift": back[0],
        "skip_back_lift": back[1],
        "pool": int(layer.pool),
        "cells": layer.cells,
        "gain": layer.gain,
        "score_shift": layer.score_shift,
        "margin": layer.margin,
        "pull": layer.pull,
        "separation": layer.separation,
        "counted": int(layer.counted),
        "norm_high": norm >> 32,
        "norm_low": (norm & 0xFFFFFFFF) - ((norm & 0x80000000) << 1),
        "norm_shift": layer.norm_shift,
        "anchors": anchors,
    }
