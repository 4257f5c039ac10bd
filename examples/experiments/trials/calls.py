"""Power loss under dfedge-run, simulated from the calls that the real program made on its disk.

As `trials.powerloss`, for a file that is written in its place: of what was written since the
last flush every sector of 512 bytes may have reached the medium in any of its versions.  Tried are
all sectors in one version, every sector alone in another one than the rest, and every order of
arrival from the first to the last.  A new name may be there or not until its folder is flushed.
"""

import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.native import build
from dfedge.native.store import STORED, NetStore

NOTE = struct.Struct("<cQQQ")
SECTOR = 512
PAGE = 4096
SOURCE = Path(__file__).parent / "recorder.c"


@dataclass(frozen=True)
class Call:
    """``c``reated, ``w``ritten, ``t``runcated, flu``s``hed, ``r``enamed, or told to the user."""

    kind: str
    file: int
    at: int
    data: bytes


def record(command: Sequence[str], scratch: Path) -> list[Call]:
    """Run a program and note what it asks of the disk.

    Raises:
        DfedgeError: it fails, or no compiler is here.
    """
    library, notes = scratch / "recorder.so", scratch / "calls"
    flags = ["-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([build.required_compiler(), *flags], check=True, capture_output=True)
    notes.unlink(missing_ok=True)
    env = os.environ | {"LD_PRELOAD": str(library), "DFEDGE_CALLS": str(notes)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DfedgeError(f"{command[0]}: {done.stderr.strip()}")
    return list(_calls(notes.read_bytes()))


def _calls(raw: bytes) -> Iterator[Call]:
    at = 0
    while at < len(raw):
        kind, file, place, count = NOTE.unpack_from(raw, at)
        at += NOTE.size
        yield Call(kind.decode(), file, place, raw[at : at + count])
        at += count


@dataclass
class _File:
    """Of every sector the version on the medium, then those written since, oldest first."""

    sectors: dict[int, list[bytes]] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    def write(self, at: int, data: bytes) -> None:
        for number in range(at // SECTOR, -(-(at + len(data)) // SECTOR)):
            versions = self.sectors.setdefault(number, [b""])
            start, content = number * SECTOR, bytearray(versions[-1].ljust(SECTOR, b"\0"))
            low, high = max(at, start), min(at + len(data), start + SECTOR)
            content[low - start : high - start] = data[low - at : high - at]
            versions.append(bytes(content))
            self.order.append(number)

    def flush(self) -> None:
        self.sectors = {number: versions[-1:] for number, versions in self.sectors.items()}
        self.order = []

    def images(self) -> Iterator[bytes]:
        last = {number: len(versions) - 1 for number, versions in self.sectors.items()}
        most = max(last.values(), default=0)
        for version in range(most + 1):
            rest = {number: min(version, n) for number, n in last.items()}
            yield self._image(rest)
            for number, n in last.items():
                for other in range(n + 1):
                    if other != rest[number]:
                        yield self._image(rest | {number: other})
        arrived = dict.fromkeys(last, 0)
        for number in self.order:
            arrived[number] += 1
            yield self._image(arrived)

    def _image(self, chosen: dict[int, int]) -> bytes:
        end = max((n for n, v in chosen.items() if self.sectors[n][v]), default=-1)
        return b"".join(
            self.sectors[n][chosen[n]].ljust(SECTOR, b"\0") if n in chosen else bytes(SECTOR)
            for n in range(end + 1)
        )


@dataclass
class Losses:
    """What was tried and found.

    Attributes:
        calls: that were recorded.
        cases: files that were opened.
        lost: those in which neither the last save that was told of was found nor a newer one.
    """

    calls: int = 0
    cases: int = 0
    lost: int = 0


class ReadOnly:
    """What a file holds, as a medium (`dfedge.native.store.Bytes`)."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def read(self, at: int, count: int) -> bytes | None:
        """Bytes, or None beyond the end."""
        return self.raw[at : at + count] if at + count <= len(self.raw) else None

    def program(self, at: int, data: bytes) -> bool:
        """Never."""
        return False

    def erase(self, at: int, count: int) -> bool:
        """Never."""
        return False

    def flush(self) -> bool:
        """Nothing to wait for."""
        return True


def opened(raw: bytes, slot_bytes: int) -> tuple[int, int, bytes] | None:
    """Sequence number, steps and state of what a state file holds; None: no slot is whole."""
    store = NetStore(ReadOnly(raw), slot_bytes, 1)
    if store.open() != STORED:
        return None
    state = store.load()
    return None if state is None else (store.found.sequence, store.found.record.steps, state)


def lose_power(calls: list[Call], slot_bytes: int, left_out: str | None = None) -> Losses:
    """Open what may be left after every call, perhaps as if no call of one kind had been made.

    Args:
        calls: of a training that made its file, saved after every step and told of it.
    """
    states = _states(calls, slot_bytes)
    file, losses, told, named = _File(), Losses(), -1, "no"
    # The first state is saved before any step is learned: it must be there once it is learning.
    made = next(call.file for call in calls if call.kind == "c")
    for call in (call for call in calls if call.kind != left_out):
        losses.calls += 1
        if call.kind == "w" and call.file == made:
            file.write(call.at, call.data)
        elif call.kind == "t" and call.file == made:
            file = _File()
        elif call.kind == "s" and call.file == made:
            file.flush()
        elif call.kind == "s":
            named, told = "yes", max(told, 0)
        elif call.kind == "r":
            named = "perhaps"
        elif call.kind == "a" and told + 1 in states:
            told += 1
        for raw in file.images() if named != "no" else ():
            losses.cases += 1
            found = opened(raw, slot_bytes)
            good = found is not None and found[1] >= told and states.get(found[1]) == found[2]
            losses.lost += not good
        losses.lost += named != "yes" and told >= 0
    return losses


def _states(calls: list[Call], slot_bytes: int) -> dict[int, bytes]:
    """Steps -> the state that was saved after so many: what is found without any loss."""
    content, states = bytearray(2 * slot_bytes), {}
    made = next(call.file for call in calls if call.kind == "c")
    for call in calls:
        if call.kind == "w" and call.file == made:
            content[call.at : call.at + len(call.data)] = call.data
        found = opened(bytes(content), slot_bytes) if call.kind == "s" else None
        if found is not None:
            states[found[1]] = found[2]
    return states
