"""What a device learned since the base, as a delta; and one base to the next, as a step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.store import StoredState
from dfedge.device.store.store import check_fits
from dfedge.device.store.transfer import check_values
from dfedge.errors import DfedgeError
from dfedge.fleet.delta import DeltaHeader, Moves, TensorPart, decode, encode
from dfedge.fleet.parts import ALL, moved_names, selected
from dfedge.limits import MAX_COUNT
from dfedge.state import State, digest

STEERING = ("error", "phase", "weight_shift", "anchor_shift", "usual_error", "pace")
"""Tensors of which the fleet takes medians, where a state has them."""


@dataclass(frozen=True)
class Shared:
    """What travels, as `dfedge.fleet.parts.selected` reads it."""

    share: Sequence[str] = (ALL,)
    personal: Sequence[str] = ()

    def names(self, state: State) -> list[str]:
        """Tensors, in name order.

        Raises:
            UsageError: a word that means none, or nothing is left.
        """
        return selected(state, self.share, self.personal)


EVERYTHING = Shared()


def difference(
    bundle: Bundle,
    stored: StoredState,
    base: StoredState,
    where: Path,
    shared: Shared = EVERYTHING,
    device: str = "",
) -> bytes:
    """A delta's bytes, not signed.

    Classes that were added since the base travel where all anchors do; else they stay at home.

    Args:
        stored: the device's state, and ``where`` it lies, for errors.
        device: its owner's name for it, up to 255 letters.

    Raises:
        UsageError: a part that is none.
        DfedgeError: nothing was learned since, or the state did not begin with this base.
    """
    base_sha256 = digest(base.state)
    began = stored.record.fleet_base or bundle.manifest.state_sha256
    if began != base_sha256:
        raise DfedgeError(
            f"{where} began with another base ({began[:12]}, this one is {base_sha256[:12]}); give "
            "the base that it took last, or take this one first: dfedge fleet take"
        )
    if stored.record.samples <= base.record.samples:
        raise DfedgeError(f"{where}: nothing was learned since the base; finetune first")
    return _encoded(bundle, stored, base, shared.names(base.state), device=device)


def step(bundle: Bundle, now: StoredState, base: StoredState) -> bytes:
    """The step from a base to the next, for devices that have the first.

    Only tensors that differ are in it.
    """
    names = [name for name in moved_names(base.state)
             if not np.array_equal(now.state[name], base.state[name])]  # fmt: skip
    return _encoded(bundle, now, base, names, makes=digest(now.state))


def stepped(bundle: Bundle, base: StoredState, raw: bytes, where: Path) -> StoredState:
    """The next base, from the base and a step.

    Raises:
        DfedgeError: no step, or none from this base.
    """
    delta = decode(raw)
    header, first = delta.header, len(bundle.manifest.classes)
    if not header.makes:
        raise DfedgeError(f"{where} is what a device learned; take what dfedge fleet merge wrote")
    if header.base_sha256 != digest(base.state) or header.known != base.record.added:
        raise DfedgeError(f"{where} begins with another base ({header.base_sha256[:12]})")
    state = dict(base.state)
    end = first + len(header.known)
    for name, move in delta.moves.items():
        if name not in state or state[name].shape != move.shape:
            raise DfedgeError(f"{where}: part '{name[:80]}' is not the base's")
        begun = state[name].astype(np.int16)
        if name.endswith(".anchors"):
            begun[end : end + len(header.new)] = 0
        state[name] = (begun + move).astype(np.int8)
    for name, values in header.steering.items():
        if name not in STEERING or name not in state or state[name].size != len(values):
            raise DfedgeError(f"{where}: '{name[:80]}' is not the base's")
        state[name] = np.array(values).astype(state[name].dtype).reshape(state[name].shape)
    state["live"] = state["live"].copy()
    state["live"][end : end + len(header.new)] = 1
    if digest(state) != header.makes:
        raise DfedgeError(f"{where}: it does not make the base that it names; fetch it again")
    check_values(state, where)
    record = msgspec.structs.replace(
        base.record,
        samples=base.record.samples + header.samples,
        steps=base.record.steps + header.steps,
        added=(*header.known, *header.new),
        guarded=header.guarded,
    )
    if max(record.samples, record.steps) > MAX_COUNT:
        raise DfedgeError(f"{where}: counts above {MAX_COUNT:,}; fetch it again")
    check_fits(state, record, bundle, where)
    return StoredState(state, record)


def _encoded(
    bundle: Bundle,
    now: StoredState,
    base: StoredState,
    names: list[str],
    device: str = "",
    makes: str = "",
) -> bytes:
    known = base.record.added
    anchors = {name for name in moved_names(base.state) if name.endswith(".anchors")}
    new = now.record.added[len(known) :] if anchors <= set(names) or makes else ()
    moves = _moves(now.state, base.state, names, len(bundle.manifest.classes) + len(known), new)
    header = DeltaHeader(
        base_sha256=digest(base.state),
        bundle_sha256=bundle.sha256,
        samples=now.record.samples - base.record.samples,
        steps=max(now.record.steps - base.record.steps, 0),
        parts=[TensorPart(name, list(moves[name].shape)) for name in names],
        steering={
            n: np.asarray(now.state[n]).reshape(-1).astype(int).tolist()
            for n in STEERING
            if n in now.state
        },
        device=device,
        known=known,
        new=new,
        guarded=now.record.guarded,
        makes=makes,
    )
    return encode(header, moves)


def _moves(state: State, base: State, names: list[str], first: int, new: tuple[str, ...]) -> Moves:
    """Differences; rows from ``first`` on are new classes: whole, and zeros where there is none."""
    moves = Moves()
    for name in names:
        move = state[name].astype(np.int16) - base[name].astype(np.int16)
        if name.endswith(".anchors"):
            move[first:] = 0
            end = first + len(new)
            move[first:end] = state[name][first:end]
        moves[name] = move
    return moves
