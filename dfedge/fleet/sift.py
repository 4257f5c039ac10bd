"""Which of the deltas that came are merged; each of the others is named with its reason.

A delta comes from outside.  It is checked whole before anything of it is used: its bytes, its
signature where keys are given, its base, its tensors, and that base and difference together are
values that a training step can leave.  What is taken does not depend on the order of arrival.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.store.transfer import check_values
from dfedge.errors import DfedgeError
from dfedge.fleet.base import Base
from dfedge.fleet.delta import MOST_HEADER_BYTES, Delta, DeltaHeader, decode
from dfedge.fleet.difference import STEERING
from dfedge.fleet.parts import moved_names
from dfedge.fleet.signed import signer
from dfedge.names import class_flaw, spelled

MOST_DELTAS = 1 << 16
"""In one merge."""
MOST_SAMPLES = 1 << 24
"""Presentations that one delta may claim: the sums of all deltas stay below 2^63."""
REFUSED, ASIDE, DOUBLE = "refused", "put aside", "counted once"
WEIGHTS, ANCHORS = (-128, 127), (0, 127)
"""What they lie in."""


@dataclass(frozen=True)
class Passed:
    """A delta that is not merged.

    Attributes:
        kind: `REFUSED`; `ASIDE`, it is late; or `DOUBLE`, another of its device counts.
    """

    name: str
    kind: str
    why: str


@dataclass(frozen=True)
class AcceptedDelta:
    """A delta that is merged; it stays compressed until it is summed.

    Attributes:
        late: its base is an earlier one.
        rows: classes beyond the bundle's, in the order of the device's rows.
    """

    name: str
    raw: bytes
    header: DeltaHeader
    late: bool
    identity: str
    order: tuple[int, str]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the device's rows beyond the bundle's."""
        return (*self.header.known, *self.header.new)

    def delta(self) -> Delta:
        """The differences."""
        return decode(self.raw)


class LateError(DfedgeError):
    """A delta whose base is too old."""


def sift(
    bundle: Bundle,
    base: Base,
    files: Iterable[tuple[str, bytes]],
    late: int = 0,
    keys: list[Path] | None = None,
    named: bool = False,
) -> tuple[list[AcceptedDelta], list[Passed]]:
    """Deltas to merge, in the order of their digests; and the others, by name.

    Args:
        files: name and bytes of each.
        late: how many rounds old a delta's base may be.
        keys: public keys; a delta must be signed by one of them, and the key is the device. None:
            a device is whatever name it gives.
        named: refuse a delta that names no device.
    """
    found: dict[str, AcceptedDelta] = {}
    passed: list[Passed] = []
    for name, raw in files:
        try:
            one = _checked(bundle, base, name, raw, late, keys, named)
        except LateError as error:
            passed.append(Passed(name, ASIDE, str(error)))
            continue
        except DfedgeError as error:
            passed.append(Passed(name, REFUSED, str(error)))
            continue
        other = found.get(one.identity)
        if other is not None:
            less = min(one, other, key=lambda each: (each.order, each.name))
            passed.append(Passed(less.name, DOUBLE, "another delta of its device is merged"))
            one = max(one, other, key=lambda each: (each.order, each.name))
        elif len(found) == MOST_DELTAS:
            raise DfedgeError(f"more than {MOST_DELTAS:,} deltas; merge them in several rounds")
        found[one.identity] = one
    taken = sorted(found.values(), key=lambda one: one.order[1])
    return taken, sorted(passed, key=lambda one: one.name)


def counted(passed: Iterable[Passed]) -> dict[str, int]:
    """How many of each kind."""
    return dict(Counter(one.kind for one in passed))


