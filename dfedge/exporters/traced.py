"""Methods as graphs of torch's operators, traced once for all formats.

A trace knows sizes alone: the state and the trunk's constants are inputs like x and y, so that a
plan and a method are all that it depends on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from dfedge.compile.blank import blank, blank_constants
from dfedge.compile.state import changed_names
from dfedge.exporters.program import Method, call
from dfedge.int8 import stock
from dfedge.int8.trunk import evaluate
from dfedge.plan import Plan
from dfedge.quiet import quiet

Decompositions = Mapping[Any, Callable[..., Any]]
LATENT = "latent"
"""What a trunk gives."""
KEPT = 64
"""Traces that are remembered."""


@dataclass(frozen=True)
class Named:
    """A graph whose placeholders and results have names.

    Attributes:
        inputs: constants, state, x, y.
        outputs: the new value of a tensor NAME of the state is ``NAME.next``.
        graph: of torch's operators.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    graph: Graph

    @property
    def placeholders(self) -> dict[str, Node]:
        """By name."""
        nodes = (node for node in self.graph.nodes if node.op == "placeholder")
        return dict(zip(self.inputs, nodes, strict=True))

    @property
    def results(self) -> dict[str, Node]:
        """By name."""
        given: Any = self.graph.output_node().args[0]
        return dict(zip(self.outputs, given, strict=True))


class Traced(Named):
    """One that can be run.

    Attributes:
        module: of the graph; whoever changes it copies it first.
    """

    module: GraphModule

    def __init__(self, module: GraphModule, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__(inputs, outputs, module.graph)
        object.__setattr__(self, "module", module)

    def copy(self) -> "Traced":
        """One that may be changed."""
        graph = Graph()
        graph.output(graph.graph_copy(self.module.graph, {}))
        return Traced(GraphModule(self.module, graph), self.inputs, self.outputs)


@lru_cache(maxsize=KEPT)
def traced(plan: Plan, method: Method) -> Traced:
    """A method in the operations of `dfedge.int8.ops`: ``(*constants, *state, x[, y])``."""
    whole, given, inputs, outputs = as_function(plan, method)
    return Traced(_followed(whole, {}, given), inputs, outputs)


def as_function(
    plan: Plan, method: Method
) -> tuple[Callable[..., tuple[Tensor, ...]], list[Tensor], list[str], list[str]]:
    """A method of tensors alone, with tensors to give it, their names and those of its results."""
    constants, state, example = blank_constants(plan), blank(plan), method.example(plan)
    names = [*constants, *state, *("x", "y")[: len(example)]]
    changed = changed_names(list(state), plan.cut) if method.learns else []

    def whole(*given: Tensor) -> tuple[Tensor, ...]:
        known = dict(zip(names, given, strict=True))
        own = {name: known[name] for name in state}
        new, results = call(plan, known, method.kind, own, *given[len(names) - len(example) :])
        return (*((new or {})[name] for name in changed), *results)

    outputs = [f"{name}.next" for name in changed] + method.results(plan)
    return whole, [*constants.values(), *state.values(), *example], names, outputs


@lru_cache(maxsize=KEPT)
def traced_trunk(plan: Plan, batch: int) -> Traced:
    """What all methods of a batch size begin with: ``(*constants, x) -> latent``."""
    trunk, constants, x = plan.trunk, blank_constants(plan), Method("infer", batch).example(plan)
    names = [*constants, "x"]

    def whole(*given: Tensor) -> tuple[Tensor]:
        assert trunk is not None
        return (evaluate(trunk, dict(zip(names, given, strict=True)), given[-1]),)

    return Traced(_followed(whole, {}, (*constants.values(), *x)), names, [LATENT])


def get_state(plan: Plan) -> Traced:
    """A copy of every tensor of the state: ``(*state) -> *state``."""
    state = blank(plan)

    def whole(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in given)

    return Traced(_followed(whole, {}, list(state.values())), list(state), list(state))


def set_state(plan: Plan) -> Traced:
    """Overwrite the state: ``(*state, *values) -> (*changed state, done)``."""
    state = blank(plan)

    def whole(*given: Tensor) -> tuple[Tensor, ...]:
        values = given[len(state) :]
        return (*values, values[-1] + 0)

    names = [*state, *(f"{name}.value" for name in state)]
    outputs = [*(f"{name}.next" for name in state), "done"]
    return Traced(_followed(whole, {}, [*state.values(), *blank(plan).values()]), names, outputs)


def rendered(trace: Traced, decompositions: Decompositions) -> Traced:
    """The same in other operators."""
    places = [node.meta["val"] for node in trace.placeholders.values()]
    given = [torch.empty(value.shape, dtype=value.dtype) for value in places]
    module = _followed(trace.module, decompositions, given)
    return Traced(module, trace.inputs, trace.outputs)


@lru_cache(maxsize=KEPT)
def in_stock(plan: Plan, method: Method) -> Traced:
    """A method in the stock rendering, in torch's core operators and primitives."""
    return rendered(traced(plan, method), core() | stock.decompositions())


@lru_cache(maxsize=KEPT)
def trunk_in_stock(plan: Plan, batch: int) -> Traced:
    """A trunk in the same."""
    return rendered(traced_trunk(plan, batch), core() | stock.decompositions())


@cache
def core() -> dict[Any, Callable[..., Any]]:
    """Operators of torch in its core ones."""
    return dict(torch.export.default_decompositions())


def _followed(
    function: Callable[..., Any], decompositions: Mapping[Any, Any], given: Sequence[Tensor]
) -> GraphModule:
    with quiet():
        follow = make_fx(function, dict(decompositions), tracing_mode="fake")
        module = follow(*given)
    module.graph.eliminate_dead_code()
    return module
