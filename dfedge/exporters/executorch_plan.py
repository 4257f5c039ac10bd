"""ExecuTorch's own memory plan, read off the graph that it was made for."""

import re
from collections.abc import Iterator
from typing import Any

from torch.fx import GraphModule, Node

from dfedge.exporters.liveness import INPUT, Flow, LiveBuffer, footprint
from dfedge.footprint import Footprint

ARENA = 1
"""Where the planner puts everything but the shared state."""
LAYER = re.compile(r"layers?_?(\d+)_")


def planned_footprint(
    module: GraphModule, handed: list[int], label: str | None = None
) -> Footprint:
    """The footprint of a planned method.

    Args:
        handed: bytes that each layer is handed, `dfedge.exporters.program.handed`.
        label: input from which on the graph goes back down through the layers.
    """
    graph = module.graph
    places = {node: i for i, node in enumerate(graph.nodes)}
    nodes, layers, learned = [], {}, set()
    for node in graph.nodes:
        found = LAYER.search(node.name) if node.op == "placeholder" else None
        if found:
            layers[node] = int(found[1])
        elif node.op == "placeholder" and node.name in ("inputs_0", "x"):
            layers[node] = INPUT
        nodes.append((node.all_input_nodes, [node] if node.op == "call_function" else []))
        if getattr(node.target, "__name__", "").startswith("copy_") and node.args[0] in layers:
            learned.add(node)
    back = next((n for n in graph.nodes if n.op == "placeholder" and n.name == label), None)
    flow = Flow(nodes, {}, [], [], set(), layers, learned, handed, back)
    return footprint(flow, list(_blocks(places)))


def _blocks(places: dict[Node, int]) -> Iterator[LiveBuffer]:
    """One block for each stretch of the arena and of time; views share their tensor's."""
    seen = set()
    for node in places:
        for spec in _specs(node.meta.get("spec")):
            place = spec.mem_id, spec.mem_offset, *spec.lifetime
            if spec.mem_id != ARENA or place in seen or None in spec.lifetime:
                continue
            seen.add(place)
            owner = next(iter(node.users)) if _is_allocation(node) else node
            yield LiveBuffer(owner, spec.allocated_memory, *spec.lifetime)


def _is_allocation(node: Node) -> bool:
    return getattr(node.target, "__name__", "") == "alloc" and bool(node.users)


def _specs(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _specs(one)
    elif value is not None:
        yield value
