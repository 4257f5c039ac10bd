"""How a map of positions is pooled, and cut into the cells that anchors see.

Along an axis of one position nothing is pooled, and there is one cell: a window of time is a map
[T, 1], so a net of pictures and a net of signals have one arithmetic.  A ``size`` is [H, W].
"""

from collections.abc import Sequence


def pool_window(size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns that a maximum of 2 x 2 takes together."""
    height, width = size
    return min(2, height), min(2, width)


def pooled(size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of what the maximum leaves, an odd last one left out."""
    (height, width), (down, across) = size, pool_window(size)
    return height // down, width // across


def cell_grid(size: Sequence[int], cells: int) -> tuple[int, int]:
    """Cells down and across, of ``cells`` a side."""
    height, width = size
    return min(cells, height), min(cells, width)


def cell_size(size: Sequence[int], cells: int) -> tuple[int, int]:
    """Rows and columns of one cell; the last one of an axis may reach beyond the map."""
    (height, width), (down, across) = size, cell_grid(size, cells)
    return -(-height // down), -(-width // across)


def cells_of(size: Sequence[int], cells: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """`cell_grid` and `cell_size`."""
    return cell_grid(size, cells), cell_size(size, cells)


def most_cells(size: Sequence[int]) -> int:
    """The most cells a side that a map has room for."""
    return min((side for side in size if side > 1), default=1)
