"""The state folder: what is opened, what is refused, and that nothing acknowledged is ever lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trials.kills import Work, kill_finetunes
from trials.mutate import BAD, mutate_bundles, mutate_slots
from trials.saves import record_saves, survey

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device.care import NO_CARE
from dfedge.device.finetune import finetune, steps
from dfedge.device.session import Session
from dfedge.device.store import (
    SLOTS,
    FinetuneJob,
    Saver,
    Saving,
    StateRecord,
    Store,
    StoredState,
    exchange,
    slot,
)
from dfedge.device.store.slot import DamagedSlotError, NewerError, Slot
from dfedge.disk import Disk
from dfedge.errors import DfedgeError, ResourceError, UsageError
from dfedge.native.rendering import exactly
from dfedge.state import digest

SMALL = {"w": np.arange(6, dtype=np.int8).reshape(2, 3), "phase": np.array(7, np.int32)}
RECORD = StateRecord("ab" * 32, 16, FinetuneJob("digits", "stream", "", 0, 16, 64, done=16), 1)
RAW = slot.encode(Slot(3, RECORD, SMALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def saved(bundle: Bundle, folder: Path) -> list[str]:
    """A state folder after three saves (slot-b holds the second, slot-a the third); digests."""
    store = Store(folder)
    return [save(store, bundle, number) for number in (1, 2, 3)]


def save(store: Store, bundle: Bundle, number: int) -> str:
    state = bundle.initial_state()
    state["phase"] = np.array(number, np.int32)
    store.save(StoredState(state, StateRecord(bundle.sha256, steps=number)))
    return digest(state)


def opened(folder: Path, bundle: Bundle) -> tuple[int, list[str]]:
    store = Store(folder, read_only=True)
    stored = store.load(bundle)
    return stored.record.steps if stored else 0, store.notes


def digits(bundle: Bundle) -> Split:
    manifest = bundle.manifest
    return load_split("digits", None, manifest.input, manifest.classes, ("stream",), None)[1]


# -- one slot --------------------------------------------------------------------------------------


def test_slot_holds_its_state_and_record() -> None:
    found = slot.decode(RAW)
    assert (found.sequence, found.record) == (3, RECORD)
    assert digest(found.tensors) == digest(SMALL)
    assert {name: value.dtype for name, value in found.tensors.items()} == {
        "w": "i1",
        "phase": "i4",
    }


def test_every_flipped_bit_of_a_slot_is_noticed() -> None:
    for place in range(8 * len(RAW)):
        raw = bytearray(RAW)
        raw[place // 8] ^= 1 << place % 8
        with pytest.raises(DamagedSlotError):
            slot.decode(bytes(raw))


@given(st.integers(0, len(RAW) - 1), st.binary(max_size=64))
def test_cut_or_lengthened_slot_is_damaged(keep: int, tail: bytes) -> None:
    for raw in (RAW[:keep], RAW + tail + b"\0"):
        with pytest.raises(DamagedSlotError):
            slot.decode(raw)


def test_slot_of_a_newer_dfedge_is_told_from_a_damaged_one(
    bundle: Bundle, folder: Path, saved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(slot, "VERSION", 3)
        raw = slot.encode(Slot(4, RECORD, SMALL))
    with pytest.raises(NewerError, match="version 3, this dfedge reads 2; update dfedge"):
        slot.decode(raw)
    (folder / "slot-b").write_bytes(raw)
    for initial in (False, True):  # not even --initial writes over it
        with pytest.raises(DfedgeError, match=r"slot-b: version 3.*update dfedge"):
            Store(folder).load(bundle, use=not initial)


# -- which slot is opened --------------------------------------------------------------------------


def test_newest_slot_is_opened_whatever_the_clock_says(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    os.utime(folder / "slot-a", (0, 0))  # the newest state, written before all others by its time
    os.utime(folder / "slot-b", (2e9, 2e9))
    store = Store(folder)
    stored = store.load(bundle)
    assert stored is not None
    assert (store.slot, store.sequence, store.notes) == ("slot-a", 3, [])
    assert digest(stored.state) == saved[2]


def test_damaged_or_missing_newest_slot_gives_the_one_before_and_says_so(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    newest = folder / "slot-a"
    raw = bytearray(newest.read_bytes())
    raw[-1] ^= 1
    newest.write_bytes(raw)
    number, notes = opened(folder, bundle)
    assert number == 2
    assert (
        notes
        == [
            f"{folder}: slot-a is damaged: tensor {bundle.manifest.state_names[-1]}: its checksum "
            "does not fit; opened slot-b"
        ]
        or "its checksum does not match; opened slot-b" in notes[0]
    )
    newest.unlink()
    assert opened(folder, bundle) == (2, [f"{folder}: slot-a is missing; opened slot-b"])


def test_save_after_damage_writes_the_damaged_slot(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    (folder / "slot-a").write_bytes(b"torn")
    store = Store(folder)
    store.load(bundle)
    good = (folder / "slot-b").read_bytes()
    save(store, bundle, 9)
    assert (folder / "slot-b").read_bytes() == good
    assert opened(folder, bundle) == (9, [])


def test_no_whole_slot_is_refused_until_reset(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    for name in SLOTS:
        (folder / name).write_bytes(b"")
    with pytest.raises(DfedgeError, match=r"slot-a is damaged.*slot-b is damaged.*state reset"):
        Store(folder).load(bundle)
    Store(folder).reset()
    assert opened(folder, bundle) == (0, [])
    assert list(folder.iterdir()) == []


def test_slots_that_are_gone_are_told_from_a_folder_never_written(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    for name in SLOTS:
        (folder / name).unlink()
    assert opened(folder, bundle) == (0, [f"{folder}: no slot is there; the bundle's own counts"])


def test_state_of_version_1_is_brought_to_2(bundle: Bundle, folder: Path) -> None:
    from dfedge.state import to_bytes

    folder.mkdir()
    record = {"bundle_sha256": bundle.sha256, "samples": 48, "job": None}
    raw = to_bytes(bundle.initial_state(), {"dfedge": json.dumps(record)})
    (folder / "state.safetensors").write_bytes(raw)
    store = Store(folder)
    stored = store.load(bundle)
    assert stored is not None
    assert (stored.record.samples, stored.record.steps) == (48, 0)
    assert "version 1" in store.notes[0]
    store.save(stored)
    assert sorted(path.name for path in folder.iterdir()) == ["lock", *SLOTS]
    assert Store(folder).load(bundle).record.samples == 48


# -- writers ---------------------------------------------------------------------------------------


def test_second_writer_is_refused_and_the_state_is_as_before(
    dfedge_process: Callable[..., subprocess.CompletedProcess], bundle: Bundle, folder: Path,
    saved: list[str],
) -> None:  # fmt: skip
    store = Store(folder)
    store.load(bundle)
    before = {name: (folder / name).read_bytes() for name in SLOTS}
    command = ("finetune", bundle.folder, "--data", "digits", "--samples", 16, "--state", folder)
    with store.writing():
        done = dfedge_process(*command)
    assert (done.returncode, done.stdout) == (3, "")
    assert "is in use by another process" in done.stderr
    assert {name: (folder / name).read_bytes() for name in SLOTS} == before
    assert dfedge_process(*command).returncode == 0


def test_session_that_was_overtaken_does_not_write_over_newer_learning(
    bundle: Bundle, folder: Path
) -> None:
    first, second = (Session.open(bundle, "onnx", folder) for _ in range(2))
    image = digits(bundle).x[0]
    second.learn(image, 1)
    second.save()
    first.learn(image, 2)
    with pytest.raises(ResourceError, match=r"another process has saved.*save 1, was 0"):
        first.save()
    assert Session.open(bundle, "onnx", folder).digest() == second.digest()


def test_read_only_session_reads_and_leaves_no_trace(bundle: Bundle, folder: Path) -> None:
    session = Session.open(bundle, "onnx", folder, read_only=True)
    session.predict(digits(bundle).x[0])
    with pytest.raises(UsageError, match="was opened read-only"):
        session.save()
    assert not folder.exists()


# -- a disk that fails -----------------------------------------------------------------------------


class FailingDisk(Disk):
    """Raises at the n-th call of one kind; a failed flush leaves half of the bytes, a failed name
    flush leaves the new name."""

    def __init__(self, kind: str, after: int, error: int) -> None:
        self.kind, self.left, self.error = kind, after, error

    def _fail(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.error, os.strerror(self.error))

    def put(self, out: BinaryIO, data: bytes) -> None:
        if self.kind == "put" and self.left == 0:
            super().put(out, data[: len(data) // 2])
        self._fail("put")
        super().put(out, data)

    def sync(self, out: BinaryIO) -> None:
        self._fail("sync")
        super().sync(out)

    def rename(self, source: Path, target: Path) -> None:
        self._fail("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._fail("sync_folder")
        super().sync_folder(folder)


@pytest.mark.parametrize("kind", ["put", "sync", "rename", "sync_folder"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("before", [0, 3])
def test_failed_save_is_an_error_and_loses_nothing(
    kind: str, error: int, before: int, bundle: Bundle, folder: Path
) -> None:
    store = Store(folder)
    for number in range(1, before + 1):
        save(store, bundle, number)
    store.disk = FailingDisk(kind, 0, error)
    with pytest.raises(ResourceError, match=rf"cannot be written \({os.strerror(error)}\)") as seen:
        save(store, bundle, 8)
    assert seen.value.exit_code == 3
    assert opened(folder, bundle)[0] in ((before, 8) if kind == "sync_folder" else (before,))
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))
    store.disk = Disk()  # room was made: the same object goes on
    save(store, bundle, 9)
    assert opened(folder, bundle) == (9, [])


def test_after_a_failed_flush_of_the_folder_the_acknowledged_slot_stays(
    bundle: Bundle, folder: Path, saved: list[str]
) -> None:
    """Slot-b's new name may not have reached the medium, so slot-a must not be the next."""
    acknowledged = (folder / "slot-a").read_bytes()
    store = Store(folder)
    store.load(bundle)
    for failing in (True, False):
        store.disk = FailingDisk("sync_folder", 0 if failing else 99, errno.EIO)
        if failing:
            with pytest.raises(ResourceError):
                save(store, bundle, 4)
        else:
            save(store, bundle, 4)
        assert (folder / "slot-a").read_bytes() == acknowledged


