"""The integer operations of a frozen trunk, one file each (`dfedge.operations.operation`).

An operation is registered by its line in `OPERATIONS`; the C interpreter's enumeration, structure
and table of kernels are made from it (`dfedge.native.layout_header`).
"""

from dfedge.operations.add import Add
from dfedge.operations.average_pool import AveragePool
from dfedge.operations.concat import Concat
from dfedge.operations.convolution import Convolution
from dfedge.operations.gather import Gather
from dfedge.operations.lookup import Lookup
from dfedge.operations.max_pool import MaxPool
from dfedge.operations.multiply import Multiply
from dfedge.operations.operation import Arithmetic, Fields, Operation, Shape
from dfedge.operations.pad import Pad
from dfedge.operations.select import Select

AnyOperation = (
    Convolution | Pad | Add | Multiply | Lookup | AveragePool | MaxPool | Concat | Select | Gather
)
OPERATIONS: tuple[type[Operation], ...] = AnyOperation.__args__
"""By the C interpreter's number of the kind."""

__all__ = [
    "OPERATIONS", "Add", "AnyOperation", "Arithmetic", "AveragePool", "Concat", "Convolution",
    "Fields", "Gather", "Lookup", "MaxPool", "Multiply", "Operation", "Pad", "Select", "Shape",
]  # fmt: skip
