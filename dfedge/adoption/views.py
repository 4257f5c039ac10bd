"""Values that a net sees in another order or form than they lie in: transposed, cut, reshaped.

Nothing is computed until an operation reads one.  What is back in its order by then is the value
itself, what moved whole channels is one selection of channels (a split, a shuffle, a slice), and
what moved whole rows and columns one gathering of them (nearest upsampling, edges, a crop).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dfedge.adoption.graph import ForeignGraph, ForeignNode, Shape
from dfedge.adoption.refusal import refusal
from dfedge.adoption.values import K, Value, Values
from dfedge.errors import DfedgeError

Some = tuple[int, ...]
"""By number."""


class Views(Values[K]):
    """Operations so far, and in which order each foreign value is seen."""

    def graph(self, results: Sequence[K]) -> ForeignGraph:
        """What was translated, up to the net's result.

        Raises:
            DfedgeError: not one result.
        """
        if self.refused and len(results) == 1:
            return ForeignGraph(self.nodes)
        if len(results) != 1 or results[0] not in self.values:
            raise DfedgeError(self._several(results))
        closing = self.finished.pop(results[0], None)
        left_out = list(closing.said) if closing else []
        last = self.settled(results[0]).number
        while self.nodes[last].op == "function" and _increases(self.nodes[last].function):
            left_out.append(f"the function of '{self.nodes[last].name}'")
            (last,) = self.nodes[last].reads
        embeds = closing is not None and closing.embeds
        return ForeignGraph(self.nodes[: last + 1], tuple(left_out), embeds)

    def _several(self, results: Sequence[K]) -> str:
        forms = [
            " x ".join(map(str, self.dims(key))) if key in self.values else "no map"
            for key in results
        ]
        return (
            f"the net returns {len(results)} results ({', '.join(forms)} a sample); allowed: one "
            "score per class; export a net that returns its scores alone"
        )

    # -- what only moves numbers ----------------------------------------------------------------

    def same(self, given: K) -> None:
        """An operation that changes no number."""
        if given in self.constants:
            self.constants[self.key] = self.constants[given]
        else:
            self.reshape(given, self.dims(given))

    def dims(self, key: K) -> tuple[int, ...]:
        """Of an operand without the batch, finished or not."""
        return (self.values[key] if key in self.finished else self.value(key)).dims

    def reshape(self, given: K, out: tuple[int, ...]) -> None:
        """The same numbers in another form, of scores that are finished as well.

        Args:
            out: without the batch.
        """
        if given in self.finished:
            value, self.finished[self.key] = self.values[given], self.finished[given]
        else:
            value = self.value(given)
        if math.prod(out) != math.prod(value.dims):
            raise self.refusal(
                f"{self.site.what} across samples, of {list(value.dims)} to {list(out)}",
                "the batch as the first axis",
            )
        places = None if value.places is None else value.places.reshape(out)
        site = value.site if out == value.dims else self.site
        self.values[self.key] = Value(value.number, out, places, site)

    def places(self, key: K, batch: int) -> Tensor:
        """int32 [batch, ...], a value's places in so many samples: an operation that only moves
        numbers is told by what it makes of them (`moved`).
        """
        value, size = self.value(key), math.prod(self.shape(key))
        self.check_size(batch * math.prod(value.dims))
        own = torch.arange(size, dtype=torch.int32) if value.places is None else value.places
        samples = torch.arange(batch, dtype=torch.int32) * size
        return own.reshape(1, *value.dims) + samples.reshape(-1, *(1 for _ in value.dims))

    def moved(self, given: K, made: Tensor, batch: int) -> None:
        """Take what the operation at work makes of `places` as its result.

        Raises:
            DfedgeError: it mixes samples.
        """
        value, size = self.value(given), math.prod(self.shape(given))
        own = made[:1]
        samples = torch.arange(batch, dtype=made.dtype).reshape(-1, *(1 for _ in made.shape[1:]))
        alike = made.dim() > 1 and len(made) == batch and torch.equal(own + samples * size, made)
        if not alike or own.numel() == 0 or not 0 <= int(own.min()) <= int(own.max()) < size:
            raise self.refusal(f"{self.site.what} across samples", "the batch as the first axis")
        flat = own.flatten()
        plain = len(flat) == size and torch.equal(flat, torch.arange(size, dtype=flat.dtype))
        places = None if plain else own[0].clone()
        self.values[self.key] = Value(value.number, tuple(made.shape[1:]), places, self.site)

    # -- what is read ---------------------------------------------------------------------------

    def settled(self, key: K) -> Value:
        """An operand in its own order; where whole channels were moved, of a selection of them.

        Raises:
            DfedgeError: numbers were moved otherwise.
        """
        value = self.loose(key)
        if value.places is not None:
            raise self.misplaced(value)
        return value

    def loose(self, key: K) -> Value:
        """As `settled`, or in whatever order it is: for what works number by number."""
        value = self.value(key)
        if value.places is None:
            return value
        channels, height, width = self.shape(key)
        size = height * width
        apart = _by_side(value.places, (channels, height, width))
        if apart is None and value.places.numel() % size == 0:
            chosen = _whole_channels(value.places.reshape(-1, size), size)
            if chosen is not None:
                apart = chosen, tuple(range(height)), tuple(range(width))
        if apart is None:
            return value
        self.values[key] = self._taken(value, *apart)
        return self.values[key]

    def _taken(self, value: Value, channels: Some, rows: Some, columns: Some) -> Value:
        """Some channels, rows and columns of a result, in any order."""
        site, made = value.site or self.site, self.nodes[value.number].shape
        nodes: list[ForeignNode] = []
        if channels != tuple(range(made[0])):
            made = (len(channels), *made[1:])
            nodes.append(ForeignNode("select", site.name, (), made, channels=channels))
        if (rows, columns) != (tuple(range(made[1])), tuple(range(made[2]))):
            made = (made[0], len(rows), len(columns))
            nodes.append(ForeignNode("gather", site.name, (), made, rows=rows, columns=columns))
        for node in nodes:
            self.check_shape(node.shape)
            node.reads, node.where = (value.number,), site.line
            self.nodes.append(node)
            value = replace(value, number=len(self.nodes) - 1)
        return replace(value, places=None)

    def map(self, key: K) -> Shape:
        """Of an operand that is a map [C, H, W], settled."""
        value = self.settled(key)
        shape = self.shape(key)
        if value.dims != shape:
            if len(value.dims) != 3:
                raise self.refusal(f"{self.site.what} of a vector", "it before flatten")
            raise self.misplaced(value)
        return shape

    def turned(self, key: K) -> bool:
        """Whether a map of one column is seen as one of one row, or the other way round."""
        value, (channels, height, width) = self.value(key), self.shape(key)
        return (
            height != width
            and value.dims == (channels, width, height)
            and (value.places is None and 1 in (height, width))
        )

    def turn(self, given: K) -> None:
        """See such a map the other way round."""
        value = self.value(given)
        channels, height, width = value.dims
        self.values[self.key] = replace(value, dims=(channels, width, height))

    def misplaced(self, value: Value) -> DfedgeError:
        """Make the error for a value that no operation can read as it is."""
        site = value.site or self.site
        shape = list(self.nodes[value.number].shape)
        what = f"{site.what} of {shape} to {list(value.dims)}"
        return refusal(site, what, "whole channels in any order or part, and maps as they were "
                       f"before '{self.site.what}' reads them")  # fmt: skip

    def as_seen(self, value: Value) -> None:
        """Let the result of an operation that works number by number be seen as what it read."""
        made = self.values[self.key]
        self.values[self.key] = replace(value, number=made.number)

    def by_channel(self, key: K, constant: Tensor) -> Tensor | None:
        """A constant that is broadcast over a value, as one number a channel of its operation: [C].

        None: it has another shape, or differs within a channel.
        """
        value, (channels, *sides) = self.loose(key), self.shape(key)
        missing = 1 + len(value.dims) - constant.dim()
        shape = (1,) * missing + tuple(constant.shape)
        whole = (1, *value.dims)
        if missing < 0 or any(a not in (1, b) for a, b in zip(shape, whole, strict=True)):
            return None
        if constant.numel() == 1:
            return constant.flatten().expand(channels).clone()
        if value.places is None and value.dims[0] == channels == shape[1] == constant.numel():
            return constant.flatten().clone()
        at = slice(None) if value.places is None else value.places.flatten().long()
        rows = torch.full((channels * math.prod(sides),), math.nan)
        rows[at] = constant.reshape(shape).expand(whole).flatten()
        rows = rows.reshape(channels, -1)
        return rows[:, 0].clone() if bool((rows == rows[:, :1]).all()) else None

    def reduced(self, given: K, axes: Sequence[int]) -> tuple[int, ...] | None:
        """Which channel each number comes from that is left when these axes become one number.

        Args:
            axes: over which, without the batch.

        Returns:
            None: what becomes one number is not a channel's whole map.
        """
        value, (channels, *sides) = self.loose(given), self.shape(given)
        size, places = math.prod(sides), value.places
        if places is None:
            places = torch.arange(channels * size, dtype=torch.int32)
        places = places.reshape(value.dims)
        kept = [axis for axis in range(places.dim()) if axis not in axes]
        count = math.prod(places.shape[axis] for axis in axes)
        return _whole_channels(places.permute(*kept, *axes).reshape(-1, count).sort(1).values, size)


def _increases(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether a larger score stays the larger one: a sigmoid's does."""
    steps = function(torch.linspace(-6, 6, 1001, dtype=torch.float64)).diff()
    return bool((steps > 0).all())


def _whole_channels(rows: Tensor, size: int) -> tuple[int, ...] | None:
    """Of rows of places the channels that they are, [size] numbers each; None: they are none."""
    if rows.shape[1] != size:
        return None
    first = rows[:, :1]
    whole = first + torch.arange(size, dtype=rows.dtype)
    if bool((first % size).any()) or not torch.equal(whole, rows):
        return None
    return tuple((first.flatten() // size).tolist())


def _by_side(places: Tensor, shape: Shape) -> tuple[Some, Some, Some] | None:
    """Channels, rows and columns that make these places of a map [C, H, W]; None: they are not made
    by each side alone.
    """
    _, height, width = shape
    if places.dim() not in (2, 3):
        return None
    if places.dim() == 2 or (places.shape[1] == 1 and height > width == 1):
        places = places.reshape(len(places), -1, 1) if width == 1 else places[:, None]
    channels, rows, columns = places[:, 0, 0], places[0, :, 0], places[0, 0]
    apart = (channels // (height * width), rows // width % height, columns % width)
    c, r, k = apart[0][:, None, None], apart[1][:, None], apart[2]
    if not torch.equal((c * height + r) * width + k, places):
        return None
    channel, row, column = (tuple(map(int, one)) for one in apart)
    return channel, row, column
