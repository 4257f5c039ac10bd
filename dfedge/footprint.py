"""What a method needs of memory, position by position of its schedule, small enough to be shipped.

A bundle's memory.json holds one `Footprint` for each method of each format; the host makes them
(`dfedge.exporters.liveness`), any side reads them.
"""

from pathlib import Path

import msgspec

from dfedge.errors import DfedgeError


class LiveTensor(msgspec.Struct, frozen=True):
    """One tensor: the layer that it belongs to, or None."""

    name: str
    layer: int | None
    bytes: int


class Sample(msgspec.Struct, frozen=True):
    """The fullest position of a stretch of the schedule.

    Attributes:
        position: as a fraction of the schedule.
        layer: that is at work there.
        layers: layer (as text; ``-`` for none) -> bytes alive.
    """

    position: float
    layer: int | None
    layers: dict[str, int]


class Footprint(msgspec.Struct, frozen=True):
    """One method.

    Attributes:
        lower_bound_bytes: the most that is alive at once: what perfect placement would need.
        stored_activation_bytes: at the worst boundary between two layers, what earlier layers left
            for learning beside what the next one was handed.
        largest: the largest tensors at the fullest position.
        layer_bytes: the most alive while each layer is at work.
        samples: the schedule in at most 160 stretches.
    """

    lower_bound_bytes: int
    stored_activation_bytes: int
    largest: list[LiveTensor]
    layer_bytes: dict[str, int]
    samples: list[Sample]


Footprints = dict[str, dict[str, Footprint]]
"""Format -> method -> footprint: the content of memory.json."""

_DECODER = msgspec.json.Decoder(Footprints)  # at import, as in `dfedge.manifest`


def decode(raw: bytes, path: Path) -> Footprints:
    """Read memory.json.

    Raises:
        DfedgeError: no such file's content.
    """
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DfedgeError(f"{path}: no footprints: {error}; export again") from error
