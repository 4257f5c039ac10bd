"""The store in C, on flash and in a file: what is opened, what is refused, and that no loss of
power, no kill and no flipped bit makes it give anything but what was saved.
"""

import ctypes
import fcntl
import os
import random
import resource
import signal
import struct
import subprocess
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_on_device import needs, turned
from trials import calls, flash
from trials.calls import PAGE, opened
from trials.flash import Chip, Flash
from trials.net_files import mutate_nets
from trials.runner import (
    ACCEPTED,
    Work,
    flip_bits,
    kill_trainings,
    slot_bytes_of,
    work_on,
    write_idx,
)

from dfedge.bundle import Bundle
from dfedge.device.runners import open_runner
from dfedge.device.store import StoredState, belonging
from dfedge.fleet.state_file import MediumInMemory, state_file
from dfedge.manifest import SEMANTICS_VERSION
from dfedge.native import build, library, store
from dfedge.native.image import HEAD_BYTES, Identity, image
from dfedge.native.program import NativeProgram
from dfedge.native.store import (
    DAMAGED,
    EMPTY,
    FAILED,
    FOREIGN,
    MISFIT,
    NEWER,
    SLOT_DAMAGED,
    SLOT_EMPTY,
    SLOT_WHOLE,
    STORED,
    NetRecord,
    NetStore,
)

pytestmark = needs(build.COMPILERS[0])

MAIN = Path(__file__).parent / "on_device" / "store.c"
SMALL = Chip(state_bytes=101, sector=64, unit=8)
SIZES = [Chip(101, 64, 1), SMALL, Chip(100, 128, 32), Chip(0, 256, 128), Chip(4, 256, 16)]


def bytes_of(number: int, count: int = SMALL.state_bytes) -> bytes:
    return random.Random(number).randbytes(count)


def saved(chip: Chip = SMALL, saves: int = 2) -> Flash:
    """After so many saves: states 1, 2, ... with steps of that number."""
    made = chip.flash()
    for number in range(1, saves + 1):
        found = chip.store(made).save(NetRecord(steps=number), bytes_of(number, chip.state_bytes))
        assert found == STORED
    return made


def found_in(made: Flash, chip: Chip = SMALL) -> tuple[int, bytes | None]:
    again = chip.store(made)
    return again.found.record.steps, again.load()


# -- flash -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", SIZES, ids=str)
def test_power_lost_in_any_unit_or_sector_leaves_the_last_save_or_the_new_one(chip: Chip) -> None:
    found = flash.lose_power(chip, 4)
    assert found.cuts > 40
    assert (found.lost, found.refused, found.violations) == (0, 0, 0)


def test_power_lost_in_one_save_after_the_other_loses_nothing() -> None:
    found = flash.lose_power_in_a_row(SMALL, 500)
    assert (found.cuts, found.lost, found.violations) == (500, 0, 0)


def test_simulated_flash_finds_the_loss_of_a_firmware_that_erases_both_slots() -> None:
    assert flash.lose_power(Chip(101, 64, 8, careless=True), 3).lost > 0


def test_save_on_worn_flash_fails_and_leaves_what_was_saved() -> None:
    class Worn(Flash):
        def program(self, at: int, data: bytes) -> bool:
            worn = at <= 2 * 64 * 3 < at + len(data)  # one bit stays where it was erased
            done = super().program(at, data)
            if worn:
                self.cells[2 * 64 * 3] |= 1
            return done

    made = saved(SMALL, 1)
    stuck = Worn(made.size, made.sector, made.unit, made.cells)
    state = bytes(SMALL.state_bytes)
    assert SMALL.store(stuck).save(NetRecord(steps=2), state) == FAILED
    assert found_in(stuck) == (1, bytes_of(1))


