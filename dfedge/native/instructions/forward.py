"""How often the bodies of the loops run in ``src/convolve.c`` and ``src/panel.c``."""

from collections import Counter

from dfedge.native.instructions.kernels import (
    LEAST,
    OUTPUTS,
    PIXELS,
    ROOMS,
    SUMS,
    Geometry,
    Kernels,
    Zone,
    parts,
    up,
)

Counts = Counter[str]
DEEP = 16
"""Inputs that Helium multiplies at a time, where weights lie in words."""


def convolution(
    k: Kernels, c: Geometry, groups: int = 1, scaled: bool = False, skip: int | None = None,
    words: bool | None = None,
) -> Counts:  # fmt: skip
    """``dfe_conv_join`` or ``dfe_conv_scaled`` of one sample.

    Args:
        groups: of a trunk's operation.
        scaled: every output has a scale of its own: a trunk's.
        skip: a residual layer's last one: input channels of the skip's convolution; 0: it has none.
        words: weights of four outputs lie in a word; of a slice the whole convolution's.
    """
    words = c.channels % 4 == 0 if words is None else words
    if groups == 1 and not c.depthwise and c.positions >= LEAST:
        return _packed(k, c, scaled, skip, words)
    return _plain(k, c, groups, scaled, skip, words)


def _packed(
    k: Kernels, c: Geometry, scaled: bool, skip: int | None, words: bool
) -> Counts:  # fmt: skip
    weights = c.kernel_height * up(c.kernel_width * c.in_channels, k.group)
    room = next((size for size in ROOMS if weights <= size), k.room)
    if scaled:
        room = ROOMS[0]
    aligned = c.in_channels % k.group == 0
    one: Counts = Counter()
    for x in c.columns:
        packed = False
        for y in c.rows:
            one["panel.zone"] += 1
            packed |= _zone(k, c, x, y, room, aligned, one, packed and not aligned)
    if aligned and _fits(c, room, up(c.kernel_width * c.in_channels, k.group)):
        one["panel.pack"] += weights // k.group
        one["panel.pack_row"] += c.kernel_height
    if not words:  # byte by byte
        one["panel.pack_bytes"] = one.pop("panel.pack", 0)
    found = Counter({name: n * -(-c.channels // k.outputs) for name, n in one.items()})
    found["panel.group"] = -(-c.channels // k.outputs)
    found["panel"] = 1
    outputs = c.positions * c.channels
    found["panel.scaled" if scaled else "panel.floored"] = outputs
    found["panel.finish"] = c.positions * found["panel.group"]
    if skip is not None:
        found["panel.skipped"] = found["panel.finish"]
        found["panel.added"] = outputs
        found["panel.through"] = outputs * skip
    return found


def _fits(c: Geometry, room: int, whole: int) -> bool:
    return room // max(whole, 1) >= c.kernel_height


def _zone(
    k: Kernels, c: Geometry, x: Zone, y: Zone, room: int, aligned: bool, one: Counts, packed: bool
) -> bool:
    """Add one zone; whether its weights are packed now."""
    taps = c.kernel_width if aligned else x.taps
    whole = max(up(taps * c.in_channels, k.group), 1)
    run, empty = x.taps * c.in_channels, not (x.taps and y.taps)
    some, calls, odd = _somes(k, c, x, y)
    one["panel.some"] += some
    positions = x.count * y.count
    if empty:
        one["panel.sum"] += positions
        return packed
    if not _fits(c, room, whole):
        _in_pieces(k, c, run, y, room, whole, one, (some, calls, odd, positions))
        return packed
    if not aligned and not packed:
        one["panel.pack"] += c.kernel_height * whole // k.group
        one["panel.pack_row"] += c.kernel_height
    _sums(k, one, calls, odd, positions, y.taps, run)
    return True


def _sums(
    k: Kernels, one: Counts, calls: int, odd: int, positions: int, rows: int, run: int
) -> None:  # fmt: skip
    steps = -(-run // k.group)
    one["panel.call"] += calls
    one["panel.sum"] += positions
    one["panel.row"] += positions * rows
    one["panel.step"] += positions * rows * steps
    one["panel.single"] += odd * rows * steps
    one["panel.rest"] += positions * rows if run % k.group else 0


def _in_pieces(
    k: Kernels, c: Geometry, run: int, y: Zone, room: int, whole: int, one: Counts,
    of: tuple[int, int, int, int],
) -> None:  # fmt: skip
    """More weights than there is room for: packed again for every few positions."""
    some, calls, odd, positions = of
    height, piece = max(1, room // whole), min(whole, room)
    for first in range(y.begin // height * height, y.end, height):
        rows = min(height, c.kernel_height - first)
        used = min(first + height, y.end) - max(first, y.begin)
        for begin in range(0, whole, piece):
            values = min(piece, whole - begin)
            one["panel.pack"] += some * rows * -(-values // k.group)
            one["panel.pack_row"] += some * rows
            one["panel.piece"] += some
            _sums(k, one, calls, odd, positions, used, min(values, run))


def _somes(k: Kernels, c: Geometry, x: Zone, y: Zone) -> tuple[int, int, int]:
    """Turns of a zone, calls in them, and how many of those have an odd number of positions."""
    along, down = x.count, y.count
    follows = c.across * x.count == c.stride * c.width and x.count == c.out_width
    if follows:
        along, down = along * down, 1
    if down > along:
        along, down = down, along
    most, some, calls, odd = SUMS // k.outputs, 0, 0, 0
    for count in parts(along, most):
        some += -(-down // (most // count))
        calls += down
        odd += down * (count % 2)
    return some, calls, odd


def _plain(
    k: Kernels, c: Geometry, groups: int, scaled: bool, skip: int | None, words: bool
) -> Counts:  # fmt: skip
    found: Counts = Counter({"conv": 1})
    apart = groups > 1 and not c.depthwise
    own = c.channels // groups if apart else c.channels
    each = 1 if c.depthwise else c.in_channels // groups
    tiles = parts(own, OUTPUTS) * (groups if apart else 1)
    for x in c.columns:
        for y in c.rows:
            positions = x.count * y.count
            blocks = -(-positions // PIXELS)
            found["conv.zone"] += 1
            found["conv.position"] += positions
            turns = x.taps if apart else 1
            run = each if apart else x.taps * each
            found["conv.block"] += blocks * len(tiles)
            found["conv.call"] += blocks * len(tiles) * turns
            found["conv.pixel"] += positions * len(tiles) * max(turns, 1)
            for t in tiles:
                rows = positions * turns * y.taps
                if c.depthwise:
                    _depthwise(k, found, rows, run, t)
                else:
                    _products(k, found, rows, run, t, words)
                if skip:
                    _products(k, found, positions, skip, t, words)
    outputs = c.positions * c.channels
    found["conv.scaled" if scaled else "conv.output"] += outputs
    if skip is not None:
        found["conv.added"] += outputs
        found["conv.call"] += found["conv.block"]
        found["conv.pixel"] += found["conv.pixel"]
    return found


def _depthwise(k: Kernels, found: Counts, rows: int, run: int, t: int) -> None:
    """``depthwise``: rows of taps, taps of each, outputs."""
    if k.name == "plain":
        found["depthwise.row"] += rows
        found["depthwise.value"] += rows * run
        found["depthwise.product"] += rows * run * t
        return
    many, rest = divmod(t, {"simd32": 4, "mve": 16}[k.name])
    _wide(k, found, "depthwise", rows, run, many, rest)


def _products(k: Kernels, found: Counts, rows: int, run: int, t: int, words: bool) -> None:
    """``multiply``: rows of taps, values of each, outputs."""
    if k.name == "mve" and run >= DEEP and t % 4 == 0 and words:
        found["multiply.deep_row"] += rows * t // 4
        found["multiply.deep"] += rows * t // 4 * (run // DEEP)
        found["multiply.last"] += rows * t // 4 * (run % DEEP > 0)
        return
    many, rest = divmod(t, {"plain": 4, "simd32": 8, "mve": 16}[k.name])
    _wide(k, found, "multiply", rows, run, many, rest)


def _wide(k: Kernels, found: Counts, name: str, rows: int, run: int, many: int, rest: int) -> None:
    """Outputs in ``many`` groups, and the rest of them."""
    if k.name == "mve":
        rest = -(-rest // 4)
    turns = rest if k.name == "plain" else int(rest > 0)
    found[f"{name}.row"] += rows * (many + turns)
    found[f"{name}.wide"] += rows * run * many
    if rest and k.name == "simd32":
        found[f"{name}.value"] += rows * run
        found[f"{name}.rest"] += rows * rest
    found[f"{name}.product"] += rows * run * rest
