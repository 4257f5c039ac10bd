"""Numbers of files, with what they may be: for fields that `msgspec` checks while it reads."""

from typing import Annotated

from msgspec import Meta

Int32 = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
"""What the C interpreter's table can hold."""
Natural = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Activation = Annotated[int, Meta(ge=0, le=127)]
Shift = Annotated[int, Meta(ge=0, le=24)]
"""Of an accumulator; the updates' shifts are state."""
Side = Annotated[int, Meta(ge=1, le=1 << 14)]
"""Rows or columns of a map, or of a kernel; or a stride."""
Channels = Annotated[int, Meta(ge=1, le=40_000)]
"""Or classes: an axis of a tensor."""
MOST_TAPS = 1024
"""Of a convolution's kernel: a program's graph has a node for each."""
Pad = Annotated[int, Meta(ge=0, le=1024)]
MAX_COUNT = 1 << 53
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""Of bytes, samples or steps: whole in any language's numbers."""
Fraction = Annotated[float, Meta(ge=0, le=1)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256."""
MaybeHash = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
"""A SHA-256, or nothing."""
