"""The base of a round: the state that devices begin with, and what only the server keeps of it.

A state of int8 cannot hold a third of a step, which is what many devices together may have found.
So the server keeps a fraction of each value beside it, in the file ``BASE.fraction``: fine value =
whole value 2^bits + fraction, the whole being the fine value rounded half up.  Devices never need
it.  A base without that file has no fractions yet.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge import state
from dfedge.atomic import write_file, write_out
from dfedge.bundle import Bundle
from dfedge.device.store import FLEET_BASE, StateRecord, StoredState, belonging, exchange
from dfedge.device.store.transfer import read_file
from dfedge.errors import DfedgeError, ResourceError
from dfedge.fleet.delta import MAGIC
from dfedge.fleet.difference import stepped
from dfedge.fleet.parts import moved_names
from dfedge.fleet.privacy import Spent
from dfedge.limits import Count, Hash
from dfedge.regular import is_file, open_file, read_bytes

BITS = 8
"""Of a fraction by default, and at most."""
REMEMBERED = 16
"""Earlier bases whose digests are kept, so that a late delta can be told from a stranger's."""


@dataclass(frozen=True)
class Base:
    """A base as the server has it.

    Attributes:
        state, record: what devices take.
        fraction: int8, of each value of the tensors that learning moves.
        bits: of a fraction.
        round: how many merges made it.
        earlier: digests of the bases before it, the oldest first.
        spent: of the rounds that were merged with noise; all of them, or there is none.
    """

    state: dict[str, NDArray[Any]]
    record: StateRecord
    fraction: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    bits: int = BITS
    round: int = 0
    earlier: tuple[str, ...] = ()
    spent: tuple[Spent, ...] = ()

    @property
    def stored(self) -> StoredState:
        """What devices take."""
        return StoredState(self.state, self.record)

    @cached_property
    def sha256(self) -> str:
        """The digest that names it."""
        return state.digest(self.state)

    def fine(self, name: str) -> NDArray[np.int64]:
        """A tensor in units of 2^-bits."""
        whole = self.state[name].astype(np.int64) << self.bits
        return whole + self.fraction[name] if name in self.fraction else whole


class FractionsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a file of fractions says of itself; ``sha256``: of its tensors."""

    base_sha256: Hash
    sha256: Hash
    bits: Annotated[int, Meta(ge=0, le=BITS)]
    round: Count
    earlier: Annotated[list[Hash], Meta(max_length=REMEMBERED)]
    spent: tuple[Spent, ...] = ()


_KEPT = msgspec.json.Decoder(FractionsHeader)  # at import, as in `dfedge.manifest`


def read_stored(bundle: Bundle, path: Path | None) -> StoredState:
    """A base as a device has it; None: the bundle's own first state.

    Raises:
        DfedgeError: as `dfedge.device.store.transfer.read_file`.
    """
    return (
        read_file(bundle, path) if path else StoredState(bundle.initial_state(), belonging(bundle))
    )


def kept_base(bundle: Bundle, folder: Path, record: StateRecord) -> Path | None:
    """The base that a device took last, as it lies in its state folder; None: the bundle's own.

    Raises:
        DfedgeError: it took one, and the file is gone.
    """
    path = folder / FLEET_BASE
    if record.fleet_base in ("", bundle.manifest.state_sha256):
        return None
    if not is_file(path):
        raise DfedgeError(f"{path} is gone; name the base that this device took last: --base")
    return path


def keep_base(folder: Path, base: StoredState) -> None:
    """Write a base into a device's state folder, for `kept_base`.

    Raises:
        OSError: it cannot be written.
    """
    write_file(folder / FLEET_BASE, exchange.write(base.state, base.record))


def read_next(bundle: Bundle, path: Path, base: Path | None) -> StoredState:
    """The next base, from its own file or from a step.

    Args:
        base: that a step begins with; None: the bundle's own first state.

    Raises:
        DfedgeError: neither, damaged, or of another bundle or base.
    """
    try:
        with open_file(path) as file:
            is_step = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise DfedgeError(f"{path}: cannot be read ({error.strerror})") from error
    if not is_step:
        return read_stored(bundle, path)
    return stepped(bundle, read_stored(bundle, base), read_bytes(path), path)


def read_base(bundle: Bundle, path: Path | None, bits: int | None = None) -> Base:
    """A base as the server has it.

    Args:
        bits: of its fractions; None: as they were, else `BITS`.

    Raises:
        DfedgeError: damaged, of another bundle, or fractions of another base.
    """
    stored = read_stored(bundle, path)
    base = Base(stored.state, stored.record)
    if path and is_file(fractions_of(path)):
        base = _with_fractions(base, fractions_of(path))
    return base if bits is None or bits == base.bits else _in_units(base, bits)


def fractions_of(path: Path) -> Path:
    """Where the server keeps a base's fractions."""
    return path.with_name(f"{path.name}.fraction")


