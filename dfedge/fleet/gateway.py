"""A gateway: one client of a fleet's engine for many devices that know files alone.

Every base has a folder of its own, so that a state file, which does not say from which base it was
learned, is never taken for another's:

    FOLDER/round-0003-1a2b3c4d5e6f/base          what devices take
                                   base.state    the same for dfedge-run and chips
                                   in/NAME.delta what the device NAME learned; or
                                   in/NAME.state its state file, or a copy of its flash

Whoever carries the files puts them there in any order, at any time.  A file that is not whole yet
counts once it is; one that never is, or of a state that learned nothing, is left out, and why is
said.  What the gateway sends are deltas as each device would have sent its own, so a server's sums
are the same bytes with a gateway and without.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.device.store import StoredState, exchange
from dfedge.errors import DfedgeError, ResourceError
from dfedge.fleet.delta import read_header
from dfedge.fleet.difference import difference
from dfedge.fleet.files import SUFFIX
from dfedge.fleet.state_file import read_state_file, state_file
from dfedge.regular import read_bytes
from dfedge.state import digest

BASE, STATE, INBOX = "base", ".state", "in"
LOOK_EVERY = 1.0
"""Seconds between two looks into the inbox."""


@dataclass
class Answers:
    """What devices learned from one base.

    Attributes:
        deltas: device -> its delta.
        faults: file -> why it is left out.
    """

    deltas: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def put_out(bundle: Bundle, base: StoredState, number: int, folder: Path) -> Path:
    """Lay out a base for devices; the folder of its round.

    Args:
        number: of the round.

    Raises:
        ResourceError: it cannot be written.
    """
    home = folder / f"round-{number:04}-{digest(base.state)[:12]}"
    try:
        (home / INBOX).mkdir(parents=True, exist_ok=True)
        write_file(home / BASE, exchange.write(base.state, base.record))
        if "c" in bundle.manifest.formats:
            write_file(home / f"{BASE}{STATE}", state_file(bundle, base))
    except OSError as error:
        raise ResourceError(f"{home}: cannot be written ({error.strerror})") from error
    return home


def answers(bundle: Bundle, base: StoredState, home: Path) -> Answers:
    """What lies in the inbox of a base."""
    found = Answers()
    for path in sorted((home / INBOX).iterdir()):
        try:
            if path.suffix == SUFFIX:
                found.deltas[path.stem] = _delta(path, base)
            elif path.suffix == STATE:
                stored = read_state_file(bundle, path, base)
                found.deltas[path.stem] = difference(bundle, stored, base, path, device=path.stem)
        except DfedgeError as error:
            found.faults[path.name] = str(error)
    return found


def waited(
    bundle: Bundle,
    base: StoredState,
    home: Path,
    devices: int,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Answers:
    """The same, once so many devices have answered, or time is over.

    Raises:
        DfedgeError: nobody has.
    """
    looks = max(int(seconds / LOOK_EVERY), 0)
    found = answers(bundle, base, home)
    for _ in range(looks):
        if len(found.deltas) >= devices:
            break
        sleep(LOOK_EVERY)
        found = answers(bundle, base, home)
    if not found.deltas:
        raise DfedgeError(f"{home / INBOX}: no device answered in {seconds:.0f} s")
    return found


def _delta(path: Path, base: StoredState) -> bytes:
    try:
        raw = read_bytes(path)
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read ({error.strerror})") from error
    named = read_header(raw).base_sha256
    if named != digest(base.state):
        raise DfedgeError(f"{path} began with another base ({named[:12]}); put it in its folder")
    return raw
