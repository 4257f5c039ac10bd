"""``continual.safetensors`` in the state folder: a continual run as it was left, in one file.

Its tensors are the state, the strategy's memory, the guard, the samples that wait for a step, and
whether each sample so far was recognised before it was learned;
its metadata (JSON) is a `Progress`.  Replaced whole, so that they cannot disagree after a crash.
"""

from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from dfedge import state
from dfedge.atomic import write_file
from dfedge.continual.settings import StreamSettings
from dfedge.device.store import StateRecord
from dfedge.disk import DISK
from dfedge.errors import foreign
from dfedge.limits import Count
from dfedge.regular import read_bytes

FILE = "continual.safetensors"


class Probe(msgspec.Struct, frozen=True):
    """Accuracy on a few test samples of every experience, after so many samples of the stream."""

    samples: Count
    accuracy: list[float]


class StreamProgress(msgspec.Struct):
    """How far a run is, and what it saw.

    Attributes:
        bundle_sha256, settings, stream_sha256: what is run; another one does not go on from here.
        record: of the state when this was written.
        experience, position: the next sample.
        samples: of the stream, so far.
        steps, skipped: batches that were learned, and those of which the gate left nothing.
        matrix: accuracy after each experience on every experience; the first row is before all.
        known: the same for what the model knew before.
        probes: the matrix's rows in between, on fewer samples.
        seconds: spent on learning.
        before: presentations of the state that was saved before: a crash may leave it.
        finished: whether the stream was learned to its end.
    """

    bundle_sha256: str
    settings: StreamSettings
    stream_sha256: str
    record: StateRecord
    experience: Count = 0
    position: Count = 0
    samples: Count = 0
    steps: Count = 0
    skipped: Count = 0
    matrix: list[list[float]] = []
    known: list[float] = []
    probes: list[Probe] = []
    seconds: float = 0.0
    before: Count = 0
    finished: bool = False


_PROGRESS = msgspec.json.Decoder(StreamProgress)  # at import, as in `dfedge.manifest`


def save(folder: Path, progress: StreamProgress, tensors: dict[str, NDArray[Any]]) -> None:
    """Replace what the folder holds."""
    DISK.make_folder(folder)
    meta = {"dfedge": msgspec.json.encode(progress).decode()}
    write_file(folder / FILE, state.to_bytes(tensors, meta))


def unfinished(folder: Path) -> bool:
    """Whether a run was stopped there before its end."""
    path = folder / FILE
    return path.exists() and not _progress(path)[0].finished


def load(folder: Path) -> tuple[StreamProgress, dict[str, NDArray[Any]]] | None:
    """What the folder holds; None where it holds nothing.

    Raises:
        DfedgeError: a damaged file.
    """
    path = folder / FILE
    if not path.exists():
        return None
    progress, raw = _progress(path)
    return progress, state.parse(raw, path)


def _progress(path: Path) -> tuple[StreamProgress, bytes]:
    with foreign(path, "a continual run", "delete it to start anew"):
        raw = read_bytes(path)
        return _PROGRESS.decode(state.metadata(raw)), raw
