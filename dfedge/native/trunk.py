"""A frozen trunk as the C interpreter reads it: rows of ``dfe_frozen``, and its constants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.native.layout import Fields, Tensor, lay_out
from dfedge.native.places import place
from dfedge.trunk import (
    AnyStep,
    Concat,
    Convolve,
    Gate,
    Largest,
    Mean,
    Mix,
    Surround,
    Swish,
    Trunk,
)

Constants = Mapping[str, NDArray[Any]]
KINDS = (Convolve, Surround, Mix, Gate, Swish, Mean, Largest, Concat)
"""By the interpreter's number of the kind."""
PADS = ("top", "bottom", "left", "right")
FIELDS = (
    "kind", "first", "reads", "height", "width", "channels", "place", "rows",
    "kernel_height", "kernel_width", "stride", *PADS, "depthwise",
    "zero", "other_zero", "factor", "other", "offset", "shift", "slope", "half", "bend",
    "weight", "bias", "lift", "limit",
)  # fmt: skip
"""Of a step, in order."""


@dataclass(frozen=True)
class Frozen:
    """A trunk's part of a table.

    Attributes:
        steps: fields of each.
        reads: numbers of the values that they read, one step after the other.
        workspace: bytes that one image needs on its way.
        constants: where each lies, by name, in one block.
        values: of the constants.
    """

    steps: list[Fields]
    reads: list[int]
    workspace: int
    constants: dict[str, Tensor]
    values: Constants


NONE = Frozen([], [], 0, {}, {})


def freeze(trunk: Trunk | None, constants: Constants) -> Frozen:
    """Lay out a trunk.

    Raises:
        DfedgeError: constants that are not the trunk's.
    """
    if trunk is None:
        return NONE
    flaw = trunk.flaw(dict(constants))
    if flaw is not None:
        raise DfedgeError(f"the trunk's {flaw} are missing or of another shape; adopt again")
    values = {name: constants[name] for name in trunk.constants()}
    placed, found = lay_out(values), place(trunk)
    steps: list[Fields] = []
    reads: list[int] = []
    for i, step in enumerate(trunk.steps):
        height, width, channels = step.shape
        parts = {name: f"{i}.{name}" for name in ("weight", "bias", "lift", "limit")}
        given: Fields = {
            "kind": KINDS.index(type(step)), "first": len(reads), "reads": len(step.reads),
            "height": height, "width": width, "channels": channels, "place": found.offsets[i],
            "rows": found.rows[i],
            **_numbers(step),
            **{name: placed[at].offset for name, at in parts.items() if at in placed},
        }  # fmt: skip
        steps.append({name: given.get(name, 0) for name in FIELDS})
        reads += step.reads
    return Frozen(steps, reads, found.bytes, placed, values)


def _numbers(step: AnyStep) -> Fields:
    """What a step's kind adds."""
    match step:
        case Convolve():
            return {**_windows(step), "depthwise": int(step.depthwise), "shift": step.shift}
        case Surround():
            return {**dict(zip(PADS, step.pads, strict=True)), "zero": step.fill}
        case Mix():
            factor, other = (*step.factors, 0)[:2]
            return {"factor": factor, "other": other, **_end(step)}
        case Gate():
            zero, other = step.zeros
            return {"zero": zero, "other_zero": other, "factor": step.factor, **_end(step)}
        case Swish():
            bent = {"slope": step.slope, "half": step.half, "bend": step.bend}
            return {"zero": step.zero, **bent, "factor": step.factor, **_end(step)}
        case Mean():
            return {**_windows(step), "factor": step.factor, **_end(step)}
        case Largest():
            return _windows(step)
        case Concat():
            return {}


def _windows(step: Convolve | Mean | Largest) -> Fields:
    pads = (0, 0, 0, 0) if isinstance(step, Mean) else step.pads
    kernel = {"kernel_height": step.kernel[0], "kernel_width": step.kernel[1]}
    return {**kernel, "stride": step.stride, **dict(zip(PADS, pads, strict=True))}


def _end(step: Mix | Gate | Swish | Mean) -> Fields:
    return {"offset": step.offset, "shift": step.shift}
