"""Where the values of a frozen trunk lie in its workspace: by their lives, first fit.

A value that only the next step reads need not be whole: it is made row by row, and as many rows lie
there as the next step's window is high.  So of a convolution that expands, the depthwise one on it
and the one that projects, the two large maps between never exist.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from dfedge.operations import Operation
from dfedge.operations.windows import WindowOperation
from dfedge.trunk import Trunk

MAX_CHAIN = 8
"""Steps that follow each other row by row, and the one that makes a whole map."""


@dataclass(frozen=True)
class Placement:
    """Of every step's result: the last one's lies where the first layer reads it, and counts as 0.

    Attributes:
        offsets: in the workspace.
        rows: that lie there at a time; 0: the whole map.
        bytes: of the workspace, for one image; the image itself lies with the caller.
    """

    offsets: list[int]
    rows: list[int]
    bytes: int


@dataclass
class Allocation:
    """Bytes that one value, or several one after the other, lie in; alive from step to step."""

    bytes: int
    born: int
    dies: int


ORDERS: tuple[Callable[[Allocation], tuple[int, int]], ...] = (
    lambda block: (-block.bytes, block.born),
    lambda block: (block.born, -block.bytes),
    lambda block: (block.born - block.dies, -block.bytes),
)
"""In which blocks are placed."""


def place(trunk: Trunk) -> Placement:
    """The smallest workspace of those tried, and of equal ones that with the most whole maps.

    Row by row is slower where maps are small; so only values above a size are, every size tried.
    """
    sizes = sorted({prod(step.shape) for step in trunk.operations}, reverse=True)
    return min((place_above(trunk, size) for size in [*sizes, 0]), key=lambda one: one.bytes)


def place_above(trunk: Trunk, size: int) -> Placement:
    """With values above a size made row by row, where they can be."""
    steps = trunk.operations
    rows = [_rows(steps, i) if prod(step.shape) > size else 0 for i, step in enumerate(steps)]
    return _placed(steps, _short_chains(rows))


def _rows(steps: Sequence[Operation], i: int) -> int:
    """How many rows of a step's result are enough, 0 where it must be whole."""
    if i + 1 == len(steps) or steps[i].whole or steps[i + 1].whole:
        return 0
    readers = Counter(read for step in steps for read in step.reads)
    after = steps[i + 1]
    if readers[i + 1] != 1 or i + 1 not in after.reads:
        return 0
    if after.reads[0] != i + 1 and steps[i].shape != after.shape:
        return 0  # one number a channel
    rows = after.kernel[0] if isinstance(after, WindowOperation) else 1
    return rows if rows < steps[i].shape[0] else 0


def _short_chains(rows: list[int]) -> list[int]:
    kept: list[int] = []
    for one in rows:
        full = len(kept) >= MAX_CHAIN - 1 and all(kept[1 - MAX_CHAIN :])
        kept.append(0 if full else one)
    return kept


def _placed(steps: Sequence[Operation], rows: list[int]) -> Placement:
    blocks = _blocks(steps, rows)
    distinct = list({id(block): block for block in blocks}.values())
    tried = [_first_fit(sorted(distinct, key=order)) for order in ORDERS]
    offsets, size = min(tried, key=lambda one: one[1])
    return Placement([*(offsets[id(block)] for block in blocks), 0], rows, size)


def _blocks(steps: Sequence[Operation], rows: list[int]) -> list[Allocation]:
    """The block of what each step but the last makes; a chain's steps are at work together."""
    begins, ends = list(range(len(steps))), list(range(len(steps)))
    for i in range(1, len(steps)):
        begins[i] = begins[i - 1] if rows[i - 1] else i
    for i in range(len(steps) - 2, -1, -1):
        ends[i] = ends[i + 1] if rows[i] else i
    last = {read: ends[i] for i, step in enumerate(steps) for read in step.reads}
    blocks: list[Allocation] = []
    for i, step in enumerate(steps[:-1]):
        dies = max(last.get(i + 1, i), ends[i])
        alone = begins[i] == ends[i] == i
        over = next((r for r in step.reads if alone and _yields(steps, r, i, last)), None)
        if over is None:
            bytes_ = prod(step.shape) if rows[i] == 0 else rows[i] * prod(step.shape[1:])
            blocks.append(Allocation(bytes_, begins[i], dies))
        else:
            blocks.append(blocks[over - 1])
            blocks[-1].dies = dies
    return blocks


def _yields(steps: Sequence[Operation], read: int, i: int, last: dict[int, int]) -> bool:
    """Whether step i may write over a value that it reads."""
    step = steps[i]
    return read > 0 and step.in_place and last[read] == i and steps[read - 1].shape == step.shape


def _first_fit(blocks: list[Allocation]) -> tuple[dict[int, int], int]:
    placed: list[tuple[int, Allocation]] = []
    for block in blocks:
        beside = sorted(
            (offset, offset + other.bytes)
            for offset, other in placed
            if other.born <= block.dies and block.born <= other.dies
        )
        at = 0
        for begin, end in beside:
            if at + block.bytes <= begin:
                break
            at = max(at, end)
        placed.append((at, block))
    size = max((offset + block.bytes for offset, block in placed), default=0)
    return {id(block): offset for offset, block in placed}, size
