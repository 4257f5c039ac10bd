"""The state folder of one bundle: which slot is opened, and how the other is written."""

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

from filelock import FileLock, Timeout
from numpy.typing import NDArray

from dfedge import state
from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.device.store import earlier, slot
from dfedge.device.store.record import StateRecord
from dfedge.device.store.remembered import Remembered, joined, parted
from dfedge.device.store.slot import DamagedSlotError, NewerError, Slot
from dfedge.disk import DISK, Disk
from dfedge.errors import DfedgeError, ResourceError, UsageError

SLOTS = ("slot-a", "slot-b")
LOCK = "lock"
FLEET_BASE = "fleet-base"
"""The base of a fleet that this device took last (`dfedge.fleet.base`)."""

moments = itertools.count()
"""One for each copy of a state that is learning, in the order in which they are made."""


@dataclass(frozen=True)
class StoredState:
    """A state with its record.

    Attributes:
        moment: of the copy, from `moments`; a later one holds what an earlier one does.  None: no
            session's.
        remembered: samples of classes that were added, to replay; None: none.
    """

    state: dict[str, NDArray[Any]]
    record: StateRecord
    moment: int | None = None
    remembered: Remembered | None = None


def default_folder(bundle: Bundle | Path) -> Path:
    """Beside the bundle, or its folder: its name with ``.state``."""
    folder = (bundle if isinstance(bundle, Path) else bundle.folder).resolve()
    return folder.with_name(folder.name + ".state")


def check_fits(learned: state.State, record: StateRecord, bundle: Bundle, where: Path) -> None:
    """Refuse a state that cannot be of this bundle.

    Raises:
        DfedgeError: naming the first difference.
    """
    state.check_same_layout(learned, bundle.initial_state(), where)
    flaw = record.flaw(bundle.manifest.classes, bundle.manifest.plan.classes)
    if flaw is not None:
        raise DfedgeError(f"{where}: invalid value for {flaw}; delete it to start anew")


def check_rollback(record: StateRecord, bundle: Bundle, where: Path) -> None:
    """Refuse a bundle that is older than the one of its lineage that the state was learned with.

    Args:
        where: the state lies, for the error.

    Raises:
        DfedgeError: its version is lower.
    """
    manifest = bundle.manifest
    if record.lineage == manifest.lineage and record.bundle_version > manifest.bundle_version:
        raise DfedgeError(
            f"{bundle.folder} is version {manifest.bundle_version}, and {where} was learned with "
            f"version {record.bundle_version}: the bundle was rolled back; take version "
            f"{record.bundle_version} or more, or delete what was learned: dfedge state reset "
            f"{bundle.folder}"
        )


