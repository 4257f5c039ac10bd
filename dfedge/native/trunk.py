"""A frozen trunk as the C interpreter reads it: rows of ``dfe_operation``, and its constants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.native.layout import Fields, PlacedTensor, lay_out
from dfedge.native.places import place
from dfedge.operations import OPERATIONS
from dfedge.operations.windows import PADS
from dfedge.trunk import Trunk

Constants = Mapping[str, NDArray[Any]]
FIELDS = (
    "kind", "first", "reads", "height", "width", "channels", "place", "rows",
    "kernel_height", "kernel_width", "stride", "across", *PADS, "groups",
    "zero", "other_zero", "factor", "other", "offset", "shift",
    "weight", "bias", "lift", "limit", "table", "order",
)  # fmt: skip
"""Of an operation, in order; what its kind has no use for is zero."""


@dataclass(frozen=True)
class Frozen:
    """A trunk's part of a table.

    Attributes:
        operations: fields of each.
        reads: numbers of the values that they read, one operation after the other.
        workspace: bytes that one image needs on its way.
        constants: where each lies, by name, in one block.
        values: of the constants.
    """

    operations: list[Fields]
    reads: list[int]
    workspace: int
    constants: dict[str, PlacedTensor]
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
    operations: list[Fields] = []
    reads: list[int] = []
    for i, operation in enumerate(trunk.operations):
        height, width, channels = operation.shape
        given: Fields = {
            "kind": OPERATIONS.index(type(operation)),
            "first": len(reads), "reads": len(operation.reads),
            "height": height, "width": width, "channels": channels,
            "place": found.offsets[i], "rows": found.rows[i],
            **operation.fields(),
        }  # fmt: skip
        given |= {
            name.partition(".")[2]: tensor.offset
            for name, tensor in placed.items()
            if name.startswith(f"{i}.")
        }
        operations.append({name: given.pop(name, 0) for name in FIELDS})
        assert not given, f"no field of dfe_operation: {', '.join(given)}"
        reads += operation.reads
    return Frozen(operations, reads, found.bytes, placed, values)
