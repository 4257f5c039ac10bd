"""Samples that a device keeps of the classes that were added to it, to replay them as it does those
that the bundle brings.  A slot, and a file that travels, hold them beside the state's tensors.

    remembered.x    int8 [n, H, W, C], inputs of the programs
    remembered.y    int32 [n], their rows
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.store.record import StateRecord
from dfedge.errors import DfedgeError
from dfedge.state import State

MOST = 32
"""Samples of a class; a slot is written with every save."""
HEAD = "remembered."

Remembered = tuple[NDArray[np.int8], NDArray[np.int32]]


def nothing(bundle: Bundle) -> Remembered:
    """Of a device to which no class was added."""
    return np.empty((0, *bundle.manifest.plan.input_shape), np.int8), np.empty(0, np.int32)


def with_class(kept: Remembered, row: int, q: NDArray[np.int8]) -> Remembered:
    """And of one class more, of inputs q [n, H, W, C] the first `MOST`."""
    few = q[:MOST]
    rows = np.full(len(few), row, np.int32)
    return np.concatenate([kept[0], few]), np.concatenate([kept[1], rows])


def joined(learned: State, kept: Remembered | None) -> dict[str, NDArray[Any]]:
    """Tensors of a slot."""
    if kept is None or not len(kept[1]):
        return dict(learned)
    return {**learned, f"{HEAD}x": kept[0], f"{HEAD}y": kept[1]}


def parted(
    tensors: Mapping[str, NDArray[Any]], record: StateRecord, bundle: Bundle, where: Path
) -> tuple[dict[str, NDArray[Any]], Remembered]:
    """The state of a slot's tensors, and what it remembers.

    Raises:
        DfedgeError: samples that are not of this bundle's added classes.
    """
    learned = {n: value for n, value in tensors.items() if not n.startswith(HEAD)}
    if len(learned) == len(tensors):
        return learned, nothing(bundle)
    x, y = tensors.get(f"{HEAD}x"), tensors.get(f"{HEAD}y")
    shape, first = bundle.manifest.plan.input_shape, len(bundle.manifest.classes)
    if (
        x is None or y is None or len(tensors) != len(learned) + 2
        or (str(x.dtype), str(y.dtype)) != ("int8", "int32")
        or x.shape != (len(y), *shape) or y.ndim != 1 or not len(y)
        or x.min() < 0 or y.min() < first or y.max() >= first + len(record.added)
    ):  # fmt: skip
        raise DfedgeError(
            f"{where}: the samples that it remembers are not of its added classes; delete it to "
            "start anew"
        )
    return learned, (x, y)
