"""Who is alive when in a graph, to which layer it belongs, and what that sums to.

ONNX and LiteRT files carry no plan; this is the figure for the graph's own order with perfect
placement.  Operators that only rename bytes share their input's.

A tensor belongs to the highest layer whose state it is made from.  One that only later layers
read, as a copy that a convolution makes of its input, counts as the first reader's.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfedge.footprint import Footprint, LiveTensor, Sample

SAMPLES = 160
LARGEST = 6
PADDING = 64
"""More than this no arena adds to a tensor to align the next."""
INPUT = -1
"""The layer of what a method is given."""


@dataclass(frozen=True)
class Flow:
    """A graph in the order in which it runs.

    Attributes:
        nodes: (what it reads, what it makes) of each operator.
        renamed: result -> operand of operators that only rename bytes.
        inputs: what the caller gives; alive until last read.
        outputs: alive to the end.
        free: what counts elsewhere: constants and the state.
        layers: state (and x: `INPUT`) -> its layer.
        learned: results that become a layer's state.
        handed: bytes that each layer is handed by the one below.
        back: of a graph that goes back down: what is made from this belongs to the lowest layer.
    """

    nodes: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    renamed: Mapping[Any, Any]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    free: set[Any]
    layers: Mapping[Any, int] = field(default_factory=dict)
    learned: set[Any] = field(default_factory=set)
    handed: Sequence[int] = ()
    back: Any = None


@dataclass(frozen=True)
class LiveBuffer:
    """One tensor's bytes and its life, both positions included; ``dies`` may lie past the end."""

    name: Any
    bytes: int
    born: int
    dies: int


def blocks(flow: Flow, size: Callable[[Any], int]) -> list[LiveBuffer]:
    """Every tensor's life in a graph."""
    owner: dict[Hashable, Hashable] = {}
    for _, made in flow.nodes:
        for name in made:
            given = flow.renamed.get(name)
            if given is not None and given not in flow.free:
                owner[name] = owner.get(given, given)
    last: dict[Hashable, int] = dict.fromkeys(flow.inputs, -1)
    born: dict[Hashable, int] = dict.fromkeys(flow.inputs, 0)
    for i, (read, made) in enumerate(flow.nodes):
        for name in (*read, *made):
            last[owner.get(name, name)] = i
        for name in made:
            if name not in owner and name not in flow.free:
                born.setdefault(name, i)
    for name in flow.outputs:
        last[owner.get(name, name)] = len(flow.nodes)
    return [LiveBuffer(name, size(name), first, last[name]) for name, first in born.items()]


def _alive(all: Sequence[LiveBuffer], steps: int) -> list[int]:
    change = [0] * (steps + 2)
    for block in all:
        change[min(block.born, steps)] += block.bytes
        change[min(max(block.dies, block.born), steps) + 1] -= block.bytes
    total, alive = 0, []
    for step in range(max(steps, 1)):
        total += change[step]
        alive.append(total)
    return alive


def footprint(flow: Flow, all: Sequence[LiveBuffer]) -> Footprint:
    """Sum up a schedule; ``all`` are the lives of its tensors, planned or computed."""
    made_from, belongs = _layers(flow)
    steps = max(len(flow.nodes), 1)
    alive = _alive(all, steps)
    at_work = _at_work(flow, belongs)
    layer_bytes: dict[str, int] = {}
    for layer, total in zip(at_work, alive, strict=False):
        name = _name(layer)
        layer_bytes[name] = max(layer_bytes.get(name, 0), total)
    peak = alive.index(max(alive))
    there = [b for b in all if b.born <= peak <= b.dies]
    largest = sorted(there, key=lambda b: -b.bytes)[:LARGEST]
    return Footprint(
        lower_bound_bytes=max(alive),
        stored_activation_bytes=_stored(flow, all, made_from, belongs),
        largest=[LiveTensor(_words(b.name), belongs.get(b.name), b.bytes) for b in largest],
        layer_bytes=layer_bytes,
        samples=_samples(all, alive, at_work, belongs),
    )


def _layers(flow: Flow) -> tuple[dict[Any, int], dict[Any, int]]:
    """Of every tensor: the highest layer that it is made from, and the one that it belongs to."""
    made_from: dict[Any, int] = dict(flow.layers)
    readers: dict[Any, list[int]] = {}
    turned = set() if flow.back is None else {flow.back}
    for i, (read, made) in enumerate(flow.nodes):
        for name in read:
            readers.setdefault(name, []).append(i)
        turns = any(name in turned for name in read)
        known = [
            made_from[name]
            for name in read
            if name in made_from and (not turns or name in turned or name in flow.layers)
        ]
        if turns:
            turned.update(made)
        if known:
            made_from.update(dict.fromkeys(made, min(known) if turns else max(known)))
    belongs = dict(made_from)
    for _, made in reversed(flow.nodes):
        for name in made:
            theirs = [
                belongs[result]
                for i in readers.get(name, ())
                for result in flow.nodes[i][1]
                if result in belongs
            ]
            if name in belongs and theirs:
                belongs[name] = max(belongs[name], min(theirs))
    return made_from, belongs


def _at_work(flow: Flow, belongs: Mapping[Any, int]) -> list[int | None]:
    layer, found = None, []
    for _, made in flow.nodes:
        layer = next((belongs[name] for name in made if name in belongs), layer)
        found.append(layer)
    return found or [None]


def _stored(
    flow: Flow, all: Sequence[LiveBuffer], made_from: Mapping[Any, int], belongs: Mapping[Any, int]
) -> int:
    """The most that crosses a boundary for learning, beside what is handed over.

    Of what earlier layers made, only what the layer itself reads first is its own: a pooled input,
    the columns of a convolution.
    """
    feeding: set[Any] = set(flow.learned)
    for read, made in reversed(flow.nodes):
        if any(name in feeding for name in made):
            feeding.update(read)
    feeding -= flow.learned
    first: dict[int, int] = {}
    for i, (_, made) in enumerate(flow.nodes):
        for name in made:
            if name in made_from:
                first.setdefault(made_from[name], i)
    worst = 0
    for layer, handed in enumerate(flow.handed):
        start = first.get(layer)
        if not layer or start is None:
            continue
        crossing = [
            block.bytes
            for block in all
            if block.born < start <= block.dies
            and block.name in feeding
            and made_from.get(block.name, layer) < layer != belongs.get(block.name)
        ]
        over = next((size for size in crossing if handed <= size < handed + PADDING), 0)
        worst = max(worst, sum(crossing) - over)
    return worst


def _samples(
    all: Sequence[LiveBuffer],
    alive: list[int],
    at_work: list[int | None],
    belongs: Mapping[Any, int],
) -> list[Sample]:
    stretch = -(-len(alive) // SAMPLES)
    found = []
    for start in range(0, len(alive), stretch):
        at = max(range(start, min(start + stretch, len(alive))), key=alive.__getitem__)
        layers: dict[str, int] = {}
        for block in all:
            if block.born <= at <= block.dies and block.bytes:
                name = _name(belongs.get(block.name))
                layers[name] = layers.get(name, 0) + block.bytes
        layer = at_work[at] if at < len(at_work) else None
        found.append(Sample(round(at / len(alive), 4), layer, layers))
    return found


def _name(layer: int | None) -> str:
    return "-" if layer is None else "input" if layer == INPUT else str(layer)


def _words(name: Any) -> str:
    return f"tensor {name}" if isinstance(name, int) else str(name)
