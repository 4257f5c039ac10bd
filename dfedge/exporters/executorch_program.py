"""A trace as ExecuTorch's planner and emitter take it, without the passes that would get it there.

`to_edge` and `to_executorch` trace a graph anew for each of a dozen passes, most of an export's
time.  What they would do to ours is little, and done here in one walk: operators that copy where
torch's share bytes, numbers as constants, the state as buffers that are written back.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any, cast

import executorch.exir.passes.dim_order_ops_registry
import executorch.kernels.quantized  # noqa: F401  registers the int8 kernels
import torch
from executorch.exir.passes import ToOutVarPass, dead_code_elimination_pass
from executorch.exir.passes.insert_write_back_for_buffers_pass import (
    insert_write_back_for_buffers_pass,
)
from executorch.exir.passes.normalize_view_copy_base_pass import NormalizeViewCopyBasePass
from executorch.exir.passes.replace_view_copy_with_view_pass import ReplaceViewCopyWithViewPass
from executorch.exir.tensor import TensorSpec
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import (
    ExportedProgram,
    ExportGraphSignature,
    ModuleCallEntry,
    ModuleCallSignature,
)
from torch.export.graph_signature import (
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node
from torch.utils._pytree import tree_structure

from dfedge.exporters.order import write_back_early
from dfedge.exporters.traced import Traced

aten, ordered = torch.ops.aten, torch.ops.dim_order_ops

COPIES: dict[Any, Any] = {
    aten.view.default: aten.view_copy.default,
    aten.permute.default: aten.permute_copy.default,
    aten.slice.Tensor: aten.slice_copy.Tensor,
    aten.select.int: aten.select_copy.int,
    aten.expand.default: aten.expand_copy.default,
    aten.squeeze.dims: aten.squeeze_copy.dims,
    aten.unsqueeze.default: aten.unsqueeze_copy.default,
    aten._to_copy.default: ordered._to_dim_order_copy.default,
    aten.clone.default: ordered._clone_dim_order.default,
}
"""What shares bytes in torch, or keeps strides -> what makes bytes of its own, in order."""
IN_ORDER = {ordered._to_dim_order_copy.default, ordered._clone_dim_order.default}
SAME = {aten.alias.default, aten.lift_fresh_copy.default}
SAME_IF_ALIKE = {aten.slice.Tensor, aten._to_copy.default}
"""Where the result has the shape and type of what is read."""


class MethodBuilder:
    """One method while it is made; the trace is left as it is.

    Args:
        state, constants: values of its inputs of these names; all others are given in a call.
    """

    def __init__(
        self, trace: Traced, state: Mapping[str, Tensor], constants: Mapping[str, Tensor]
    ) -> None:
        self.graph, self.root = Graph(), trace.module
        self.inputs: dict[str, Node] = {}
        self.values = {**state, **constants}
        self.state = set(state)
        self.numbers: dict[tuple[float, torch.dtype], Node] = {}
        known = {}
        for name, node in trace.placeholders.items():
            held = name in self.values and name not in self.state
            known[node] = made = self.graph.placeholder(
                (f"c{name}" if held else name).replace(".", "_")
            )
            made.meta, self.inputs[name] = dict(node.meta), made
        self.graph.output(self.graph.graph_copy(trace.graph, known))
        results: Any = self.graph.output_node().args[0]
        self.results = dict(zip(trace.outputs, results, strict=True))

    def made(self) -> ExportedProgram:
        """All but its memory plan."""
        for node in list(self.graph.nodes):
            if node.op == "get_attr":
                self._replace(node, self._constant(getattr(self.root, node.target), node))
            elif node.op == "call_function":
                self._spell(node)
        self.graph.output_node().args = (tuple(self.results.values()),)
        self.graph.eliminate_dead_code()
        own = {name: node.name for name, node in self.inputs.items() if name in self.values}
        program = ExportedProgram(
            root=self.root,
            graph=self.graph,
            graph_signature=ExportGraphSignature(self._input_specs(), self._output_specs()),
            state_dict={own[name]: self.values[name] for name in own if name in self.state},
            range_constraints={},
            module_call_graph=[ModuleCallEntry("", self._signature())],
            constants={own[name]: self.values[name] for name in own if name not in self.state},
        )
        module: Any = program.graph_module
        module.recompile = lambda: None  # each pass would write its Python, which nothing runs
        insert_write_back_for_buffers_pass(program)
        self._specify(program.graph)
        for change in (NormalizeViewCopyBasePass(), dead_code_elimination_pass,
                       ReplaceViewCopyWithViewPass(), ToOutVarPass()):  # fmt: skip
            change(module)
        write_back_early(module)
        return program

    def _specify(self, graph: Graph) -> None:
        """What the planner and the emitter need to know of every tensor."""
        mode = FakeTensorMode()  # what the passes take for a tensor
        known: dict[Any, tuple[Tensor, TensorSpec]] = {}
        for node in graph.nodes:
            if node.op != "output":
                written = node.target is aten.copy_.default
                like = (node.args[0] if written else node).meta["val"]
                key = like.shape, like.dtype
                if key not in known:
                    with mode:
                        value = torch.empty(key[0], dtype=key[1])
                    known[key] = value, TensorSpec.from_tensor(value)
                value, spec = known[key]
                node.meta = {"val": value, "tensor_meta": None, "spec": _another(spec)}
        for name, node in self.inputs.items():
            changes = f"{name}.next" in self.results
            node.meta["spec"].const = name in self.values and not changes
            node.meta["et_init_buffer"] = name in self.state
        output: Any = graph.output_node()
        output.meta["spec"] = tuple(node.meta["spec"] for node in output.args[0])

    def _replace(self, node: Node, other: Node) -> None:
        node.replace_all_uses_with(other)
        self.graph.erase_node(node)
        self.results = {n: other if made is node else made for n, made in self.results.items()}

    def _spell(self, node: Node) -> None:
        """One operator as ExecuTorch has it."""
        value, given = node.meta["val"], node.all_input_nodes
        if node.target in SAME or (node.target in SAME_IF_ALIKE and _alike(node, given[0])):
            self._replace(node, given[0])
            return
        node.meta["val"] = value.new_empty(value.shape)  # as copied: axes lie in order
        node.target = COPIES.get(node.target, node.target)
        if node.target in IN_ORDER:
            kept = {name: node.kwargs[name] for name in node.kwargs if name == "dtype"}
            node.kwargs = kept | {"dim_order": list(range(value.dim()))}
        wanted = cast(OpOverload, node.target)._schema.arguments
        for i, argument in enumerate(node.args):
            if isinstance(argument, int | float) and isinstance(wanted[i].type, torch.TensorType):
                node.update_arg(i, self._number(argument, given[0]))

    def _number(self, value: float, beside: Node) -> Node:
        """A constant of the type of what it meets; one for all who read it."""
        key = value, beside.meta["val"].dtype
        if key not in self.numbers:
            self.numbers[key] = self._constant(torch.tensor(value, dtype=key[1]), beside)
        return self.numbers[key]

    def _constant(self, value: Tensor, like: Node) -> Node:
        """A new input with a value of its own, before all others."""
        name = f"c{len(self.inputs)}"
        with self.graph.inserting_before(next(iter(self.graph.nodes))):
            node = self.graph.placeholder(name)
        node.meta["val"] = like.meta["val"].new_empty(value.shape, dtype=value.dtype)
        self.inputs, self.values[name] = {name: node} | self.inputs, value
        return node

    def _signature(self) -> ModuleCallSignature:
        """Of the call: tuples of what is given and of what comes back."""
        given = (0,) * len(self.inputs.keys() - self.values.keys())
        back = (0,) * sum(not name.endswith(".next") for name in self.results)
        return ModuleCallSignature([], [], tree_structure((given, {})), tree_structure(back))

    def _input_specs(self) -> list[InputSpec]:
        found = []
        for name, node in self.inputs.items():
            argument = TensorArgument(node.name)
            if name in self.state:
                found.append(InputSpec(InputKind.BUFFER, argument, node.name, True))
            elif name in self.values:
                found.append(InputSpec(InputKind.CONSTANT_TENSOR, argument, node.name))
            else:
                found.append(InputSpec(InputKind.USER_INPUT, argument, None))
        return found

    def _output_specs(self) -> list[OutputSpec]:
        found = []
        for name, node in self.results.items():
            argument = TensorArgument(node.name)
            if name.endswith(".next"):
                state = self.inputs[name.removesuffix(".next")].name
                found.append(OutputSpec(OutputKind.BUFFER_MUTATION, argument, state))
            else:
                found.append(OutputSpec(OutputKind.USER_OUTPUT, argument, None))
        return found


def _alike(node: Node, other: Node) -> bool:
    one, two = node.meta["val"], other.meta["val"]
    return bool(one.shape == two.shape and one.dtype == two.dtype)


def _another(spec: TensorSpec) -> TensorSpec:
    """Of a tensor alike, with a place of its own."""
    other = copy(spec)
    other.shape = list(spec.shape)
    other.init_mem_planning_fields()
    return other
