"""The operations of a frozen trunk as one operation of torch: a record, values, constants."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from torch import Tensor
from torch.library import custom_op

from dfedge.int8.exact import Exact
from dfedge.operations import AnyOperation

_RECORD = msgspec.json.Decoder(AnyOperation)
EXACT = Exact()


@lru_cache(maxsize=4096)
def record_of(text: str) -> AnyOperation:
    """From JSON."""
    return _RECORD.decode(text)


@lru_cache(maxsize=4096)
def text_of(record: AnyOperation) -> str:
    """As JSON."""
    return msgspec.json.encode(record).decode()


@custom_op("dfedge::operation", mutates_args=())
def operation(record: str, given: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
    """What an operation of `dfedge.operations` makes: int8 [B, H, W, C].

    Args:
        record: as JSON.
    """
    return record_of(record).evaluate(EXACT, list(given), list(constants))


@operation.register_fake
def _(record: str, given: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
    return given[0].new_empty((len(given[0]), *record_of(record).shape))
