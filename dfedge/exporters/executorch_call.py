"""One operator call as a program that ExecuTorch's planner and emitter take.

`torch.export` and `to_edge` would come to the same graph by a dozen passes that trace it anew.
"""

from collections.abc import Mapping, Sequence
from operator import getitem
from typing import Any

import torch
from executorch.exir.passes import ToOutVarPass
from executorch.exir.tensor import TensorSpec
from torch import Tensor, nn
from torch._export.verifier import TrainingIRVerifier
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


def called(
    operator: OpOverload,
    constants: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    given: Sequence[Tensor],
    numbers: Sequence[int] = (),
    results: int = 1,
) -> ExportedProgram:
    """``(*given) -> the first results of operator(*constants, *state, *given, *numbers)``.

    Args:
        operator: with an ``.out`` form; changes whatever of the state its schema marks as written.
        constants: in the program's file.
        state: one for all methods of a program; undefined until a method writes it.
        given: of the types and shapes of what a call gives.
    """
    mode, graph = FakeTensorMode(), Graph()
    values = [*constants.values(), *state.values(), *given]
    names = [*constants, *state, *(f"given_{i}" for i in range(len(given)))]
    inputs = [graph.placeholder(name) for name in names]
    call = graph.call_function(operator, (*inputs, *numbers))
    with mode:
        shapes = [torch.empty(value.shape, dtype=value.dtype) for value in values]
        found: Any = operator(*shapes, *numbers)
    for node, shape in zip(inputs, shapes, strict=True):
        _specify(node, shape)
        node.meta["spec"].const = node.name in constants
    _specify(call, found)
    outputs = [call]
    if isinstance(found, tuple | list):
        outputs = [graph.call_function(getitem, (call, i)) for i in range(results)]
        for node, shape, spec in zip(outputs, found, call.meta["spec"], strict=False):
            node.meta = {"val": shape, "spec": spec}
    marked = operator._schema.arguments[: len(inputs)]
    written = [node for node, one in zip(inputs, marked, strict=True) if one.is_write]
    end = graph.output((*written, *outputs))
    end.meta["spec"] = tuple(node.meta["spec"] for node in (*written, *outputs))
    program = ExportedProgram(
        root=nn.Module(),
        graph=graph,
        graph_signature=ExportGraphSignature(
            [_input(node, node.name in (*constants, *state)) for node in inputs],
            [_output(node, node in written) for node in (*written, *outputs)],
        ),
        state_dict={**constants, **state},
        range_constraints={},
        module_call_graph=[ModuleCallEntry("", _signature(len(given), len(outputs)))],
        verifiers=[TrainingIRVerifier],  # others know of no operator that writes into an input
    )
    module: Any = program.graph_module
    module.recompile = lambda: None  # nothing runs its Python
    ToOutVarPass()(module)
    return program


def _specify(node: Node, value: Any) -> None:
    """What the planner and the emitter need to know of a tensor, or of several."""
    many = isinstance(value, tuple | list)
    spec = tuple(map(TensorSpec.from_tensor, value)) if many else TensorSpec.from_tensor(value)
    node.meta = {"val": value, "tensor_meta": [None] * len(value) if many else None, "spec": spec}


def _input(node: Node, own: bool) -> InputSpec:
    argument = TensorArgument(node.name)
    if own:
        return InputSpec(InputKind.BUFFER, argument, node.name, True)
    return InputSpec(InputKind.USER_INPUT, argument, None)


def _output(node: Node, written: bool) -> OutputSpec:
    """Of an input that is written in place, for the planner; or what a call gives back."""
    argument = TensorArgument(node.name)
    if written:
        return OutputSpec(OutputKind.BUFFER_MUTATION, argument, node.name)
    return OutputSpec(OutputKind.USER_OUTPUT, argument, None)


def _signature(given: int, back: int) -> ModuleCallSignature:
    """Of the call: tuples of what is given and of what comes back."""
    inputs = tree_structure(((0,) * given, {}))
    return ModuleCallSignature([], [], inputs, tree_structure((0,) * back))
