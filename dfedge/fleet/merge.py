"""The next base: the base, moved by what many devices learned.

weights, anchors      a rule's move (`dfedge.fleet.rules`), added to the fine values; a device
                      weighs as many samples as it learned, at most `HEAVIEST` times the lower
                      median of all, since nobody can check what it claims
error, phase, rates   the lower median of the devices' values
classes               those that devices added, matched by name: the base's rows stay, then come
                      the names that most devices know, then by name, as far as there are rows;
                      a new row is the rule's of the devices that have it
everything else       the base's

With noise (`dfedge.fleet.privacy`) only weights and anchors move, and no class is added.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.store import StateRecord
from dfedge.errors import DfedgeError, chosen
from dfedge.fleet.base import REMEMBERED, Base
from dfedge.fleet.delta import Delta
from dfedge.fleet.discrete_gaussian import Below
from dfedge.fleet.parts import moved_names
from dfedge.fleet.privacy import Privacy
from dfedge.fleet.rules import RULES, Ints, Voice, middle
from dfedge.fleet.sift import AcceptedDelta, Passed, sift
from dfedge.limits import MAX_COUNT

HEAVIEST = 4
"""Of ten devices one then has at most 4 of 13 parts in the mean."""


@dataclass(frozen=True)
class Merged:
    """What a merge made.

    Attributes:
        base: the next one.
        taken: the deltas that were merged.
        passed: the others.
        new: classes that came with them.
        left_out: new classes for which there was no row, or that noise would have to hide.
        capped: names of deltas that weigh less than the samples that they claim.
    """

    base: Base
    taken: list[AcceptedDelta]
    passed: list[Passed]
    new: tuple[str, ...]
    left_out: tuple[str, ...]
    capped: tuple[str, ...]


def merge(
    bundle: Bundle,
    base: Base,
    files: Iterable[tuple[str, bytes]],
    rule: str = "mean",
    late: int = 0,
    keys: list[Path] | None = None,
    privacy: Privacy | None = None,
    below: Below = secrets.randbelow,
) -> Merged:
    """Make the next base; nothing is written.

    Args:
        files: name and bytes of each delta, in any order.
        rule: a name of `RULES`.
        late, keys: as `dfedge.fleet.sift.sift`.
        privacy: None: no noise.
        below: where noise comes from; anything but the default is for tests and simulations.

    Raises:
        UsageError: no such rule, or one that cannot be combined with noise.
        DfedgeError: no delta that can be merged, or noise in some rounds alone.
    """
    by_rule = RULES[chosen("rule", rule, list(RULES))]
    if privacy:
        privacy.check(rule, late)
        by_rule = privacy.rule(below)
    _check_spent(bundle, base, privacy)
    taken, passed = sift(bundle, base, files, late, keys, named=privacy is not None)
    if not taken:
        first = f"; the first: {passed[0].name}: {passed[0].why}" if passed else ""
        raise DfedgeError(f"none of {len(passed)} deltas can be merged{first}")
    first_row = len(bundle.manifest.classes)
    spare = bundle.manifest.plan.classes - first_row - len(base.record.added)
    spare = 0 if privacy else spare
    names = _new_classes(base, taken)
    added = (*base.record.added, *names[:spare])
    rows = {name: first_row + i for i, name in enumerate(added)}

    weights = _weights([one.header.samples for one in taken])

    def voices() -> Iterator[Voice]:
        for one, weight in zip(taken, weights, strict=True):
            yield _voice(one.delta(), weight, base, rows, first_row)

    shapes = {name: base.state[name].shape for name in moved_names(base.state)}
    moved = by_rule(voices, shapes, base.bits)
    found = _moved(base, moved, first_row + len(base.record.added))
    for name in {n for one in taken for n in one.header.steering} if not privacy else ():
        said = [h.steering[name] for h in (one.header for one in taken) if name in h.steering]
        old = base.state[name]
        found.state[name] = np.array(middle(said), old.dtype).reshape(old.shape)
    found.state["live"] = base.state["live"].copy()
    for name in names[:spare]:
        found.state["live"][rows[name]] = 1
    earlier = (*base.earlier, base.sha256)[-REMEMBERED:]
    record = _record(base.record, taken, sum(weights), added)
    if privacy:
        record = _counted(base.record, len(taken))
    spent = privacy.after(base.spent) if privacy else ()
    made = Base(found.state, record, found.fraction, base.bits, base.round + 1, earlier, spent)
    capped = tuple(sorted(one.name for one, weight in zip(taken, weights, strict=True)
                          if weight < one.header.samples and not privacy))  # fmt: skip
    return Merged(made, taken, passed, names[:spare], names[spare:], capped)


def _check_spent(bundle: Bundle, base: Base, privacy: Privacy | None) -> None:
    """All rounds of a base have noise, or none has; else there is nothing to promise."""
    if not privacy and base.spent:
        raise DfedgeError(
            f"all {base.round} rounds of this base were merged with noise; one without it would "
            "undo what they promise: give --noise-multiplier and --clip-norm"
        )
    if privacy and sum(one.rounds for one in base.spent) != base.round:
        raise DfedgeError(
            "earlier rounds of this base were merged without noise, so nothing can be promised; "
            "begin with the bundle's own first state"
        )
    if privacy and not base.round and base.sha256 != bundle.manifest.state_sha256:
        raise DfedgeError(
            "the rounds of this base cannot be counted: its file .fraction is gone; bring it "
            "back, or begin with the bundle's own first state"
        )


def _weights(samples: list[int]) -> list[int]:
    most = HEAVIEST * middle([[count] for count in samples])[0]
    return [min(count, most) for count in samples]


def _new_classes(base: Base, taken: list[AcceptedDelta]) -> tuple[str, ...]:
    """Names that the base does not have: those that most devices know first, then by name."""
    count = Counter(name for one in taken for name in one.header.new)
    new = [name for name in count if name not in base.record.added]
    return tuple(sorted(new, key=lambda name: (-count[name], name)))


def _voice(delta: Delta, weight: int, base: Base, rows: dict[str, int], first: int) -> Voice:
    """A device's differences, its rows brought to the merged state's."""
    header, classes = delta.header, len(base.state["live"])
    names = (*header.known, *header.new)
    speaks = np.zeros(classes, bool)
    speaks[:first] = True
    speaks[[rows[name] for name in names if name in rows]] = True
    moves = dict(delta.moves)
    for part, move in delta.moves.items():
        if not part.endswith(".anchors"):
            continue
        placed = np.zeros_like(move)
        placed[:first] = move[:first]
        for i, name in enumerate(names):
            if name not in rows:
                continue
            own = move[first + i]
            if name in header.new and name in base.record.added:  # late: the base has met it since
                own = own - base.state[part][rows[name]].astype(np.int16)
            placed[rows[name]] = own
        moves[part] = placed
    return Voice(weight, moves, speaks)


def _moved(base: Base, moved: dict[str, Ints], known: int) -> Base:
    """The base with its values moved; rows of anchors from ``known`` on begin at zero."""
    state, fraction = dict(base.state), {}
    for name, move in moved.items():
        fine = base.fine(name)
        anchors = name.endswith(".anchors")
        if anchors:
            begins = np.arange(len(fine)) >= known
            fine[begins & move.any(1)] = 0
        least = 0 if anchors else -127
        fine = (fine + move).clip(least << base.bits, 127 << base.bits)
        whole = (fine + (1 << base.bits >> 1)) >> base.bits
        state[name] = whole.astype(np.int8)
        fraction[name] = (fine - (whole << base.bits)).astype(np.int8)
    return Base(state, base.record, fraction, base.bits)


def _counted(record: StateRecord, deltas: int) -> StateRecord:
    """A record that says nothing of what devices did."""
    samples, steps = min(record.samples + deltas, MAX_COUNT), min(record.steps + 1, MAX_COUNT)
    return msgspec.structs.replace(record, samples=samples, steps=steps, job=None, fleet_base="")


def _record(
    record: StateRecord, taken: list[AcceptedDelta], learned: int, added: tuple[str, ...]
) -> StateRecord:
    samples = record.samples + learned
    steps = record.steps + max(one.header.steps for one in taken)
    return msgspec.structs.replace(
        record,
        samples=min(samples, MAX_COUNT),
        steps=min(steps, MAX_COUNT),
        added=added,
        job=None,
        guarded=any(one.header.guarded for one in taken),
        fleet_base="",
    )
