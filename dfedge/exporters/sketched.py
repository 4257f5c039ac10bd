"""What a rendering computes, for plans of memory alone: nothing here is ever run.

`dfedge.exporters.traced` goes by torch's tracer, whose fake tensors and proxies cost a millisecond
an operation.  Sizes need neither: every operation is asked for the shape of its result
on the device ``meta``, and written down.  `tests/test_memory.py` holds the plans of both equal.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.utils._python_dispatch import TorchDispatchMode

from dfedge.exporters.program import Method
from dfedge.exporters.traced import Decompositions, Named, as_function
from dfedge.plan import Plan

META = torch.device("meta")
COPIES = {torch.ops.aten.alias.default, torch.ops.aten.detach.default}
"""The same bytes by another name."""


def sketched(plan: Plan, method: Method) -> Named:
    """A method as `dfedge.exporters.traced.traced` has it."""
    whole, given, inputs, outputs = as_function(plan, method)
    writer = _Writer({})
    with META, writer:
        results = whole(*(writer.given(name, one) for name, one in zip(inputs, given, strict=True)))
    return Named(inputs, outputs, writer.ended(results))


def rendered(sketch: Named, decompositions: Decompositions) -> Named:
    """The same in other operators, as `dfedge.exporters.traced.rendered`."""
    writer = _Writer(decompositions)
    values: dict[Node, Any] = {}
    results: tuple[Tensor, ...] = ()
    with META, writer:
        for node in sketch.graph.nodes:
            args = _mapped(node.args, Node, values.__getitem__)
            if node.op == "call_function":
                values[node] = writer.called(node.target, args, dict(node.kwargs))
            elif node.op == "output":
                (results,) = args
            elif node.op == "placeholder":
                values[node] = writer.given(node.name, node.meta["val"])
            else:  # a constant
                values[node] = node.meta["val"]
    return Named(sketch.inputs, sketch.outputs, writer.ended(results))


class _Writer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what is called, after its decomposition."""

    def __init__(self, decompositions: Decompositions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.decompositions = Graph(), decompositions
        self._nodes: dict[int, Node] = {}
        self._kept: list[Tensor] = []  # so that no other tensor takes an identity over
        self._constants: dict[int, Tensor] = {}
        self._sizes: dict[Any, Any] = {}

    def given(self, name: str, like: Tensor) -> Tensor:
        """A placeholder."""
        value = torch.empty(like.shape, dtype=like.dtype)
        return self._noted(value, self.graph.placeholder(name))

    def called(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """The result of a call, whose operations are written down."""
        return self.decompositions.get(function, function)(*args, **kwargs)

    def ended(self, results: Sequence[Tensor]) -> Graph:
        """The graph that gives these."""
        self.graph.output(tuple(map(self._node, results)))
        self.graph.eliminate_dead_code()
        return self.graph

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; torch would import its compiler for a second to find out."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = self.decompositions.get(func)
        if found is None and _composite(func):
            found = func.decompose
        if found is not None:
            with self:
                result = found(*args, **kwargs)
            if result is not NotImplemented:
                return result
        args, kwargs = _mapped(args, Tensor, self._own), _mapped(kwargs, Tensor, self._own)
        result = self._result(func, args, kwargs)
        if func in COPIES:
            return self._noted(result, self._node(args[0]))
        made = self.graph.call_function(
            func, _mapped(args, Tensor, self._node), _mapped(kwargs, Tensor, self._node)
        )
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
        return self._nodes[id(self._own(value))]

    def _own(self, value: Tensor) -> Tensor:
        """The tensor; of one that no operation made, so a constant, one of its size."""
        if id(value) in self._nodes:
            return value
        if id(value) not in self._constants:
            self._kept.append(value)
            blank = torch.empty_like(value, device=META)
            node = self.graph.create_node("get_attr", f"constant{len(self._constants)}")
            self._constants[id(value)] = self._noted(blank, node)
        return self._constants[id(value)]


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
