"""A plan as the C interpreter reads it: one table, and where each tensor of state lies.

The names and their order are those of the structures in ``src/dfedge.h``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.native.layout import Fields, PlacedTensor, block_bytes, block_of, lay_out
from dfedge.native.trunk import FIELDS, Constants, Frozen, freeze
from dfedge.plan import FEEDBACKS, Conv, Layer, Plan

ABI = 10
ABI_NAME = "dfedge native ABI"
"""What a manifest calls the version of the library that its programs need."""
NOWHERE = -1
FORMS = ("one-pass", "label-plane")

STEERING = (
    "live", "weight_shift", "anchor_shift", "phase", "error", "usual_error",
    "pace", "planes",
)  # fmt: skip
"""Tensors of the whole net."""


@dataclass(frozen=True)
class ProgramTable:
    """What the interpreter needs to know of a net.

    Attributes:
        program, layers, convs: fields of the structures.
        frozen: what stands for the trunk.
        tensors: the state's, by name, in state order.
    """

    program: Fields
    layers: list[Fields]
    convs: list[Fields]
    frozen: Frozen
    tensors: dict[str, PlacedTensor]

    @property
    def words(self) -> NDArray[np.int32]:
        """As it lies in memory: int32 [words]; a trunk's constants at the end, as their bytes."""
        rows = [self.program, *self.layers, *self.convs, *self.frozen.operations]
        numbers = [value for row in rows for value in row.values()] + self.frozen.reads
        constants = block_of(self.frozen.constants, self.frozen.values)
        return np.concatenate([np.array(numbers, np.int32), constants.view(np.int32)])

    @property
    def structure_words(self) -> tuple[int, int, int, int]:
        """Of one program, layer, convolution, operation."""
        return len(self.program), len(self.layers[0]), len(self.convs[0]), len(FIELDS)

    @property
    def state_bytes(self) -> int:
        """Of the state block."""
        return self.program["state_bytes"]


def make_table(
    plan: Plan, state: dict[str, NDArray[Any]], constants: Constants | None = None
) -> ProgramTable:
    """The table of a plan; of the state only names, types and shapes count.

    Args:
        constants: of the plan's trunk.

    Raises:
        DfedgeError: constants that are not the trunk's.
    """
    frozen = freeze(plan.trunk, constants or {})
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
    height, width, channels = plan.input_shape
    program = {
        "abi": ABI,
        "state_bytes": block_bytes(tensors),
        "layers": len(layers),
        "convs": len(convs),
        "operations": len(frozen.operations),
        "reads": len(frozen.reads),
        "constant_bytes": block_bytes(frozen.constants),
        "workspace": frozen.workspace,
        "height": height,
        "width": width,
        "channels": channels,
        "classes": plan.classes,
        "feedback": FEEDBACKS.index(plan.feedback),
        "form": FORMS.index(plan.form),
        "negatives": plan.negatives,
        "cut": plan.cut,
    }
    return ProgramTable(
        program | {name: at(name) for name in STEERING}, layers, convs, frozen, tensors
    )


def _conv(conv: Conv) -> Fields:
    return {
        "height": conv.height,
        "width": conv.width,
        "in_channels": conv.in_channels,
        "channels": conv.channels,
        "kernel_height": conv.kernel[0],
        "kernel_width": conv.kernel[1],
        "stride": conv.stride,
        "across": conv.stride,
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
        "joined": join.inner if join else 0,
        "lift": lift[0],
        "skip_lift": lift[1],
        "back_lift": back[0],
        "skip_back_lift": back[1],
        "pool": int(layer.pool),
        "mean": int(layer.mean),
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
