"""An exported torch graph's operands, and its operations that only move numbers."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node as Fx

from dfedge.adoption.graph import Shape
from dfedge.adoption.refusal import Site, line_of
from dfedge.adoption.translation import Translation
from dfedge.adoption.values import Pads
from dfedge.errors import foreign

aten = torch.ops.aten

MOVING = (
    "transpose", "permute", "t.default", "slice.", "select.", "narrow", "split", "chunk", "unbind",
    "channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    "index_select", "index.", "flip", "roll", "expand.", "movedim", "swapaxes",
    "repeat.", "repeat_interleave.self_int",
    *(REAL := ("upsample_nearest", "_upsample_nearest_exact", "reflection_pad", "replication_pad",
               "pad.")),
)  # fmt: skip
"""Operations that only move numbers, repeat them, or leave some of them out; `REAL` are of real
numbers alone."""


class TorchGraph(Translation[Fx]):
    """One translation."""

    def __init__(self, program: ExportedProgram, sample: Shape | None = None) -> None:
        super().__init__()
        self.sample = sample
        self.program = program
        self.batch = 1
        self.parts: dict[Fx, list[Tensor]] = {}

    def known(self, key: Fx) -> bool:
        """See `Values.known`; several results as well."""
        return key in self.parts or super().known(key)

    def part(self, of: Fx, number: Any) -> None:
        """One of several results."""
        if of in self.parts:
            self.moved(self._moved_by(of), self.parts[of][number], self.batch)
            return
        if number != 0:
            raise self.refusal("a second result", "operations with one result")
        self.same(of)

    def _moved_by(self, fx: Fx) -> Fx:
        """What an operation that moves numbers takes."""
        given = [one for one in fx.all_input_nodes if one in self.values]
        if len(given) != 1:
            raise self.refusal(f"{self.site.what} with {len(given)} maps", "one")
        return given[0]

    def moving(self, fx: Fx) -> None:
        """An operation that only moves numbers: torch says where each comes to lie."""
        given, called = self._moved_by(fx), fx.target

        def operand(one: Fx) -> Any:
            if one is given:
                places = self.places(given, self.batch)
                return places.double() if self.site.what.startswith(REAL) else places
            return self.constants[one] if one in self.constants else number(one.meta["val"])

        said = fx.meta["val"]
        for one in [said] if isinstance(said, Tensor) else said:
            self.check_size(math.prod(map(number, one.shape)))
        with foreign(f"operation '{self.site.what}' at node '{self.site.node}'", "one of torch"):
            args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), operand)
            made = called(*args, **kwargs)  # type: ignore[operator]
        if isinstance(made, Tensor):
            self.moved(given, made.to(torch.int32), self.batch)
        else:
            self.parts[fx] = list(made)

    def expanded(self, fx: Fx) -> None:
        """expand_as: repeated to the form of another value."""
        args: Any = fx.args
        given, like = args
        places = self.places(given, self.batch)
        self.moved(given, places.expand(len(places), *self.dims(like)), self.batch)

    def optional(self, given: Any) -> Tensor | None:
        """An operand that is a constant, where there is one."""
        return None if given is None else self.weights(given)


def pair(value: Any) -> tuple[int, int]:
    """Down and across, of one number or two."""
    both = [value] * 2 if isinstance(value, int) else list(value) * (2 // len(value))
    return int(both[0]), int(both[1])


def padding_of(value: Any, weight: Tensor, dilation: tuple[int, int]) -> Pads:
    """Above, below, left, right, of what torch takes."""
    if value == "valid":
        return 0, 0, 0, 0
    if value == "same":
        rows, columns = (
            (side - 1) * apart for side, apart in zip(weight.shape[2:], dilation, strict=True)
        )
        return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    top, left = pair(value)
    return top, top, left, left


def number(side: Any) -> int:
    """A size, or what it was when the net was exported."""
    return side if isinstance(side, int) else int(side.node.hint)


def channels_last(image: Fx) -> bool:
    """Whether samples come as [B, H, W, C] or [B, T, C]: nothing is done before their channels are
    in front.
    """
    return len(image.users) > 0 and all(_to_front(fx) for fx in image.users)


def _to_front(fx: Fx) -> bool:
    args: Any = fx.args
    if fx.target is aten.permute.default:
        return args[1] in ([0, 3, 1, 2], [0, 2, 1])
    if fx.target is not aten.transpose.int:
        return False
    rank = len(fx.meta["val"].shape)
    return rank == 3 and {args[1] % rank, args[2] % rank} == {1, 2}


def site_of(fx: Fx) -> Site:
    """Where an operation stands."""
    stack = fx.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    line = line_of(fx.meta.get("stack_trace") or "")
    return Site(str(fx.target).removeprefix("aten."), fx.name, paths[-1] if paths else "", line)
