"""The state folder: what was learned on this device, beside a bundle that never changes.

    state.safetensors   the learned state; its metadata (JSON) is a `Record`

One file, replaced whole, so that tensors and record cannot disagree after a crash.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from dfedge import state
from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError

FILE = "state.safetensors"


class Job(msgspec.Struct, frozen=True):
    """A fine-tuning run and how far it came: repeated after a crash, the same job goes on."""

    data: str
    split: str
    shift: str
    seed: int
    batch: int
    cooling: bool
    samples: int
    done: int = 0
    start: int = 0


class Record(msgspec.Struct, frozen=True):
    """What a state folder says of itself.

    Attributes:
        bundle_sha256: of the bundle that the state belongs to.
        samples: presentations learned so far, over all jobs and single calls.
        job: the last fine-tuning run.
    """

    bundle_sha256: str
    samples: int = 0
    job: Job | None = None


@dataclass(frozen=True)
class Stored:
    """A state with its record."""

    state: dict[str, NDArray[Any]]
    record: Record


def default_folder(bundle: Bundle) -> Path:
    """Beside the bundle: its name with ``.state``."""
    folder = bundle.folder.resolve()
    return folder.with_name(folder.name + ".state")


def load(folder: Path, bundle: Bundle) -> Stored | None:
    """What the folder holds for this bundle; None where it holds nothing yet.

    Raises:
        DfedgeError: a state of another bundle, or a damaged one.
    """
    path = folder / FILE
    if folder.exists() and not folder.is_dir():
        raise DfedgeError(f"{folder} is no state folder; choose another --state")
    if not path.exists():
        return None
    try:
        with safe_open(str(path), "np") as file:
            meta = file.metadata() or {}
        record = msgspec.json.decode(meta["dfedge"], type=Record)
    except (OSError, SafetensorError, KeyError, msgspec.DecodeError) as error:
        raise DfedgeError(
            f"{path}: cannot be read as a state ({error}); delete it to start from the bundle's"
        ) from error
    if record.bundle_sha256 != bundle.sha256:
        raise DfedgeError(
            f"{folder} belongs to another bundle ({record.bundle_sha256[:12]}, this one is "
            f"{bundle.sha256[:12]}); choose another --state, or --initial to ignore it"
        )
    learned = state.read(path)
    state.check_same_layout(learned, bundle.initial_state(), path)
    return Stored(learned, record)


def save(folder: Path, stored: Stored) -> None:
    """Replace what the folder holds."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"dfedge": msgspec.json.encode(stored.record).decode()}
    write_file(folder / FILE, state.to_bytes(stored.state, meta))
