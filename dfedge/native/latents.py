"""A frozen trunk alone in the C interpreter: what comes out of it, with nothing that learns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.native.program import NativeProgram
from dfedge.native.table import make_table
from dfedge.plan import Conv, Layer, Plan
from dfedge.trunk import Trunk

AT_ONCE = 32
"""Images."""


def latents(
    trunk: Trunk, constants: Mapping[str, NDArray[Any]], x: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Images int8 [N, H, W, C] -> [N, H', W', C'], the same bits as `dfedge.int8.trunk.latents`.

    Raises:
        DfedgeError: there is no library and none can be built, or it does not hold the trunk.
    """
    program = _under_nothing(trunk, constants)
    found = np.empty((len(x), *trunk.output_shape), np.int8)
    for i in range(0, len(x), AT_ONCE):
        found[i : i + AT_ONCE] = program.features(x[i : i + AT_ONCE])[-1]
    return found


def _under_nothing(trunk: Trunk, constants: Mapping[str, NDArray[Any]]) -> NativeProgram:
    """A program needs a layer: the smallest, its state all zeros."""
    height, width, channels = trunk.output_shape
    layer = Layer((Conv(height, width, channels, channels, (1, 1), depthwise=True),))
    plan = Plan((layer,), 2, trunk=trunk)
    state: dict[str, NDArray[Any]] = {
        "layer0.conv0.weight": np.zeros((1, channels, 1), np.int8),
        "layer0.conv0.bias": np.zeros(channels, np.int32),
        "layer0.anchors": np.zeros((2, layer.features), np.int8),
        "live": np.ones(2, np.int8),
        "weight_shift": np.zeros(1, np.int8),
        "anchor_shift": np.zeros(1, np.int8),
    }
    state |= dict.fromkeys(("phase", "error", "usual_error", "pace"), np.zeros((), np.int32))
    return NativeProgram(plan, make_table(plan, state, constants))
