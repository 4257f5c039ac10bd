"""Operators' options as the schema wants them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ai_edge_litert import schema_py_generated as schema


class Options(NamedTuple):
    """Of an operator.

    Attributes:
        kind: ``schema.BuiltinOptions.NAME``.
        fields: its object.
    """

    kind: int
    fields: Any

    def __repr__(self) -> str:
        return f"{self.kind} {sorted(vars(self.fields).items())}"


def plain_options(name: str) -> Options:
    """The default options of a kind."""
    kind: int = getattr(schema.BuiltinOptions, f"{name}Options")
    return Options(kind, getattr(schema, f"{name}OptionsT")())


def reshape_options(shape: Sequence[int]) -> Options:
    """The new shape, once more."""
    options = plain_options("Reshape")
    options.fields.newShape = list(shape)
    return options


def concat_options(axis: int) -> Options:
    """The axis along which tensors are joined."""
    options = plain_options("Concatenation")
    options.fields.axis = axis
    return options


def gather_options(axis: int) -> Options:
    """The axis that places are counted along."""
    options = plain_options("Gather")
    options.fields.axis = axis
    return options


def reduce_options(keep: bool) -> Options:
    """Whether reduced axes stay, with length one."""
    options = plain_options("Reducer")
    options.fields.keepDims = keep
    return options