def _checked(
    bundle: Bundle,
    base: Base,
    name: str,
    raw: bytes,
    late: int,
    keys: list[Path] | None,
    named: bool,
) -> AcceptedDelta:
    values = sum(base.state[one].size for one in moved_names(base.state))
    delta = decode(raw, MOST_HEADER_BYTES + 2 * values + 4)
    header, key = delta.header, None
    if keys is not None:
        key = signer(raw, keys)
        if key is None:
            raise DfedgeError("not signed by a device that is known")
    if named and key is None and not header.device:
        raise DfedgeError("names no device, so it might count twice: dfedge fleet delta --device")
    if header.bundle_sha256 != bundle.sha256:
        raise DfedgeError(f"of another bundle ({header.bundle_sha256[:12]})")
    if header.makes:
        raise DfedgeError("a step from one base to the next, which no device learned")
    if header.samples > MOST_SAMPLES:
        raise DfedgeError(f"{header.samples:,} presentations; allowed: {MOST_SAMPLES:,}")
    if header.steps > header.samples:
        raise DfedgeError(f"{header.steps:,} steps of {header.samples:,} presentations")
    is_late = header.base_sha256 != base.sha256
    if is_late:
        _check_late(header, base, late)
    elif header.known != base.record.added:
        raise DfedgeError("its classes are not those of its base")
    _check_classes(header, bundle)
    for part in _moves_within(delta, base, is_late, len(bundle.manifest.classes)):
        raise DfedgeError(part)
    _check_steering(header, base)
    identity = str(key or header.device or delta.sha256)
    return AcceptedDelta(name, raw, header, is_late, identity, (header.samples, delta.sha256))


def _check_late(header: DeltaHeader, base: Base, late: int) -> None:
    if header.base_sha256 not in base.earlier:
        raise DfedgeError(f"its base {header.base_sha256[:12]} is none of this fleet's")
    rounds = len(base.earlier) - base.earlier.index(header.base_sha256)
    if rounds > late:
        raise LateError(f"late: its base is {rounds} round(s) old; merge it with --late {rounds}")


def _check_classes(header: DeltaHeader, bundle: Bundle) -> None:
    names = (*header.known, *header.new)
    flaw = class_flaw([*bundle.manifest.classes, *names]) if names else None
    if flaw is not None or any(spelled(name) != name for name in names):
        raise DfedgeError(f"its classes cannot be: {flaw or 'a name has another spelling'}")
    spare = bundle.manifest.plan.classes - len(bundle.manifest.classes)
    if len(names) > spare:
        raise DfedgeError(f"{len(names)} classes beyond the bundle's for {spare} spare rows")
    anchors = [name for name in bundle.manifest.state_names if name.endswith(".anchors")]
    if header.new and not set(anchors) <= {part.name for part in header.parts}:
        raise DfedgeError("new classes without all of their anchors")


def _moves_within(delta: Delta, base: Base, late: bool, own: int) -> Iterator[str]:
    """What is wrong with its differences; of a late one the base is not there to add them to."""
    allowed, known = set(moved_names(base.state)), own + len(delta.header.known)
    for name, move in delta.moves.items():
        if name not in allowed:
            yield f"part '{name[:80]}' is none that learning moves"
            return
        whole = base.state[name]
        if move.shape != whole.shape:
            yield f"part '{name}' is {move.shape}, the base's is {whole.shape}"
            return
        anchors = name.endswith(".anchors")
        rows, end = len(whole), known + len(delta.header.new)
        if not late:
            begun = whole.astype(np.int16)
            if anchors:
                begun[known:rows] = 0
            now, (least, most) = begun + move, ANCHORS if anchors else WEIGHTS
            if now.size and (now.min() < least or now.max() > most):
                yield f"part '{name}' would reach from {now.min()} to {now.max()}"
        if anchors and move[end:].any():
            yield f"part '{name}' has rows of no class"


def _check_steering(header: DeltaHeader, base: Base) -> None:
    for name, values in header.steering.items():
        if name not in STEERING or name not in base.state:
            raise DfedgeError(f"'{name[:80]}' is not a value of a state")
        if len(values) != base.state[name].size:
            raise DfedgeError(f"'{name}' has {len(values)} values, not {base.state[name].size}")
        check_values({name: np.array(values, np.int64)}, Path("its steering"))
