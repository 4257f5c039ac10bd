"""A table of numbers as C has it."""

from collections.abc import Iterable

ROW = 8
"""Numbers in a row."""


def table(declared: str, values: Iterable[object]) -> str:
    """A constant array, declared as ``int32_t cosines``."""
    words = list(map(str, values))
    rows = [f"    {', '.join(words[i : i + ROW])}," for i in range(0, len(words), ROW)]
    return "\n".join([f"static const {declared}[] = {{", *rows, "};"])
