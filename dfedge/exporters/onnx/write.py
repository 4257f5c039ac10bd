"""The ONNX exporter: a file a method."""

from importlib.metadata import version
from pathlib import Path

from dfedge.exporters.formats import ExportSource, Written
from dfedge.exporters.lowered import Format, Lowered
from dfedge.exporters.onnx.lowerings import TABLE, copied
from dfedge.exporters.onnx.model import model_of
from dfedge.progress import Progress

ONNX = Format("onnx", TABLE, copied, frozenset({"Reshape", "Identity"}))


def write(source: ExportSource, folder: Path, progress: Progress) -> Written:
    """Write METHOD.onnx for every method."""
    lowered, files, memory, footprints = Lowered(ONNX, source), {}, {}, {}
    for i, method in enumerate(source.methods):
        progress(f"onnx {method.name}", i, len(source.methods))
        graph = lowered.graph(method)
        name = f"{method.name}.onnx"
        (folder / name).write_bytes(model_of(graph, method.name).SerializeToString())
        files[method.name] = name
        memory[method.name], footprints[method.name] = lowered.memory(graph, method)
    progress("onnx", len(source.methods), len(source.methods))
    versions = {name: version(name) for name in ("torch", "onnx")}
    return Written(
        files, memory, "dfedge's own liveness plan of the ONNX graph", versions, footprints
    )
