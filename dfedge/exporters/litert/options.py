"""Operators' options as the schema wants them."""

from collections.abc import Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

Options = tuple[int, Any]


def plain_options(name: str) -> Options:
    """The default options of a kind."""
    kind: int = getattr(schema.BuiltinOptions, f"{name}Options")
    return kind, getattr(schema, f"{name}OptionsT")()


def reshape_options(shape: Sequence[int]) -> Options:
    """The new shape, once more."""
    kind, options = plain_options("Reshape")
    options.newShape = list(shape)
    return kind, options


def concat_options(axis: int) -> Options:
    """The axis along which tensors are joined."""
    kind, options = plain_options("Concatenation")
    options.axis = axis
    return kind, options


def gather_options(axis: int) -> Options:
    """The axis that places are counted along."""
    kind, options = plain_options("Gather")
    options.axis = axis
    return kind, options


def reduce_options(keep: bool) -> Options:
    """Whether reduced axes stay, with length one."""
    kind, options = plain_options("Reducer")
    options.keepDims = keep
    return kind, options
