"""The order in which a stream shows its samples: a function of (seed, position) alone.

So training that was interrupted goes on with the very samples that would have come next.
"""

import numpy as np
from numpy.typing import NDArray


def shuffled(count: int, seed: int, start: int, size: int) -> NDArray[np.int64]:
    """Indices of the presentations ``start .. start + size - 1`` over ``count`` samples.

    Every pass over the data is a new permutation.
    """
    passes = range(start // count, -(-(start + size) // count))
    order = [np.random.default_rng([seed, number]).permutation(count) for number in passes]
    first = start - (start // count) * count
    flat = np.concatenate(order) if order else np.empty(0, np.int64)
    return flat[first : first + size].astype(np.int64)


def by_class(y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """All samples in an order drawn from the seed, in rounds: one of every class that has one left.

    So the first N hold every class as often as it can be had.
    """
    drawn = np.random.default_rng([seed, 0]).permutation(len(y))
    rounds = np.empty(len(y), np.int64)
    for label in np.unique(y):
        own = np.flatnonzero(y[drawn] == label)
        rounds[own] = np.arange(len(own))
    return drawn[np.argsort(rounds, kind="stable")].astype(np.int64)