def write_base(base: Base, path: Path) -> None:
    """Write what devices take, and beside it what the server keeps.

    Fractions first: where the second file cannot be written, the first names no base that is there.

    Raises:
        ResourceError: they cannot be written.
    """
    fraction = {n: base.fraction.get(n, np.zeros(base.state[n].shape, np.int8))
                for n in moved_names(base.state)}  # fmt: skip
    kept = FractionsHeader(
        base.sha256, state.digest(fraction), base.bits, base.round, list(base.earlier), base.spent
    )
    raw = state.to_bytes(fraction, {"dfedge": msgspec.json.encode(kept).decode()})
    try:
        write_out(fractions_of(path), raw)
        write_out(path, exchange.write(base.state, base.record))
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror})") from error


def parse_fractions(raw: bytes, where: Path) -> tuple[dict[str, NDArray[np.int8]], FractionsHeader]:
    """A file of fractions.

    Raises:
        DfedgeError: damaged.
    """
    try:
        kept = _KEPT.decode(state.metadata(raw))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DfedgeError(
            f"{where}: cannot be read as a base's fractions ({type(error).__name__}: {error})"
        ) from error
    fraction = state.parse(raw, where)
    if state.digest(fraction) != kept.sha256:
        raise DfedgeError(f"{where}: changed since it was written (its SHA-256 does not match)")
    return fraction, kept


def _with_fractions(base: Base, where: Path) -> Base:
    try:
        raw = read_bytes(where)
    except OSError as error:
        raise DfedgeError(f"{where}: cannot be read ({error.strerror})") from error
    fraction, kept = parse_fractions(raw, where)
    if kept.base_sha256 != base.sha256:
        raise DfedgeError(
            f"{where} is of another base ({kept.base_sha256[:12]}, this one is "
            f"{base.sha256[:12]}); merge from the base that it belongs to, or remove the file: "
            "fractions then begin at zero"
        )
    names, most = moved_names(base.state), 1 << kept.bits >> 1
    for name in {*names, *fraction}:
        found, whole = fraction.get(name), base.state.get(name)
        if found is None or whole is None or name not in names or found.dtype != np.int8 or \
                found.shape != whole.shape or \
                (found.size and (found.min() < -most or found.max() >= max(most, 1))):  # fmt: skip
            raise DfedgeError(f"{where}: tensor '{name}' is not the base's; remove the file")
    return Base(
        base.state, base.record, fraction, kept.bits, kept.round, tuple(kept.earlier), kept.spent
    )  # fmt: skip


def _in_units(base: Base, bits: int) -> Base:
    """With fractions of other bits; what is below their unit is dropped, rounding half up."""
    less = base.bits - bits
    fraction = {}
    for name, value in base.fraction.items():
        wide = value.astype(np.int64)
        moved = (wide + (1 << less >> 1)) >> less if less > 0 else wide << -less
        most = 1 << bits >> 1
        fraction[name] = moved.clip(-most, max(most - 1, 0)).astype(np.int8)
    return replace(base, fraction=fraction, bits=bits)
