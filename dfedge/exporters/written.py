"""A function of tensors, written down as a graph of the operators that it consists of.

torch's tracer goes by fake tensors and proxies, which cost a millisecond an operation.  A graph of
known sizes needs neither: every operation is asked for the shape of its result on the device
``meta``, and noted.  What the function makes of no input is a constant, and keeps its value.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode

Decompositions = Mapping[Any, Callable[..., Any]]
"""Operator -> a function of what it consists of."""
META = torch.device("meta")
SAME = {
    torch.ops.aten.alias.default, torch.ops.aten.detach.default,
    torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default,
}  # fmt: skip
"""What they are given, by another name."""


def written(function: Callable[..., Any], given: Sequence[Tensor]) -> GraphModule:
    """A function's operators, for tensors of these shapes and types: one placeholder each."""
    writer = _Writer({})
    with writer:
        return writer.ended(function(*map(writer.given, given)))


def rewritten(graph: GraphModule, decompositions: Decompositions) -> GraphModule:
    """The same in other operators."""
    writer = _Writer(decompositions)
    values: dict[Node, Any] = {}
    results: Sequence[Tensor] = ()
    with writer:
        for node in graph.graph.nodes:
            args = _mapped(node.args, Node, values.__getitem__)
            if node.op == "call_function":
                values[node] = writer.called(node.target, args, node.kwargs)
            elif node.op == "output":
                (results,) = args
            elif node.op == "placeholder":
                values[node] = writer.given(node.meta["val"])
            else:
                values[node] = getattr(graph, node.target)
        return writer.ended(results)


class _Writer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what is called, after its decomposition."""

    def __init__(self, decompositions: Decompositions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.decompositions = Graph(), decompositions
        self._nodes: dict[int, Node] = {}
        self._kept: list[Tensor] = []  # so that no other tensor takes an identity over
        self._constants: dict[str, Tensor] = {}
        self._sizes: dict[Any, Any] = {}

    def given(self, like: Tensor) -> Tensor:
        """A placeholder of this shape and type."""
        value = torch.empty(like.shape, dtype=like.dtype, device=META)
        return self._noted(value, self.graph.placeholder(f"given{len(self._kept)}"))

    def called(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """The result of a call, whose operations are written down."""
        return self.decompositions.get(function, function)(*args, **kwargs)

    def ended(self, results: Sequence[Tensor]) -> GraphModule:
        """The graph that gives these."""
        self.graph.output(tuple(map(self._node, results)))
        self.graph.eliminate_dead_code()
        return GraphModule(self._constants, self.graph)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; torch would import its compiler for a second to find out."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SAME:
            return self._noted(args[0].detach(), self._node(args[0]))
        found = self.decompositions.get(func)
        if found is None and _composite(func):
            found = func.decompose
        if found is not None:
            with self:
                result = found(*args, **kwargs)
            if result is not NotImplemented:
                return result
        made = self.graph.call_function(
            func, _mapped(args, Tensor, self._node), _mapped(kwargs, Tensor, self._node)
        )
        result = self._result(func, *_mapped((args, kwargs), Tensor, _sized))
        if isinstance(result, Tensor):
            return self._noted(result, made)
        for i, one in enumerate(result):
            self._noted(one, self.graph.call_function(getitem, (made, i)))
        made.meta["val"] = result
        return result

    def _result(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """As the operation would give it; tiles ask the same again and again."""
        if kwargs.get("device") is not None:
            kwargs["device"] = META
        key = func, _key(args), _key(tuple(kwargs.items()))
        size = self._sizes.get(key)
        if size is not None:
            shape, stride, dtype = size
            return torch.empty_strided(shape, stride, dtype=dtype, device=META)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._sizes[key] = result.shape, result.stride(), result.dtype
        return result

    def _noted(self, value: Tensor, node: Node) -> Tensor:
        self._nodes[id(value)] = node
        self._kept.append(value)
        node.meta.setdefault("val", value)
        return value

    def _node(self, value: Tensor) -> Node:
        """What made a tensor; one that no operation made is a constant."""
        if id(value) not in self._nodes:
            name = f"constant{len(self._constants)}"
            self._constants[name] = value
            self._noted(value, self.graph.create_node("get_attr", name))
        return self._nodes[id(value)]


def _sized(value: Tensor) -> Tensor:
    """The shape and type alone."""
    return value.to(META) if value.device != META else value


def _mapped(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """With each of a kind replaced, in lists, tuples and dictionaries."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(one, kind, function) for one in value)
    if isinstance(value, dict):
        return {key: _mapped(one, kind, function) for key, one in value.items()}
    return value


def _key(value: Any) -> Any:
    """What the size of a result depends on, as something that can be looked up."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return tuple(map(_key, value))
    return type(value), value


@cache
def _composite(func: Any) -> bool:
    """It consists of other operations, whatever runs it."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))
