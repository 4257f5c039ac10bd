"""The LiteRT exporter: every method's trace, node by node, into one file."""

from importlib.metadata import version
from pathlib import Path

from ai_edge_litert.schema_py_generated import BuiltinOperator as Op

from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.graph import StockGraph
from dfedge.exporters.litert.file import File
from dfedge.exporters.litert.lowerings import TABLE
from dfedge.exporters.litert.options import reshape_options
from dfedge.exporters.lowered import Format, Lowered
from dfedge.progress import Progress
from dfedge.runtimes import runtime

PROGRAM = runtime("litert").one_file


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write program.tflite with all methods."""
    lowered, file, memory, footprints = Lowered(LITERT, source), File(), {}, {}
    for i, method in enumerate(source.methods):
        progress(f"litert {method.name}", i, len(source.methods))
        graph = lowered.graph(method)
        file.add(method.name, graph)
        memory[method.name], footprints[method.name] = lowered.memory(graph, method)
    (folder / PROGRAM).write_bytes(file.to_bytes())
    progress("litert", len(source.methods), len(source.methods))
    versions = {name: version(name) for name in ("torch", "ai-edge-litert")}
    files = dict.fromkeys(memory, PROGRAM)
    by = "dfedge's own liveness plan of the LiteRT graph"
    return Written(files, memory, by, versions, footprints)


def _copied(g: StockGraph, tensor: int) -> int:
    shape = g.shapes[tensor]
    inputs = [tensor, g.const(list(shape))]
    return g.op(Op.RESHAPE, inputs, shape, g.types[tensor], reshape_options(shape))


LITERT = Format("litert", TABLE, _copied, frozenset({Op.RESHAPE}))
