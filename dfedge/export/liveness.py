"""A memory plan for a graph: who is alive when, and what that sums to at its worst moment.

ONNX and LiteRT files carry no plan; this is the figure for the graph's own order with perfect
placement.  Operators that only rename bytes share their input's.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Flow:
    """A graph in the order in which it runs.

    Attributes:
        nodes: (what it reads, what it makes) of each operator.
        renamed: result -> operand of operators that only rename bytes.
        inputs: what the caller gives; alive until last read.
        outputs: alive to the end.
        free: what counts elsewhere: constants and the state.
    """

    nodes: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    renamed: Mapping[Any, Any]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    free: set[Any]


def peak_bytes(flow: Flow, size: Callable[[Any], int]) -> int:
    """The largest sum of live tensors' sizes."""
    owner: dict[Hashable, Hashable] = {}
    for _, made in flow.nodes:
        for name in made:
            given = flow.renamed.get(name)
            if given is not None and given not in flow.free:
                owner[name] = owner.get(given, given)
    last: dict[Hashable, int] = dict.fromkeys(flow.inputs, -1)
    for i, (read, made) in enumerate(flow.nodes):
        for name in (*read, *made):
            last[owner.get(name, name)] = i
    for name in flow.outputs:
        last[owner.get(name, name)] = len(flow.nodes)
    alive = set(flow.inputs)
    total = peak = sum(size(name) for name in alive)
    for i, (_, made) in enumerate(flow.nodes):
        born = {name for name in made if name not in owner and name not in flow.free} - alive
        total += sum(size(name) for name in born)
        alive |= born
        peak = max(peak, total)
        dead = {name for name in alive if last[name] <= i}
        total -= sum(size(name) for name in dead)
        alive -= dead
    return peak
