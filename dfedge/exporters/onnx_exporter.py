"""torch's ONNX exporter without what it does twice."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.onnx._internal.exporter import _decomp, _fx_passes

aten = torch.ops.aten
_KNOWN = torch.export.default_decompositions()
UNTRANSLATED = {one: _KNOWN[one] for one in (aten.rsub.Scalar, aten.__and__.Scalar)}
"""Operators of a step that the exporter does not know -> what it does know."""
PASSED = {operator.getitem, aten._assert_tensor_metadata.default}
"""What the exporter reads, or leaves out, without a translation."""


@contextmanager
def decomposed_once() -> Iterator[None]:
    """Within, a program whose operators all have a translation is taken as it comes.

    The exporter would trace it anew to decompose the others: half of a translation's time, and the
    same file.
    """
    whole = _fx_passes.decompose_with_registry

    def where_needed(program: Any, registry: Any) -> Any:
        known = {*_decomp.get_onnx_implemented_overloads(registry), *PASSED}
        called = {node.target for node in program.graph.nodes if node.op == "call_function"}
        return program if called <= known else whole(program, registry)

    _fx_passes.decompose_with_registry = where_needed  # type: ignore[assignment]
    try:
        yield
    finally:
        _fx_passes.decompose_with_registry = whole
