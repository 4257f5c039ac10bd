"""Samples cut into the batches that a program takes, and their labels checked."""

from collections.abc import Iterator
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Labels
from dfedge.errors import DfedgeError, UsageError, unknown_name
from dfedge.names import spelled


def parts(sizes: list[int], count: int, where: str) -> Iterator[slice]:
    """Cut ``count`` samples into batches of the given sizes, largest first.

    Args:
        where: begins the error's text.

    Raises:
        DfedgeError: some would be left over.
    """
    left = count
    for size in sizes:
        left %= size
    if left:
        raise DfedgeError(
            f"{where} take batches of {' and '.join(map(str, sizes))}, and {left} sample(s) are "
            "left; export it with batch 1 as well"
        )
    start = 0
    for size in sizes:
        while count - start >= size:
            yield slice(start, start + size)
            start += size


def checked_labels(y: Labels, count: int, classes: int) -> NDArray[np.int32]:
    """Labels as the programs take them, int32 [count].

    Raises:
        DfedgeError: not one integer for each image, or one that is not a class's.
    """
    y = np.asarray(y)
    if y.shape != (count,) or not np.issubdtype(y.dtype, np.integer):
        raise DfedgeError(
            f"the labels: {y.dtype} {list(y.shape)}; allowed: an integer for each of the "
            f"{count} images"
        )
    if y.min() < 0 or y.max() >= classes:
        raise DfedgeError(
            f"the labels reach from {y.min()} to {y.max()}; allowed: 0 to {classes - 1}"
        )
    return y.astype(np.int32)


def class_number(label: Any, classes: tuple[str, ...]) -> int:
    """The number of a class that is given by number or by name.

    Raises:
        UsageError: no class of this number or name; True and 3.0 are no class's number.
    """
    if isinstance(label, str):
        known = [*map(spelled, classes)][::-1]  # the last counts: a name may be used again
        if spelled(label) not in known:
            raise unknown_name("class", label[:80], list(classes))
        return len(classes) - 1 - known.index(spelled(label))
    try:
        number = -1 if isinstance(label, bool) else index(label)
    except TypeError:
        number = -1
    if not 0 <= number < len(classes):
        raise UsageError(
            f"invalid value for the label: {str(label)[:80]!r} ({type(label).__name__}); allowed: "
            f"a whole number from 0 to {len(classes) - 1}, or the name of a class"
        )
    return number
