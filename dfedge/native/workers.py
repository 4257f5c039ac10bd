"""A batch cut into parts that threads compute side by side: a sample's numbers are its own."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Workers:
    """So many threads, which begin with the first batch that is cut.

    Args:
        count: threads; 1: whoever calls computes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def each(self, call: Callable[[NDArray[Any]], T], x: NDArray[Any]) -> list[T]:
        """What a call gives of each part of x [B, ...], in order."""
        count = min(self.count, len(x))
        if count < 2:
            return [call(x)]
        return list(self._threads().map(call, np.array_split(x, count)))

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # a fork copies no thread
            self._pool = ThreadPoolExecutor(self.count, "dfedge")
            self._process = os.getpid()
        return self._pool
