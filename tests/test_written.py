"""The graphs that all formats are made from, held against torch's own tracer."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from trials.random_nets import draw

from dfedge.exporters.program import Method
from dfedge.exporters.tiles import PRIMITIVES
from dfedge.exporters.traced import as_function, core
from dfedge.exporters.written import SAME, Decompositions, rewritten, written
from dfedge.int8 import stock
from dfedge.int8.stock.tiled import FLOORS, Tiled

RENDERINGS: dict[str, Decompositions] = {
    "operations": {},
    "stock": core() | stock.decompositions(),
    "tiles": core() | stock.decompositions() | Tiled(FLOORS[0]).decompositions() | PRIMITIVES,
}


def followed(function: Any, decompositions: Decompositions, given: Sequence[Tensor]) -> GraphModule:
    """By torch, which knows nothing of dfedge."""
    module = make_fx(function, dict(decompositions), tracing_mode="fake")(*given)
    module.graph.eliminate_dead_code()
    return module


def lines(module: GraphModule) -> list[tuple[Any, ...]]:
    """Every operator with what it reads, its shape and type; names of the same bytes are one."""
    names: dict[Node, str] = {}
    told = []

    def said(value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(said, value))}]"
        return names[value] if isinstance(value, Node) else repr(value)

    for node in module.graph.nodes:
        if node.target in SAME:
            names[node] = names[node.args[0]]
        elif node.op == "get_attr":
            names[node] = str(getattr(module, node.target).tolist())
        else:
            kwargs = {name: said(value) for name, value in node.kwargs.items()}
            names[node] = f"v{len(told)}"
            found = node.meta.get("val")
            size = (found.shape, found.dtype) if isinstance(found, Tensor) else None
            target = node.target if node.op == "call_function" else node.op
            told.append((target, said(node.args), kwargs, size))
    return told


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["train", "infer"])
def test_a_graph_is_that_of_torchs_tracer(seed: int, kind: str) -> None:
    drawn = draw(seed)
    whole, given, _, _ = as_function(drawn.plan, Method(kind, drawn.batch))
    mine, theirs = written(whole, given), followed(whole, {}, given)
    for decompositions in RENDERINGS.values():
        found = rewritten(mine, decompositions)
        assert lines(found) == lines(followed(theirs, decompositions, given))
    assert all(
        torch.equal(one, other) for one, other in zip(mine(*given), theirs(*given), strict=True)
    )