class Store:
    """A state folder; any number of threads may use one object.

    Attributes:
        slot, sequence: of the newest whole slot, as this object last read or wrote it.
        notes: what opening had to skip, in words.
    """

    def __init__(self, folder: Path, read_only: bool = False, disk: Disk = DISK) -> None:
        self.folder, self.read_only, self.disk = folder, read_only, disk
        self.slot: str | None = None
        self.sequence = 0
        self.notes: list[str] = []
        self._tried = b""
        self._moment = -1
        try:
            if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
                raise DfedgeError(
                    f"{folder} is not a state folder but a file or a broken link; choose another "
                    "--state"
                )
        except OSError as error:
            raise DfedgeError(f"{folder}: {error.strerror}; choose another --state") from error
        self.renew_locks()
        _STORES.add(self)

    def renew_locks(self) -> None:
        """Hold nothing: at first, and in a forked child, which is another writer."""
        self._mutex = threading.RLock()  # over one save
        self._lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False)
        self._holders: set[object] = set()  # of the file's lock

    def load(self, bundle: Bundle, use: bool = True, foreign: bool = False) -> StoredState | None:
        """What the folder holds for this bundle; None where it holds nothing yet.

        The newest whole slot counts; what was skipped for it is told in `notes`.

        Args:
            use: False takes note of what is there, whatever it is, so that the next save is newer.
            foreign: gives a state of another bundle too, as it is, for `dfedge.device.rebase`.

        Raises:
            DfedgeError: a state of another bundle, of a higher version of this one, one of a newer
                dfedge, or no valid slot.
        """
        with self._mutex:
            return self._load(bundle, use, foreign)

    def _load(self, bundle: Bundle, use: bool, foreign: bool) -> StoredState | None:
        found, damaged = self._scan()
        if not use:
            if found is not None:
                check_rollback(found.record, bundle, self.folder)
            return None
        if found is None and damaged:
            raise DfedgeError(
                f"{self.folder}: cannot be read as a state ({'; '.join(damaged)}); "
                "'dfedge state reset' starts from the bundle's"
            )
        if found is None:
            stored = earlier.read(self.folder, self.disk)
            if stored is None:
                if LOCK in self.disk.names(self.folder):  # it was written to, or was about to be
                    self.notes.append(f"{self.folder}: no slot is there; the bundle's own counts")
                return None
            self.notes.append(f"{self.folder}: a state of version 1; the next save brings it to 2")
            tensors, record = stored
        else:
            tensors, record = found.tensors, found.record
            self.notes += [f"{self.folder}: {text}; opened {self.slot}" for text in damaged]
        check_rollback(record, bundle, self.folder)
        if record.bundle_sha256 != bundle.sha256 and not foreign:
            same = record.lineage and record.lineage == bundle.manifest.lineage
            carry = f"carry it over: dfedge state rebase --onto {bundle.folder}, " if same else ""
            raise DfedgeError(
                f"{self.folder} belongs to another bundle ({record.bundle_sha256[:12]}, this one "
                f"is {bundle.sha256[:12]}); {carry}choose another --state, or --initial to ignore "
                "it"
            )
        learned, kept = parted(tensors, record, bundle, self.folder)
        if record.bundle_sha256 == bundle.sha256:
            check_fits(learned, record, bundle, self.folder)
        return StoredState(learned, record, remembered=kept)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder against every other process, over one save or over many.

        Threads that use this object hold it together.

        Raises:
            UsageError: opened read-only.
            ResourceError: another holds it, or saved after this object last looked.
        """
        holder = object()
        with self._mutex:
            if not self._holders:
                self._acquire()
                try:
                    self._look_again()
                except BaseException:
                    self._lock.release()
                    raise
            self._holders.add(holder)
        try:
            yield
        finally:
            with self._mutex:
                if self._holders == {holder}:
                    self._lock.release()
                self._holders.discard(holder)  # in a forked child it is not there

    def save(self, stored: StoredState) -> None:
        """Write the older slot; the first save writes both, so that a missing one is noticed.

        When this returns, a loss of power cannot undo it.  A copy that another thread overtook with
        a later one is not written: what it holds is saved.

        Raises:
            ResourceError: it could not be written, or another writes; what was there is there.
        """
        with self.writing(), self._mutex:
            if stored.moment is not None and stored.moment < self._moment:
                return
            targets = SLOTS if self.slot is None else (SLOTS[self.slot == SLOTS[0]],)
            tensors = joined(stored.state, stored.remembered)
            raw = slot.encode(Slot(self.sequence + 1, stored.record, tensors))
            self._tried = raw
            try:
                for target in targets:
                    write_file(self.folder / target, raw, self.disk)
                if self.slot is None:
                    self.disk.remove(self.folder / earlier.FILE)
            except OSError as error:
                raise self._unwritable(error) from error
            # Only now: had the last flush failed, the next save must try this slot again, because
            # the other one is the last that is certain.
            self.slot, self.sequence = targets[0], self.sequence + 1
            self._moment = self._moment if stored.moment is None else stored.moment

    def reset(self) -> None:
        """Drop everything that was learned, whole or damaged.

        Raises:
            ResourceError: another writes, or a file cannot be removed.
        """
        with self._mutex:
            self.slot, self.sequence = None, 0
            if not self.folder.is_dir():
                return
            self._acquire()
            try:
                # The lock as well: without it the folder is as if never written to.  Whoever waits
                # for it finds its name gone, and asks again (filelock compares them).
                for name in (*SLOTS, earlier.FILE, FLEET_BASE, LOCK):
                    self.disk.remove(self.folder / name)
                self.disk.sync_folder(self.folder)
            except OSError as error:
                raise self._unwritable(error) from error
            finally:
                self._lock.release()

    def _acquire(self) -> None:
        if self.read_only:
            raise UsageError(f"{self.folder} was opened read-only; nothing can be saved")
        try:
            self.disk.make_folder(self.folder)
            self._lock.acquire()
        except Timeout as error:
            raise ResourceError(
                f"{self.folder} is in use by another process that learns; wait for its end, "
                "or choose another --state"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _scan(self) -> tuple[Slot | None, list[str]]:
        """The newest whole slot, and what is wrong with the others."""
        best, damaged, missing = None, [], []
        self.slot, self.sequence = None, 0
        for name in SLOTS:
            try:
                found = slot.decode(self.disk.read(self.folder / name))
            except FileNotFoundError:
                missing.append(f"{name} is missing")
                continue
            except NewerError as error:
                raise DfedgeError(f"{self.folder / name}: {error}") from error
            except OSError as error:
                # A medium that cannot give a block back is damage; anything else may pass, and
                # the slot must not be written over meanwhile.
                if error.errno != errno.EIO:
                    raise DfedgeError(f"{self.folder / name}: {error.strerror}") from error
                damaged.append(f"{name} is damaged: {error.strerror}")
                continue
            except DamagedSlotError as error:
                damaged.append(f"{name} is damaged: {error}")
                continue
            if best is None or found.sequence > best.sequence:
                best, self.slot, self.sequence = found, name, found.sequence
        return best, damaged + missing if best else damaged

    def _look_again(self) -> None:
        """Refuse to write over what another saved; drop what interrupted writes left."""
        known, slot = self.sequence, self.slot
        found, _ = self._scan()
        if found is not None and found.sequence > known:
            # A save of this object whose last flush failed may lie there, or may not after the
            # next loss of power: the slot before it still is the one that must not be touched.
            if self.disk.read(self.folder / str(self.slot)) != self._tried:
                raise ResourceError(
                    f"{self.folder}: another process has saved since it was opened here "
                    f"(save {self.sequence}, was {known}); open it again"
                )
            self.slot = slot
        self.sequence = known  # a slot may have rotted meanwhile: its number is not given again
        for name in self.disk.names(self.folder):
            if name.endswith(".tmp"):
                self.disk.remove(self.folder / name)

    def _unwritable(self, error: OSError) -> ResourceError:
        return ResourceError(
            f"{self.folder}: cannot be written ({error.strerror or error}); what was saved before "
            f"is as it was (save {self.sequence}); make room or choose another --state"
        )


_STORES: WeakSet[Store] = WeakSet()


def _renew_in_child() -> None:
    for store in _STORES:
        store.renew_locks()


os.register_at_fork(after_in_child=_renew_in_child)
