"""How the differences of many devices become one: a table of rules, all in integers.

    mean       sum over devices of weight x difference, over the sum of weights
    clipped    the same, but no device's whole difference is longer (as a vector) than the median of
               them, and none weighs more than the median of the weights (after Andrew and others,
               "Differentially private learning with adaptive clipping", 2021, at quantile 1/2)
    trimmed    of every value the largest and the smallest fifth of the devices are left out, and
               the mean of the others is taken, all of one weight (Yin and others, "Byzantine-robust
               distributed learning", 2018); of fewer than five none is left out
    median     of every value the middle one, or the mean of the middle two

Every rule gives a move in units of 2^-bits, rounded half up once, at its end.  Until then there are
only integers: sums below 2^63 (`dfedge.fleet.sift.MOST_SAMPLES`), and values that are sorted.  So
the order in which devices answered is lost.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from dfedge.fleet import words

CLIP_BITS = 8
"""Below the unit, of a difference that was shortened."""
TRIMMED = 5
"""One in so many devices is left out at either end."""
CHUNK = 1 << 22
"""Values that are sorted at a time."""

Ints = NDArray[np.int64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Voice:
    """What one device says of all tensors, in the rows of the merged state.

    Attributes:
        weight: as many samples as count (`dfedge.fleet.merge`).
        moves: int16, by name.
        rows: bool [K], which rows of the anchors it knows; all of any other tensor is known.
    """

    weight: int
    moves: dict[str, NDArray[np.int16]]
    rows: Rows


Voices = Callable[[], Iterator[Voice]]
"""Every call reads them anew, so that not all lie in memory at once."""
Moved = dict[str, Ints]
"""By name, int64 in units of 2^-bits; 0 where nobody had anything to say."""
Shapes = dict[str, tuple[int, ...]]


def mean(voices: Voices, shapes: Shapes, bits: int) -> Moved:
    """See above."""
    weighted = ((voice, voice.weight, voice.moves) for voice in voices())
    return weighted_mean(weighted, shapes, bits, 0)


def clipped(voices: Voices, shapes: Shapes, bits: int) -> Moved:
    """See above."""
    norms = [_norm(voice) for voice in voices()]
    weights = sorted(voice.weight for voice in voices())
    longest, heaviest = sorted(norms)[(len(norms) - 1) // 2], weights[(len(weights) - 1) // 2]

    def shortened() -> Iterator[tuple[Voice, int, dict[str, Ints]]]:
        for voice, norm in zip(voices(), norms, strict=True):
            share = (min(longest, norm) << 16) // norm if norm else 0
            short = {
                name: (move.astype(np.int64) * share + (1 << 15 - CLIP_BITS)) >> 16 - CLIP_BITS
                for name, move in voice.moves.items()
            }
            yield voice, min(voice.weight, heaviest), short

    return weighted_mean(shortened(), shapes, bits, CLIP_BITS)


def trimmed(voices: Voices, shapes: Shapes, bits: int) -> Moved:
    """See above."""
    return _sorted(voices, shapes, bits, lambda count: count // TRIMMED)


def median(voices: Voices, shapes: Shapes, bits: int) -> Moved:
    """See above."""
    return _sorted(voices, shapes, bits, lambda count: (count - 1) // 2)


RULES: dict[str, Callable[[Voices, Shapes, int], Moved]] = {
    words.MEAN: mean,
    words.CLIPPED: clipped,
    words.TRIMMED: trimmed,
    words.MEDIAN: median,
}


def middle(values: Sequence[Sequence[int]]) -> list[int]:
    """The lower median of each column."""
    table = np.sort(np.array(values, np.int64), 0)
    found: list[int] = table[(len(table) - 1) // 2].tolist()
    return found


def _norm(voice: Voice) -> int:
    """The length of all differences as one vector, rounded down."""
    return isqrt(sum(int((m.astype(np.int64) ** 2).sum()) for m in voice.moves.values()))


def weighted_mean(
    weighted: Iterable[tuple[Voice, int, dict[str, NDArray[np.int16]] | dict[str, Ints]]],
    shapes: Shapes,
    bits: int,
    below: int,
    noise: Callable[[tuple[int, ...]], Ints] | None = None,
) -> Moved:
    """The mean of weighted differences, read one device after the other.

    Args:
        below: differences are in units of 2^-below.
        noise: shape -> what is added to the sum of a tensor that any device sent.
    """
    sums = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
    weights = {name: np.zeros(_rows_of(name, shape), np.int64) for name, shape in shapes.items()}
    for voice, weight, moves in weighted:
        for name, move in moves.items():
            spoken = voice.rows[:, None] if name.endswith(".anchors") else np.ones((), bool)
            sums[name] += weight * np.where(spoken, move, 0).astype(np.int64)
            weights[name] += weight * spoken
    for name, total in sums.items():
        if noise is not None and weights[name].any():
            total += noise(total.shape)
    return {name: _rounded(sums[name], weights[name], bits, below) for name in shapes}


def _rows_of(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], 1) if name.endswith(".anchors") else ()


def _rounded(total: Ints, weight: Ints, bits: int, below: int) -> Ints:
    """``total 2^(bits - below) / weight``, half up; 0 where the weight is."""
    up, down = max(bits - below, 0), max(below - bits, 0)
    divisor = np.maximum(weight, 1) << down
    found: Ints = (2 * (total << up) + divisor) // (2 * divisor)
    return np.where(weight > 0, found, 0)


def _sorted(voices: Voices, shapes: Shapes, bits: int, left_out: Callable[[int], int]) -> Moved:
    """The mean of what is left of each value when so many are left out at either end."""
    every = list(voices())
    return {name: _middle_mean(every, name, shape, bits, left_out)
            for name, shape in shapes.items()}  # fmt: skip


def _middle_mean(
    every: list[Voice],
    name: str,
    shape: tuple[int, ...],
    bits: int,
    left_out: Callable[[int], int],
) -> Ints:
    found = np.zeros(shape, np.int64)
    speaking = [voice for voice in every if name in voice.moves]
    if not speaking:
        return found
    flat, columns = found.reshape(shape[0], -1), np.arange(shape[0])
    knows = np.stack([voice.rows if name.endswith(".anchors") else np.ones(shape[0], bool)
                      for voice in speaking])  # fmt: skip
    patterns, which = np.unique(knows, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        count = int(pattern.sum())
        if not count:
            continue
        rows, out = columns[which.reshape(-1) == number], left_out(count)
        step = max(CHUNK // (count * flat.shape[1]), 1)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            stack = np.stack([voice.moves[name].reshape(shape[0], -1)[some]
                              for voice, knows_it in zip(speaking, pattern, strict=True)
                              if knows_it])  # fmt: skip
            stack.sort(0)
            kept = stack[out : count - out].astype(np.int64).sum(0)
            flat[some] = _rounded(kept, np.array(count - 2 * out), bits, 0)
    return found
