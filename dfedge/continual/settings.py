"""What steers a continual run."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dfedge.data.streams import Stream, StreamSource, parse_stream
from dfedge.errors import UsageError
from dfedge.plan import MAX_PACE


class StreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a stream is learned; an interrupted run goes on where all of these are the same.

    Attributes:
        stream: ``NAME:setting=value,...`` of `dfedge.data.streams`.
        data: a data set's name or path.
        strategy: of `dfedge.continual.strategies`.
        budget: bytes of replay memory.
        bits: of a stored latent's values: 8, or 4, which holds twice as many samples.
        replayed: replayed samples for each new one.
        batch: new samples of a step.
        remember: samples of what the model knows that the replay memory starts with, from the
            stream's past, else from the bundle's golden batches.
        passes: over each experience; 1 is one pass over the stream.
        guard: samples held back to judge learning by, for strategies without a guard of their own;
            0: none.
        gate: learn only where the net's margin is violated.
        offset: added to the update shifts; one more is half the learning rate.
        pace: by how much the shifts grow at most while little is misjudged; 0 keeps rates
            constant, None the bundle's.
        wrong: fraction of labels that are deliberately wrong, to try the guard.
        seed: of the stream and of what is replayed.
    """

    stream: str
    data: str
    strategy: str = "guarded"
    budget: Annotated[int, Meta(ge=0)] = 65536
    bits: Literal[4, 8] = 8
    replayed: Annotated[int, Meta(ge=0)] = 1
    batch: Annotated[int, Meta(ge=1)] = 16
    remember: Annotated[int, Meta(ge=0)] = 0
    passes: Annotated[int, Meta(ge=1)] = 1
    guard: Annotated[int, Meta(ge=0)] = 0
    gate: bool = False
    offset: Annotated[int, Meta(ge=-8, le=8)] = 0
    pace: Annotated[int, Meta(ge=0, le=MAX_PACE)] | None = None
    wrong: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: int = 0

    def make_stream(self, source: StreamSource) -> Stream:
        """The stream.

        Raises:
            UsageError, DfedgeError: a stream, setting or data that cannot be used.
        """
        return parse_stream(self.stream).make(source, self.seed)


def override(settings: StreamSettings | None, given: dict[str, Any]) -> StreamSettings:
    """Settings with what was given (None: not) in the place of their own.

    Raises:
        UsageError: a value out of its range.
    """
    own = msgspec.structs.asdict(settings) if settings is not None else {}
    known = {name: value for name, value in given.items() if value is not None}
    try:
        return msgspec.convert(own | known, StreamSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"continual: {error}") from error
