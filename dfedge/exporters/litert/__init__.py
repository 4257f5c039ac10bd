"""LiteRT: one .tflite, a signature a method, ``(*state, x[, y]) -> (*changed state, *results)``.

The exported graph is translated node by node into TensorFlow Lite's builtin operators and written
with the schema that the runtime itself ships; no converter is in between, whose rewrites would have
to be undone.  Only operators and types that ``tflite-runtime`` 2.14 has as well are used.
"""

from dfedge.exporters.litert.write import write

__all__ = ["write"]