@pytest.fixture
def dfedge_process() -> Callable[..., subprocess.CompletedProcess]:
    def call(*args: object, before: str = "pass") -> subprocess.CompletedProcess:
        code = f"import resource, sys; {before}; from dfedge.cli.app import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


def test_file_size_limit_is_exit_code_3_and_the_state_is_as_before(
    dfedge_process: Callable[..., subprocess.CompletedProcess], bundle: Bundle, folder: Path,
    saved: list[str],
) -> None:  # fmt: skip
    before = {name: (folder / name).read_bytes() for name in SLOTS}
    done = dfedge_process(
        "finetune", bundle.folder, "--data", "digits", "--samples", 64, "--state", folder,
        before="resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))",
    )  # fmt: skip
    assert done.returncode == 3
    assert "cannot be written (File too large)" in done.stderr
    assert {name: (folder / name).read_bytes() for name in SLOTS} == before


def test_full_disk_is_exit_code_3_and_the_state_is_as_before(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A file system of 256 KiB: two slots fit, a third file of their size does not."""
    script = f"""
set -e
mount -t tmpfs -o size=256k none {tmp_path}
finetune() {{ {sys.executable} -m dfedge finetune {bundle.folder} --data digits --samples 32 \
  --state {tmp_path}/s --runtime onnx "$@"; }}
finetune
head -c 200000 /dev/zero > {tmp_path}/full || true
sha256sum {tmp_path}/s/slot-* > /dev/shm/before.$$
if finetune; then exit 90; else test $? = 3 || exit 91; fi
sha256sum -c --status /dev/shm/before.$$ || exit 92
rm {tmp_path}/full /dev/shm/before.$$
finetune
"""
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "cannot be written (No space left on device)" in done.stderr


MEMORY_LIMITED = """
import resource, sys
import numpy as np
from dfedge.cli import app
from dfedge.device.care import NO_CARE
from dfedge.device.session import Session
folder, runtime, state = sys.argv[1:]
session = Session.open(folder, runtime, state, care=NO_CARE)
session.learn(np.zeros((8, 8), np.uint8), 1)
session.save()
print(session.digest(), flush=True)
size = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (1024 * int(size.split()[1]),) * 2)
def limited(standalone_mode):
    try:
        session.learn_batch(np.zeros((16, 8, 8), np.uint8), np.arange(16) % 10)
    finally:
        session.save()
