"""The LiteRT exporter: every method's exported graph, node by node, into one file."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.compile.state import layer_of
from dfedge.errors import DfedgeError
from dfedge.exporters.formats import Progress, Source, Written
from dfedge.exporters.litert.graph import File, Graph
from dfedge.exporters.litert.lowerings import DTYPES, TABLE, Node, Ref
from dfedge.exporters.litert.options import reshape_options
from dfedge.exporters.liveness import INPUT, Flow, blocks, footprint
from dfedge.exporters.program import Method, export_functional, handed
from dfedge.footprint import Footprint
from dfedge.manifest import MemoryPlan
from dfedge.quiet import quiet
from dfedge.runtimes import runtime

PROGRAM = runtime("litert").one_file


def write(source: Source, folder: Path, progress: Progress) -> Written:
    """Write program.tflite with all methods."""
    file, memory, footprints = File(), {}, {}
    for i, method in enumerate(source.methods):
        progress(f"litert {method.name}", i, len(source.methods))
        graph = _translate(file, source, method)
        memory[method.name], footprints[method.name] = _plan(graph, source, method)
    (folder / PROGRAM).write_bytes(file.to_bytes())
    progress("litert", len(source.methods), len(source.methods))
    versions = {name: version(name) for name in ("torch", "ai-edge-litert")}
    files = dict.fromkeys(memory, PROGRAM)
    by = "dfedge's own liveness plan of the LiteRT graph"
    return Written(files, memory, by, versions, footprints)


def _translate(file: File, source: Source, method: Method) -> Graph:
    with quiet():
        functional = export_functional(source.plan, source.state, method, source.constants)
        exported = functional.program.run_decompositions()
    graph = Graph(file, method.name)
    _Walk(graph, exported, functional.inputs, functional.outputs, method)
    return graph


class _Walk:
    """From an exported program's nodes to a graph's operators; what is constant is evaluated."""

    def __init__(
        self, graph: Graph, exported: Any, names: list[str], results: list[str], method: Method
    ) -> None:
        self.g, self.method = graph, method
        self.tensors: dict[Any, int] = {}
        self.values: dict[Any, torch.Tensor] = {}  # of constant nodes
        lifted = exported.graph_signature.inputs_to_lifted_tensor_constants
        inputs = iter(names)
        for node in exported.graph.nodes:
            if node.op == "placeholder" and node.name in lifted:
                self.values[node] = exported.constants[lifted[node.name]]
            elif node.op == "placeholder":
                value = node.meta["val"]
                graph.inputs[next(inputs)] = self.tensors[node] = graph.tensor(
                    value.shape, DTYPES[value.dtype]
                )
            elif node.op == "call_function":
                self.call(node)
            elif node.op == "output":
                for name, result in zip(results, node.args[0], strict=True):
                    graph.outputs[name] = self.result(result)

    def call(self, node: Any) -> None:
        """Lower one node, or evaluate it where all that it reads is constant."""
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            return
        if all(given in self.values for given in node.all_input_nodes):
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
            self.values[node] = node.target(*args, **kwargs)
            return
        lowering = TABLE.get(node.target)
        if lowering is None:
            raise DfedgeError(
                f"litert, method {self.method.name}: no lowering of {node.target}; add one to "
                "dfedge/exporters/litert/lowerings.py, or export to another format"
            )
        args = torch.fx.node.map_arg(list(node.args), self.ref)
        lowered = Node(self.g, args, dict(node.kwargs), node.meta["val"])
        result = lowering(lowered)
        assert self.g.shapes[result] == lowered.shape, (node.format_node(), self.g.shapes[result])
        assert self.g.types[result] == np.dtype(lowered.dtype), node.format_node()
        self.tensors[node] = result

    def ref(self, node: Any) -> Any:
        """A node among another's arguments; a constant scalar as the number that it is."""
        if node in self.values:
            value = self.values[node]
            if value.dim() == 0:
                return value.item()
            return Ref(self.g.const(value.numpy(), DTYPES[value.dtype]))
        return Ref(self.tensors[node])

    def result(self, node: Any) -> int:
        """A tensor of its own for every result: none may be an input or another result."""
        tensor: int = self.ref(node).tensor
        if tensor in self.g.inputs.values() or tensor in self.g.outputs.values():
            shape = self.g.shapes[tensor]
            inputs = [tensor, self.g.const(list(shape))]
            return self.g.op(
                Op.RESHAPE, inputs, shape, self.g.types[tensor], reshape_options(shape)
            )
        return tensor


def _plan(graph: Graph, source: Source, method: Method) -> tuple[MemoryPlan, Footprint]:
    held = {index for name, index in graph.inputs.items() if name in source.state}
    layers = {
        index: layer
        for name, index in graph.inputs.items()
        if (layer := INPUT if name == "x" else layer_of(name)) is not None
    }
    flow = Flow(
        nodes=[(inputs, outputs) for _, inputs, outputs, _ in graph.nodes],
        renamed={
            outputs[0]: inputs[0] for op, inputs, outputs, _ in graph.nodes if op == Op.RESHAPE
        },
        inputs=[index for index in graph.inputs.values() if index not in held],
        outputs=list(graph.outputs.values()),
        free=held | {i for i, buffer in enumerate(graph.constant) if buffer},
        layers=layers,
        learned={
            index
            for name, index in graph.outputs.items()
            if name.endswith(".next") and layer_of(name.removesuffix(".next")) is not None
        },
        handed=handed(source.plan, method.batch),
    )
    found = footprint(flow, blocks(flow, graph.bytes_of))
    state = sum(graph.bytes_of(index) for index in held)
    return MemoryPlan(found.lower_bound_bytes, state), found
