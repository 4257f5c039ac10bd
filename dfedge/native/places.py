"""Where the values of a frozen trunk lie in its workspace: by their lives, first fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from dfedge.trunk import AnyStep, Gate, Mix, Swish, Trunk

IN_PLACE = (Mix, Gate, Swish)
"""What works value by value may write where it reads."""


@dataclass
class Block:
    """Bytes that one value, or several one after the other, lie in; alive from step to step."""

    bytes: int
    born: int
    dies: int


ORDERS: tuple[Callable[[Block], tuple[int, int]], ...] = (
    lambda block: (-block.bytes, block.born),
    lambda block: (block.born, -block.bytes),
    lambda block: (block.born - block.dies, -block.bytes),
)
"""In which blocks are placed; the best is kept."""


def places(trunk: Trunk) -> tuple[list[int], int]:
    """The offset of what each step makes, and the bytes of the workspace, for one image.

    The image lies with the caller and the last value where the first layer reads it: 0 stands for
    the last one's place.
    """
    blocks = _blocks(trunk.steps)
    tried = [_first_fit(sorted(_distinct(blocks), key=order)) for order in ORDERS]
    offsets, size = min(tried, key=lambda one: one[1])
    return [*(offsets[id(block)] for block in blocks), 0], size


def _blocks(steps: Sequence[AnyStep]) -> list[Block]:
    """The block of what each step but the last makes."""
    last = {read: i for i, step in enumerate(steps) for read in step.reads}
    blocks: list[Block] = []
    for i, step in enumerate(steps[:-1]):
        dies = last.get(i + 1, i)
        over = next((read for read in step.reads if _yields(steps, read, i, last)), None)
        if over is None:
            blocks.append(Block(prod(step.shape), i, dies))
        else:
            blocks.append(blocks[over - 1])
            blocks[-1].dies = dies
    return blocks


def _yields(steps: Sequence[AnyStep], read: int, i: int, last: dict[int, int]) -> bool:
    """Whether step i may write over a value that it reads."""
    step = steps[i]
    return (
        read > 0
        and isinstance(step, IN_PLACE)
        and last[read] == i
        and steps[read - 1].shape == step.shape
    )


def _distinct(blocks: list[Block]) -> list[Block]:
    return list({id(block): block for block in blocks}.values())


def _first_fit(blocks: list[Block]) -> tuple[dict[int, int], int]:
    placed: list[tuple[int, Block]] = []
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
