"""The stock rendering: every integer operation in operators that any runtime ships.

One decomposition serves all formats.  It leaves four primitives (`primitives`), whose exact form
differs from runtime to runtime and which an exporter therefore translates by name.  Everything else
is addition, multiplication, comparison, clamping and moving of int32 and int8 values, which all
runtimes do alike.  Written so that runtimes' known errors are not met: no negative number is
shifted, divided or taken modulo; no argmax or scatter, no gather but from one row; no arithmetic on
int8 itself.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from dfedge.int8.ops import trunk as registered  # noqa: F401
from dfedge.int8.stock import convolution, energy, goodness, pooling, trunk, update


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Operation -> its stock rendering."""
    rooms: dict[ModuleType, list[str]] = {
        convolution: [
            "conv_sum", "conv_relu", "add_relu", "conv_back",
            "narrow", "gate", "add_errors", "signed_as",
        ],
        pooling: ["max_pool", "unpool", "pool_cells", "spread"],
        update: ["conv_update"],
        goodness: ["anchor_scores", "contrast", "anchor_update"],
        energy: [
            "draw_rivals", "select_rows", "energy", "coarse", "contrast_energy", "times",
            "normalise",
        ],
        trunk: ["operation"],
    }  # fmt: skip
    return {
        getattr(torch.ops.dfedge, name).default: getattr(room, name)
        for room, names in rooms.items()
        for name in names
    }