app.app = limited
app.main()
"""


@pytest.mark.parametrize("runtime", ["onnx", "litert"])  # the others plan all memory beforehand
def test_memory_limit_in_a_step_is_exit_code_3_and_the_state_is_as_before(
    runtime: str, bundle: Bundle, folder: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_LIMITED, str(bundle.folder), exactly(runtime), str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "a step failed half-way" in done.stderr
    assert "Traceback" not in done.stderr
    assert Session.open(bundle, runtime, folder).digest() == done.stdout.strip()


# -- when it is saved, and that work goes on -------------------------------------------------------


def test_clock_that_goes_backwards_delays_no_save() -> None:
    times = iter([100.0, 100.5, 102.0, 102.0, 50.0, 50.0, 50.5, 51.5, 51.5])
    saver = Saver(Store(Path("nowhere")), Saving(0, 1.0, lambda: next(times)))
    try:
        due = []
        for step in range(1, 6):
            due.append(saver.due(step))
            if due[-1]:
                saver.last = saver.saving.clock()
    finally:
        saver.close()
    assert due == [False, True, True, False, True]  # 100.5, 102, 50 is backwards, 50.5, 51.5


def careless(bundle: Bundle, folder: Path) -> Session:
    """Without a guard every step may be saved, judged or not (tests/test_care.py has the other)."""
    return Session.open(bundle, "onnx", folder, care=NO_CARE)


@pytest.mark.parametrize("stop", [1, 4, 7, 12])
@pytest.mark.parametrize("pace", [None, 0])
def test_interrupted_job_ends_in_the_same_files(
    stop: int, pace: int | None, bundle: Bundle, tmp_path: Path
) -> None:
    job = FinetuneJob("digits", "stream", "", 5, 16, 13 * 16, total=True, pace=pace)
    finetune(careless(bundle, tmp_path / "whole"), digits(bundle), job,
             saving=Saving(3))  # fmt: skip
    broken = steps(careless(bundle, tmp_path / "b"), digits(bundle), job, Saving(3))
    for _ in range(stop):
        next(broken)
    broken.close()
    again = careless(bundle, tmp_path / "b")
    assert again.record.steps == 3 * ((stop - 1) // 3) or again.record.steps == 3 * (stop // 3)
    outcome = finetune(again, digits(bundle), job, saving=Saving(3))
    assert outcome.resumed + outcome.samples == 13 * 16
    for name in SLOTS:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    idle = finetune(careless(bundle, tmp_path / "b"), digits(bundle), job)
    assert (idle.samples, idle.resumed) == (0, 13 * 16)


def test_total_of_steps_may_be_raised(bundle: Bundle, tmp_path: Path) -> None:
    stream = digits(bundle)
    for folder, totals in (("once", (12,)), ("twice", (5, 12))):
        for total in totals:
            job = FinetuneJob("digits", "stream", "", 0, 16, 16 * total, total=True)
            finetune(careless(bundle, tmp_path / folder), stream, job)
    once, twice = (careless(bundle, tmp_path / name) for name in ("once", "twice"))
    assert once.digest() == twice.digest()
    assert twice.record.steps == 12


def test_error_of_a_save_beside_the_learning_ends_it(bundle: Bundle, folder: Path) -> None:
    session = careless(bundle, folder)
    session.store.disk = FailingDisk("sync", 3, errno.EIO)  # the first save writes two files
    job = FinetuneJob("digits", "stream", "", 0, 16, 160)
    with pytest.raises(ResourceError, match="Input/output error"):
        finetune(session, digits(bundle), job, saving=Saving(1))
    assert opened(folder, bundle)[0] == 2


# -- slices of the experiments ---------------------------------------------------------------------


def test_power_loss_at_any_instant_loses_nothing(bundle: Bundle, tmp_path: Path) -> None:
    found = survey(record_saves(bundle, tmp_path, 4))
    assert found.cases > 1000
    assert found.lost == 0


@pytest.mark.parametrize(("left_out", "saves"), [("sync", 1), ("sync_folder", 2)])
def test_the_simulator_finds_a_flush_that_is_left_out(
    left_out: str, saves: int, bundle: Bundle, tmp_path: Path
) -> None:
    assert survey(record_saves(bundle, tmp_path, saves), left_out).lost > 20


def test_killed_processes_lose_nothing_and_end_in_the_same_bytes(
    bundle: Bundle, tmp_path: Path
) -> None:
    found = kill_finetunes(Work(bundle.folder, steps=60, save_every=2), tmp_path, 4, seed=1)
    assert (found.kills, found.lost, found.different) == (4, 0, 0)
    assert found.finished >= 1


def test_no_changed_byte_is_ever_used(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    store = Store(tmp_path / "state")
    for number in (1, 2):
        save(store, bundle, number)
    found = [
        *mutate_bundles(tmp_path / "bundle", 100, 1).values(),
        *mutate_slots(tmp_path / "state", bundle, 200, 1).values(),
    ]
    assert sum(row.total() for row in found) == 300
    assert not [row for row in found if set(row) & set(BAD)]


# -- state that travels ----------------------------------------------------------------------------


def test_exchange_file_refuses_what_was_changed_or_is_newer(tmp_path: Path) -> None:
    raw = exchange.write(SMALL, RECORD)
    assert exchange.parse(raw, tmp_path)[1] == RECORD
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])
    with pytest.raises(DfedgeError, match="changed since it was written"):
        exchange.parse(flipped, tmp_path)
    newer = raw.replace(b'\\"version\\":2', b'\\"version\\":9')
    assert newer != raw
    with pytest.raises(DfedgeError, match="version 9, this dfedge reads up to 2; update dfedge"):
        exchange.parse(newer, tmp_path)