def test_every_bit_of_either_slot_is_noticed_and_the_other_is_opened() -> None:
    made = saved(SMALL, 3)  # the first slot holds the third save
    half = made.size // 2
    for place in range(8 * made.size):
        cells = bytearray(made.cells)
        cells[place // 8] ^= 1 << place % 8
        again = SMALL.store(SMALL.flash(cells))
        newest = place // 8 < half
        assert list(again.found.kinds) == [
            SLOT_DAMAGED if newest else SLOT_WHOLE,
            SLOT_WHOLE if newest else SLOT_DAMAGED,
        ]
        number = 2 if newest else 3
        assert (again.found.record.steps, again.load()) == (number, bytes_of(number))


def test_record_comes_back_as_it_was_saved() -> None:
    made = SMALL.flash()
    lineage = (ctypes.c_uint8 * 32)(*range(32))
    record = NetRecord(0x89ABCDEF, 7, lineage, 3, 6, 1 << 40, (1 << 63) + 5, 2, -1)
    assert SMALL.store(made).save(record, bytes_of(1)) == STORED
    assert bytes(SMALL.store(made).found.record) == bytes(record)


def test_sequence_number_begins_anew_after_the_greatest() -> None:
    made = saved(SMALL, 1)
    writer = SMALL.store(made)
    writer.found.sequence = (1 << 32) - 2
    for number in (2, 3, 4, 5):
        assert writer.save(NetRecord(steps=number), bytes_of(number)) == STORED
        if number > 2:  # the slot of save 2 has the number before the greatest but one
            assert found_in(made) == (number, bytes_of(number))
    assert SMALL.store(made).found.sequence == 2


def test_empty_flash_is_told_from_flash_that_holds_something_else() -> None:
    assert list(SMALL.store(saved(SMALL, 1)).found.kinds) == [SLOT_WHOLE, SLOT_EMPTY]
    assert NetStore(SMALL.flash(), SMALL.flash().size // 2, SMALL.unit).open() == EMPTY
    other = SMALL.flash(bytearray(bytes_of(0, SMALL.flash().size)))
    writer = NetStore(other, other.size // 2, SMALL.unit)
    assert writer.open() == DAMAGED
    assert writer.save(NetRecord(steps=1), bytes_of(1)) == STORED
    assert found_in(other) == (1, bytes_of(1))


def newer(cells: bytearray, start: int) -> None:
    """A slot of version 3, whose header is longer."""
    head = bytearray(cells[start : start + 12])
    struct.pack_into("<II", head, 4, 3, 160)
    rest = bytes(range(144))
    cells[start : start + 160] = head + struct.pack("<I", zlib.crc32(bytes(head) + rest)) + rest


def test_slot_of_a_newer_version_is_not_written_over() -> None:
    made = saved(SMALL, 2)
    newer(made.cells, made.size // 2)
    before = bytes(made.cells)
    again = NetStore(made, made.size // 2, made.unit)
    assert again.open() == NEWER
    assert again.save(NetRecord(), bytes_of(3)) == NEWER
    assert made.cells == before


def test_slot_that_cannot_be_read_gives_way_to_the_other() -> None:
    class Unreadable(Flash):
        def read(self, at: int, count: int) -> bytes | None:
            return None if at >= self.size // 2 else super().read(at, count)

    made = saved(SMALL, 2)
    again = SMALL.store(Unreadable(made.size, made.sector, made.unit, made.cells))
    assert (again.found.record.steps, again.load()) == (1, bytes_of(1))


def test_state_that_does_not_fit_is_refused_before_anything_is_erased() -> None:
    made = saved(SMALL, 2)
    before = bytes(made.cells)
    room = made.size // 2 - store.HEADER - store.COMMIT
    assert SMALL.store(made).save(NetRecord(), bytes(room + 1)) == MISFIT
    for slot_bytes, unit in ((made.size // 2, 3), (made.size // 2, 256), (64, 8), (made.size, 0)):
        again = NetStore(made, slot_bytes, unit)
        assert (again.open(), again.save(NetRecord(), b"")) == (MISFIT, MISFIT)
    assert made.cells == before


# -- Python and C agree ----------------------------------------------------------------------------


def test_structures_of_python_are_those_of_c(tmp_path: Path) -> None:
    wanted, lines = [], []
    for name, structure in (
        ("dfe_medium", store.Medium), ("dfe_record", store.NetRecord), ("dfe_store", store.Slots),
    ):  # fmt: skip
        wanted.append(ctypes.sizeof(structure))
        lines.append(f"sizeof({name})")
        for field, *_ in structure._fields_:
            wanted.append(getattr(structure, field).offset)
            lines.append(f"offsetof({name}, {field})")
    body = "".join(f'printf("%zu ", {line});' for line in lines)
    body += 'printf("%d %d %d %d", DFE_HEADER, DFE_COMMIT, DFE_ROOM, DFE_SEMANTICS);'
    source, app = tmp_path / "sizes.c", tmp_path / "sizes"
    source.write_text(
        f'#include <stdio.h>\n#include "rebase.h"\nint main(void) {{ {body} return 0; }}'
    )
    compiler = build.required_compiler()
    subprocess.run([compiler, f"-I{build.SOURCES}", "-o", app, source], check=True)
    found = subprocess.run([app], check=True, capture_output=True, text=True).stdout
    wanted += [store.HEADER, store.COMMIT, store.ROOM, SEMANTICS_VERSION]
    assert [int(word) for word in found.split()] == wanted


def test_checksum_is_that_of_zlib() -> None:
    sum_of = library.load().dfe_crc32
    sum_of.restype = ctypes.c_uint32
    for count in (0, 1, 9, 1000):
        data = bytes_of(count, count)
        assert sum_of(0, data, ctypes.c_size_t(count)) == zlib.crc32(data)
    first = sum_of(0, b"1234", ctypes.c_size_t(4))
    assert sum_of(ctypes.c_uint32(first), b"56789", ctypes.c_size_t(5)) == 0xCBF43926


@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_sources_of_dfedge_run_compile_without_a_warning(standard: str, tmp_path: Path) -> None:
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    sources = [*build.RUNNER.glob("*.c"), *(build.SOURCES / f"{n}.c" for n in STORE)]
    command = [build.required_compiler(), f"-std={standard}", "-O2", *strict]
    command += [f"-I{build.SOURCES}", "-c", *map(str, sources)]
    subprocess.run(command, check=True, cwd=tmp_path)


STORE = ("crc32", "store", "rebase")


@needs("arm-none-eabi-gcc", "arm-none-eabi-nm")
def test_store_needs_no_operating_system(tmp_path: Path) -> None:
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-Os", "-std=c99", "-Wall",
               "-Wextra", "-Werror", "-ffreestanding", "-c"]  # fmt: skip
    sources = [build.SOURCES / f"{name}.c" for name in STORE]
    subprocess.run([*command, *sources], check=True, cwd=tmp_path)
    objects = sorted(tmp_path.glob("*.o"))
    listed = subprocess.run(["arm-none-eabi-nm", "-u", *objects], check=True, capture_output=True,
                            text=True).stdout  # fmt: skip
    outside = {line.split()[1] for line in listed.splitlines() if line.strip().startswith("U ")}
    assert outside - {"memcpy", "memset", "memcmp"} <= {
        "dfe_crc32", "dfe_table_bytes", "dfe_layers", "dfe_convs", "dfe_feature_count",
    }  # fmt: skip


def test_what_a_firmware_keeps_in_flash_is_a_state_file_of_dfedge_run(
    mcu: Bundle,
    work: Work,
    tmp_path: Path,
) -> None:
    made, app = mcu.folder / "c", tmp_path / "firmware"
    own = [made / name for name in ("net.c", "net_data.S", "net_store.c")]
    sources = [*own, *sorted((made / "dfedge").glob("*.c")), MAIN]
    command = [build.required_compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{made}"]
    subprocess.run([*command, "-o", app, *sources], check=True)
    state = tmp_path / "flash"
    state.write_bytes(subprocess.run([app], check=True, capture_output=True).stdout)
    native = open_runner(mcu, "native")
    x = np.zeros((1, *mcu.manifest.plan.input_shape), np.int8)
    for number in range(3):
        x.reshape(-1)[number] = 127
        native.train(x, np.array([3], np.int32))
    assert held(work, state) == (3, 3, native.program.state.tobytes())  # type: ignore[attr-defined]
    train(work, state)
    assert record_of(state, work).samples == 3 + work.samples


def test_state_file_leaves_a_firmware_and_comes_back_in_the_bytes_of_python(
    mcu: Bundle, tmp_path: Path
) -> None:
    made, app = mcu.folder / "c", tmp_path / "firmware"
    own = [made / name for name in ("net.c", "net_data.S", "net_store.c")]
    sources = [*own, *sorted((made / "dfedge").glob("*.c")), MAIN.with_name("exchange.c")]
    command = [build.required_compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{made}"]
    subprocess.run([*command, "-o", app, *sources], check=True)

    def exchanged(file: bytes = b"") -> tuple[int, bytes]:
        done = subprocess.run([app], input=file, capture_output=True)
        return done.returncode, done.stdout

    native = open_runner(mcu, "native")
    x = np.zeros((1, *mcu.manifest.plan.input_shape), np.int8)
    files = {}
    for number in range(4):
        x.reshape(-1)[number] = 127
        native.train(x, np.array([3], np.int32))
        count = number + 1
        caution = int(count == 4)  # a firmware has none before a guard judged it
        record = msgspec.structs.replace(
            belonging(mcu), samples=count, steps=count, caution=caution
        )
        files[count] = state_file(mcu, StoredState(native.get_state(), record))
    assert exchanged() == (STORED, files[3])
    assert exchanged(files[4]) == (STORED, files[4])
    assert exchanged(files[4][: len(files[4]) // 4]) == (DAMAGED, files[3])
    assert exchanged(bytes(len(files[4]))) == (DAMAGED, files[3])
    assert exchanged(b"\xff" * len(files[4])) == (EMPTY, files[3])
    for place in random.Random(0).sample(range(8 * (128 + 8)), 50):
        flipped = bytearray(files[4])
        flipped[place // 8] ^= 1 << place % 8
        assert exchanged(bytes(flipped)) == (DAMAGED, files[3])
    foreign = MediumInMemory(b"\xff" * len(files[4]))
    kept = NetStore(foreign, len(files[4]) // 2, 1)
    kept.open()
    assert kept.save(NetRecord(program=1), native.program.state.tobytes()) == STORED  # type: ignore[attr-defined]
    assert exchanged(bytes(foreign.data)) == (FOREIGN, files[3])


# -- dfedge-run ------------------------------------------------------------------------------------


@pytest.fixture
def work(mcu: Bundle, dfedge_run: Path, tmp_path: Path) -> Work:
    """Sixty digits, a save after each; the net's file is the test's own."""
    net = tmp_path / "net.dfe"
    net.write_bytes((mcu.folder / "c" / "net.dfe").read_bytes())
    return work_on(dfedge_run, net, turned(mcu, "stream").take(np.arange(60)), tmp_path)


@pytest.fixture
def program(mcu: Bundle) -> NativeProgram:
    return open_runner(mcu, "native").program  # type: ignore[attr-defined]


def run(work: Work, *words: object, code: int = 0, limit: int | None = None) -> str:
    """What dfedge-run printed, the errors last; an error is one line.

    Args:
        limit: bytes that a file may have.
    """

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [str(work.app), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60,
                          preexec_fn=limited)  # fmt: skip
    assert done.returncode == code, done.stderr
    if code:
        assert "usage:" in done.stderr or done.stderr.count("\n") == 1
        assert done.stderr.startswith(("dfedge-run: ", "usage:"))
    return done.stdout + done.stderr


def train(work: Work, state: Path, *more: object, code: int = 0, limit: int | None = None) -> str:
    return run(work, "train", work.net, work.images, work.labels, "--state", state, *more,
               code=code, limit=limit)  # fmt: skip


def infer(work: Work, state: Path, code: int = 0) -> str:
    return run(work, "infer", work.net, work.images, "--state", state, code=code)


def held(work: Work, state: Path) -> tuple[int, int, bytes]:
    found = opened(state.read_bytes(), slot_bytes_of(work.net))
    assert found is not None
    return found


def test_power_lost_under_dfedge_run_loses_no_save_that_it_told_of(
    work: Work,
    mcu: Bundle,
    tmp_path: Path,
) -> None:
    few = work_on(work.app, work.net, turned(mcu, "stream").take(np.arange(6)), tmp_path)
    made = calls.record(few.command(tmp_path / "state"), tmp_path)
    slots = slot_bytes_of(work.net)
    found = calls.lose_power(made, slots)
    assert found.cases > 500
    assert found.lost == 0
    assert calls.lose_power(made[: len(made) // 2], slots, left_out="s").lost > 0


def test_every_flipped_bit_of_both_files_is_refused_or_passed_over_and_told(
    work: Work, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    train(work, state)
    for of in ("net", "state"):
        found = flip_bits(work, state, of, 100, seed=1)
        assert found.total() == 100
        assert not [name for name in (*ACCEPTED, "crashed") if found[name]], found


def test_nets_whose_checksum_was_made_right_learn_or_are_refused(
    work: Work, tmp_path: Path
) -> None:
    """2,000 of them: examples/experiments/strangers.py."""
    found = mutate_nets(work, tmp_path, 100, 1)
    assert not found.faults, found.faults
    assert found.run and found.refused


def test_cut_and_lengthened_files_are_refused_or_told_of(work: Work, tmp_path: Path) -> None:
    state = tmp_path / "state"
    train(work, state)
    good, net, saved = infer(work, state), work.net.read_bytes(), state.read_bytes()
    for kept in (0, 3, HEAD_BYTES - 1, HEAD_BYTES, len(net) // 2, len(net) - 1):
        work.net.write_bytes(net[:kept])
        infer(work, state, code=1)
    for more in (b"\0", b"\xff" * 4, net):
        work.net.write_bytes(net + more)
        infer(work, state, code=1)
    work.net.write_bytes(net)
    half = len(saved) // 2
    for kept in (0, 3, 100, half - 1):
        state.write_bytes(saved[:kept])
        assert "no valid slot" in infer(work, state, code=1)
    state.write_bytes(saved[:half])
    told = "slot B is damaged, or its save was cut short; opened slot A (save 1)"
    assert told in infer(work, state)
    state.write_bytes(saved + b"\xff")
    assert "longer than it should be" in infer(work, state, code=1)
    state.write_bytes(saved)
    assert infer(work, state) == good


def test_killed_trainings_lose_nothing_that_they_told_of_and_end_as_if_never_killed(
    work: Work, tmp_path: Path
) -> None:
    found = kill_trainings(work, tmp_path, 12, seed=2)
    assert (found.kills, found.lost, found.different) == (12, 0, 0)
    assert found.finished > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, work: Work, tmp_path: Path
) -> None:
    x = np.frombuffer(work.images.read_bytes(), np.uint8, offset=16).reshape(-1, 8, 8)
    y = np.frombuffer(work.labels.read_bytes(), np.uint8, offset=8)
    many = 100  # more lines than a pipe holds: it cannot end before it is read from
    write_idx(work.images, np.tile(x, (many, 1, 1)))
    write_idx(work.labels, np.tile(y, many))
    state, whole = tmp_path / "state", tmp_path / "whole"
    command = work.command(state)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "saved after 1 samples\n"
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    told = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    done = held(work, state)[1]
    assert 0 < done < many * len(y)
    assert errors == (
        f"dfedge-run: {work.images}: {told} after {done} of {many * len(y)} samples; what was "
        f"learned is saved; to go on: --skip {done}\n"
    )
    train(work, state, "--batch", 1, "--skip", done)
    train(work, whole, "--batch", 1)
    assert held(work, state)[1:] == held(work, whole)[1:]


def test_state_file_is_written_by_one_process_at_a_time_and_read_by_any(
    work: Work, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    train(work, state)
    before, answers = state.read_bytes(), infer(work, state)
    with state.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        for words in (("train", work.net, work.images, work.labels), ("rebase", work.net)):
            told = run(work, *words, "--state", state, code=3)
            assert told == (
                f"dfedge-run: {state}: is in use by another process that learns; wait for its end, "
                "or choose another --state\n"
            )
        assert infer(work, state) == answers
    assert state.read_bytes() == before


def test_new_state_file_is_made_by_one_process_at_a_time(work: Work, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with (tmp_path / "state.new").open("w+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert "is in use" in train(work, state, code=3)
    assert not state.exists()
    (tmp_path / "state.new").write_bytes(b"left by a process that was killed" * 9999)
    train(work, state)
    assert sorted(path.name for path in tmp_path.glob("state*")) == ["state"]
    assert len(state.read_bytes()) == 2 * slot_bytes_of(work.net)


def test_full_disk_is_told_and_leaves_what_was_saved(work: Work, tmp_path: Path) -> None:
    state = tmp_path / "state"
    told = train(work, state, code=3, limit=PAGE)
    assert told.startswith(f"dfedge-run: {state}: cannot be written (File too large); what was")
    assert not list(tmp_path.glob("state*"))
    for _ in range(2):
        train(work, state)
    before, answers = held(work, state), infer(work, state)
    assert before[0] == 3  # the next save writes the second slot
    told = train(work, state, code=3, limit=slot_bytes_of(work.net))
    assert "what was saved before is as it was (save 3); make room or choose another" in told
    assert held(work, state) == before
    assert answers in infer(work, state)


# -- which program a state belongs to --------------------------------------------------------------

LINEAGE, OTHER = "ab" * 32, "cd" * 32


def update(
    work: Work, program: NativeProgram, version: int, lineage: str = LINEAGE, rate: int = 0
) -> Path:
    """A net.dfe whose rates are halved so many times."""
    block = program.state.copy()
    if rate:
        state = program.read(block)
        state["weight_shift"] = state["weight_shift"] + rate
        state["phase"] = np.array(7, np.int32)
        block = program.block(state)
    path = work.net.with_name(f"v{version}-{lineage[:2]}-{rate}.dfe")
    path.write_bytes(image(program.table, block, Identity(lineage, version, SEMANTICS_VERSION)))
    return path


def on(work: Work, net: Path) -> Work:
    return Work(work.app, net, work.images, work.labels, work.samples)


def test_state_is_carried_over_to_an_update_of_its_program(
    work: Work, program: NativeProgram, tmp_path: Path
) -> None:
    old, state = on(work, update(work, program, 1)), tmp_path / "state"
    new = on(work, update(work, program, 2, rate=1))
    train(old, state)
    _, steps, learned = held(old, state)
    told = train(new, state, code=1)
    assert told == (
        f"dfedge-run: {state}: belongs to another program of the same lineage; to carry it over: "
        f"dfedge-run rebase {new.net} --state {state}\n"
    )
    told = run(new, "rebase", new.net, "--state", state)
    assert "carried over from version 1 of the bundle to version 2" in told
    _, carried_steps, carried = held(new, state)
    assert carried_steps == steps
    first = program.read(program.state)
    before, after = (program.read(np.frombuffer(raw, np.uint8)) for raw in (learned, carried))
    rates = {"weight_shift", "anchor_shift", "usual_error", "pace"}
    for name, value in after.items():
        wanted = before[name] if name not in rates else first[name] + (name == "weight_shift")
        assert np.array_equal(value, wanted), name
    assert not np.array_equal(before["layer0.anchors"], first["layer0.anchors"])
    assert "belongs to" in run(new, "rebase", new.net, "--state", state, code=1)
    train(new, state)


def test_older_version_of_a_program_is_refused(
    work: Work, program: NativeProgram, tmp_path: Path
) -> None:
    state, new = tmp_path / "state", on(work, update(work, program, 2))
    train(new, state)
    before = state.read_bytes()
    for rate in (0, 1):  # the same program under a lower number, and another one
        old = on(work, update(work, program, 1, rate=rate))
        wanted = (
            f"dfedge-run: {old.net}: is version 1, and {state} was learned with version 2: the "
            "bundle was rolled back; take version 2 or more, or choose another --state\n"
        )
        assert train(old, state, code=1) == wanted
        assert infer(old, state, code=1) == wanted
        assert run(old, "rebase", old.net, "--state", state, code=1) == wanted
    assert state.read_bytes() == before
    higher = on(work, update(work, program, 3))
    train(higher, state)  # the same program under a higher number, which it remembers
    assert "learned with version 3" in train(new, state, code=1)


@pytest.mark.parametrize("lineage", [OTHER, ""])
def test_program_of_another_lineage_or_of_none_is_refused(
    lineage: str, work: Work, program: NativeProgram, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    train(on(work, update(work, program, 1, lineage)), state)
    other = on(work, update(work, program, 2, "" if not lineage else LINEAGE, rate=1))
    for told in (
        train(other, state, code=1), run(other, "rebase", other.net, "--state", state, code=1),
    ):  # fmt: skip
        assert "belongs to another program; choose another --state" in told


def write_state(work: Work, path: Path, record: NetRecord, state: bytes) -> None:
    """A state file, written through the medium of a chip."""
    slots = slot_bytes_of(work.net)
    made = Flash(2 * slots, PAGE, 1)
    writer = NetStore(made, slots, 1)
    writer.open()
    assert writer.save(record, state) == STORED
    path.write_bytes(bytes(made.cells))


def record_of(path: Path, work: Work) -> NetRecord:
    reader = NetStore(calls.ReadOnly(path.read_bytes()), slot_bytes_of(work.net), 1)
    assert reader.open() == STORED
    return reader.found.record


def test_state_of_another_layout_semantics_or_with_impossible_values_is_refused(
    work: Work, program: NativeProgram, tmp_path: Path
) -> None:
    state, net = tmp_path / "state", on(work, update(work, program, 1))
    train(net, state)
    own, (_, _, learned) = record_of(state, net), held(net, state)

    def changed(**fields: int) -> NetRecord:
        record = NetRecord.from_buffer_copy(own)
        for name, value in fields.items():
            setattr(record, name, value)
        return record

    write_state(net, state, changed(layout=own.layout ^ 1), learned)
    for words in (("infer", net.net, net.images), ("rebase", net.net)):
        told = run(net, *words, "--state", state, code=1)
        assert "whose classes or rule are others" in told
    values = program.read(np.frombuffer(learned, np.uint8))
    values["phase"] = np.array(99, np.int32)
    block = program.block(values).tobytes()
    write_state(net, state, changed(semantics_version=own.semantics_version - 1), block)
    assert "to carry it over: dfedge-run rebase" in infer(net, state, code=1)
    run(net, "rebase", net.net, "--state", state)
    carried = program.read(np.frombuffer(held(net, state)[2], np.uint8))
    first = program.read(program.state)
    assert carried["phase"] == first["phase"] != 99  # the dither begins anew
    values["pace"] = np.array(-1, np.int32)
    write_state(net, state, own, program.block(values).tobytes())
    assert "a value that learning can never reach" in infer(net, state, code=1)


# -- odd files and words ---------------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused_without_waiting(work: Work, tmp_path: Path) -> None:
    folder, pipe, gone = tmp_path / "folder", tmp_path / "pipe", tmp_path / "gone"
    folder.mkdir()
    os.mkfifo(pipe)
    state = tmp_path / "state"
    train(work, state)
    for odd in (folder, pipe, Path("/dev/null"), Path("/dev/zero"), gone):
        run(work, "memory", odd, code=1)
        run(work, "infer", work.net, odd, code=1)
        run(work, "infer", work.net, work.images, odd, code=1)
        run(work, "infer", work.net, work.images, "--state", odd, code=1)
        run(work, "rebase", work.net, "--state", odd, code=1)
        if odd != gone:
            assert "no regular file" in train(work, odd, code=1)
    told = train(work, folder / "deeper" / "state", code=3)
    assert "No such file or directory" in told
    assert "too long" in train(work, Path("x" * 5000), code=1)


def test_files_of_an_older_dfedge_are_refused_in_words(work: Work, tmp_path: Path) -> None:
    state, net = tmp_path / "state", tmp_path / "old.dfe"
    state.write_bytes(b"DFS1" + bytes(6000))
    before = state.read_bytes()
    assert "older dfedge-run (DFS1)" in train(work, state, code=1)
    assert state.read_bytes() == before
    net.write_bytes(b"DFE1" + bytes(6000))
    assert "older dfedge (format 1, read: 2); export again" in run(work, "memory", net, code=1)


def sealed(raw: bytes) -> bytes:
    return raw[:8] + struct.pack("<I", zlib.crc32(raw[:8] + raw[12:])) + raw[12:]


@pytest.mark.parametrize(
    ("offset", "value", "told"),
    [
        (4, 3, "is of format 3, this dfedge-run reads 2"),
        (24, SEMANTICS_VERSION + 1, f"this dfedge-run computes {SEMANTICS_VERSION}"),
        (64, 99, "another version of dfedge-run"),
        (12, 1 << 31, "a program that cannot be run"),
        (16, 0, "a program that cannot be run"),
        (72, 1 << 30, "a program that cannot be run"),
    ],
)
def test_whole_net_that_cannot_be_run_is_refused(
    offset: int, value: int, told: str, work: Work
) -> None:
    raw = bytearray(work.net.read_bytes())
    struct.pack_into("<I", raw, offset, value)
    work.net.write_bytes(sealed(bytes(raw)))
    assert told in run(work, "memory", work.net, code=1)


def test_images_that_are_cut_or_lengthened_teach_nothing(work: Work, tmp_path: Path) -> None:
    state, raw = tmp_path / "state", work.images.read_bytes()
    for changed in (raw[:-1], raw + b"\0", raw[:7], b""):
        work.images.write_bytes(changed)
        train(work, state, code=1)
    assert not state.exists()


@pytest.mark.parametrize(
    "words",
    [
        (), ("train",), ("forget", "n"), ("memory", "n", "x"), ("infer", "n"), ("rebase", "n"),
        ("train", "n", "x", "y"), ("infer", "n", "x", "--batch"), ("infer", "n", "x", "-z"),
        ("infer", "n", "x", "--batch", "0"), ("infer", "n", "x", "--batch", "16x"),
        ("infer", "n", "x", "--skip", "-1"), ("infer", "n", "x", "--save-every", "99999999999"),
    ],
)  # fmt: skip
def test_wrong_words_are_a_usage_error(words: tuple[str, ...], work: Work) -> None:
    run(work, *words, code=2)


def test_samples_are_skipped_and_no_more_than_there_are(work: Work, tmp_path: Path) -> None:
    answers = run(work, "infer", work.net, work.images).splitlines()
    skipped = run(work, "infer", work.net, work.images, "--skip", 10).splitlines()
    assert skipped == answers[10:]
    told = run(work, "infer", work.net, work.images, "--skip", 61, code=2)
    assert told == "dfedge-run: --skip: is 61; allowed: 0 to 60\n"


def test_names_do_not_steer_the_terminal(work: Work) -> None:
    assert "\\x1b[2J: cannot be read" in run(work, "memory", "\x1b[2J", code=1)


def test_answers_that_cannot_be_written_are_an_error(work: Work) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [work.app, "infer", work.net, work.images], stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "dfedge-run: the standard output: cannot be written\n"
