"""JSON changed at random where its bytes still are JSON: what a stranger could write on purpose."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

Place = tuple[Any, Any]
"""A dict or list of the tree, and a key or index in it."""
MARK = "mark"
"""The folder that `CODE` makes where it is run."""
CODE = f"__import__('os').mkdir('{MARK}')"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 16, 255, 1 << 16, (1 << 31) - 1, 1 << 31, -(1 << 31) - 1,
    1 << 40, 1 << 63, 1 << 70, 10**40, 0.5, -1e300, 1e308, "", "a", CODE, "../..", "\0", "\u202e",
    "x" * 5000, [], {}, [[]], {"a": 1}, [1] * 1000,
)  # fmt: skip
"""What takes the place of a value."""


def changed(tree: Any, draw: random.Random) -> Any:
    """A copy with one to four changes."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if draw.random() < 0.5:  # most places are names and hashes: numbers are where sizes differ
            numbers = [place for place in places if type(place[0][place[1]]) is int]
            if numbers:
                draw.choice((_shift, _swap, _near))(*draw.choice(numbers), numbers, draw)
                continue
        if places:
            draw.choice(CHANGES)(*draw.choice(places), places, draw)
    return tree


def _places(tree: Any) -> Iterator[Place]:
    """Every place of a tree, without recursion: a change may nest it deep."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            for key in one if isinstance(one, dict) else range(len(one)):
                yield one, key
                waiting.append(one[key])


def _replace(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    held[key] = copy.deepcopy(draw.choice(VALUES))


def _remove(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    del held[key]


def _swap(held: Any, key: Any, places: list[Place], draw: random.Random) -> None:
    """With the copy of another, most often one of its own type."""
    other, place = draw.choice(places)
    for _ in range(20):
        if type(other[place]) is type(held[key]):
            break
        other, place = draw.choice(places)
    held[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(held[key])


def _shift(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    """A number a little beside what it was: what two statements disagree in first."""
    value = held[key]
    if isinstance(value, int) and not isinstance(value, bool):
        held[key] = draw.choice((value + 1, value - 1, 2 * value, -value, value + (1 << 32)))
    else:
        held[key] = [value]


def _near(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    held[key] = draw.choice((0, 1, 2, 3, 4, 8, 16, 24, 127, -1))


def _double(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    if isinstance(held, list):
        held.insert(draw.randrange(len(held) + 1), copy.deepcopy(held[key]))
    else:
        held[draw.choice(("extra", f"{key}x"))] = copy.deepcopy(held[key])


def _nest(held: Any, key: Any, _: list[Place], draw: random.Random) -> None:
    value = held[key]
    for _depth in range(draw.choice((1, 3, 200))):
        value = [value]
    held[key] = value


CHANGES: tuple[Callable[[Any, Any, list[Place], random.Random], None], ...] = (
    _replace, _replace, _remove, _swap, _shift, _shift, _double, _nest,
)  # fmt: skip
