"""Methods as graphs of torch's operators, written down once for all formats.

A trace knows sizes alone: the state and the trunk's constants are inputs like x and y, so that a
plan and a method are all that it depends on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from dfedge.compile.blank import blank, blank_constants
from dfedge.compile.state import changed_names
from dfedge.exporters.program import Method, call
from dfedge.exporters.written import Decompositions, rewritten, written
from dfedge.int8 import stock
from dfedge.int8.trunk import evaluate
from dfedge.plan import Plan

LATENT = "latent"
"""What a trunk gives."""
KEPT = 64
"""Traces that are remembered."""


@dataclass(frozen=True)
class Traced:
    """A graph whose placeholders and results have names.

    Attributes:
        module: of the graph, with its constants; whoever changes it copies it first.
        inputs: constants, state, x, y.
        outputs: the new value of a tensor NAME of the state is ``NAME.next``.
    """

    module: GraphModule
    inputs: Sequence[str]
    outputs: Sequence[str]

    @property
    def graph(self) -> Graph:
        """Of torch's operators."""
        return self.module.graph

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

    def copy(self) -> "Traced":
        """One that may be changed."""
        graph = Graph()
        graph.output(graph.graph_copy(self.graph, {}))
        return Traced(GraphModule(self.module, graph), self.inputs, self.outputs)


@lru_cache(maxsize=KEPT)
def traced(plan: Plan, method: Method) -> Traced:
    """A method in the operations of `dfedge.int8.ops`: ``(*constants, *state, x[, y])``."""
    whole, given, inputs, outputs = as_function(plan, method)
    return Traced(written(whole, given), inputs, outputs)


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

    return Traced(written(whole, (*constants.values(), *x)), names, [LATENT])


def get_state(plan: Plan) -> Traced:
    """A copy of every tensor of the state: ``(*state) -> *state``."""
    state = blank(plan)

    def whole(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in given)

    return Traced(written(whole, list(state.values())), list(state), list(state))


def set_state(plan: Plan) -> Traced:
    """Overwrite the state: ``(*state, *values) -> (*changed state, done)``."""
    state = blank(plan)

    def whole(*given: Tensor) -> tuple[Tensor, ...]:
        values = given[len(state) :]
        return (*values, values[-1] + 0)

    names = [*state, *(f"{name}.value" for name in state)]
    outputs = [*(f"{name}.next" for name in state), "done"]
    return Traced(written(whole, [*state.values(), *blank(plan).values()]), names, outputs)


def rendered(trace: Traced, decompositions: Decompositions) -> Traced:
    """The same in other operators."""
    return Traced(rewritten(trace.module, decompositions), trace.inputs, trace.outputs)


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
