"""The interpreter's calls as torch operations, with the ``.out`` forms that ExecuTorch calls.

They have shapes and no computation here: that is in ``dfedge/native/ops/executorch.cpp``, which
takes the arguments in this order.  ``state`` is changed in place; ``arena`` is a result that nobody
reads, so that a runtime's own planner places it, counts it and may use its memory again.
"""

from collections.abc import Callable

import torch
from torch import Tensor

NAMESPACE = "dfedge_native"
SCHEMAS = {
    "infer": ("Tensor program, Tensor state, Tensor x, int classes, int arena_bytes", 2),
    "train": (
        "Tensor program, Tensor(s!) state, Tensor x, Tensor y, int call, int classes, int layers, "
        "int arena_bytes", 3,
    ),
    "features": (
        "Tensor program, Tensor state, Tensor x, int seen_bytes, int latent_bytes, int arena_bytes",
        3,
    ),
    "read": ("Tensor state", 1),
    "write": ("Tensor program, Tensor(s!) state, Tensor block", 1),
}  # fmt: skip
"""Name -> arguments, and how many tensors come back; the arena last, where there is one."""


def _infer(program: Tensor, state: Tensor, x: Tensor, classes: int, arena: int) -> list[Tensor]:
    return [_new(x, torch.int32, x.shape[0], classes), _new(x, torch.uint8, arena)]


def _train(
    program: Tensor, state: Tensor, x: Tensor, y: Tensor, call: int, classes: int, layers: int,
    arena: int,
) -> list[Tensor]:  # fmt: skip
    scores = _new(x, torch.int32, x.shape[0], classes)
    return [scores, _new(x, torch.int32, layers), _new(x, torch.uint8, arena)]


def _features(
    program: Tensor, state: Tensor, x: Tensor, seen: int, latent: int, arena: int
) -> list[Tensor]:
    return [_new(x, torch.int8, seen), _new(x, torch.int8, latent), _new(x, torch.uint8, arena)]


def _read(state: Tensor) -> Tensor:
    return torch.empty_like(state)


def _write(program: Tensor, state: Tensor, block: Tensor) -> Tensor:
    return _new(block, torch.int32, 1)


def _new(like: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    return like.new_empty(shape, dtype=dtype)


SHAPES: dict[str, Callable[..., Tensor | list[Tensor]]] = {
    "infer": _infer,
    "train": _train,
    "features": _features,
    "read": _read,
    "write": _write,
}


def _declare() -> None:
    for name, (arguments, count) in SCHEMAS.items():
        letters, whole = "abc"[:count], f"{NAMESPACE}::{name}"
        outs = ", ".join(f"Tensor({letter}!) {letter}" for letter in letters)
        back = ", ".join(f"Tensor({letter}!)" for letter in letters)
        torch.library.define(whole, f"({arguments}) -> ({', '.join(['Tensor'] * count)})")
        torch.library.define(f"{whole}.out", f"({arguments}, *, {outs}) -> ({back})")
        torch.library.register_fake(whole, SHAPES[name])


_declare()
