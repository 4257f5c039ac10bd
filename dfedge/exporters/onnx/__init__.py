"""ONNX: a functional program a method, ``(*state, x[, y]) -> (*changed state, scores[, active])``.

The traced graph is translated node by node into ONNX's own operators.
Inputs carry the state's names; the new value of a tensor NAME leaves as ``NAME.next``.
"""

from dfedge.exporters.onnx.model import IR_VERSION, OPSET
from dfedge.exporters.onnx.write import write

__all__ = ["IR_VERSION", "OPSET", "write"]
