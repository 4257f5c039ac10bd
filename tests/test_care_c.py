"""The C interface learns without doing harm, by the rule of `dfedge.device.care`."""

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_on_device import needs
from trials.board import PROGRAMS, Raw, built, data, emulated, output, ram_bytes
from trials.random_nets import draw

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.sources import load_split
from dfedge.device import care
from dfedge.device.care import WAYS
from dfedge.device.exam import surely_kept, usual_error
from dfedge.device.keeper import part_way
from dfedge.device.known import Known, guarded_rates, judging_samples, known_samples
from dfedge.device.rates import slowed
from dfedge.device.runners import open_runner
from dfedge.native import build
from dfedge.native.known import files, fitting
from dfedge.native.library import load
from dfedge.native.program import TRAIN, NativeProgram
from dfedge.native.table import make_table
from dfedge.state import MOVED, SHIFTS

pytestmark = needs(build.COMPILERS[0])
LABELS = 300
KEEP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)


class Samples(ctypes.Structure):
    """``dfe_samples``."""

    _fields_ = [("x", ctypes.c_void_p), ("y", ctypes.c_void_p), ("count", ctypes.c_int32)]


class Fields(ctypes.Structure):
    """``dfe_care``."""

    _fields_ = [
        ("program", ctypes.c_void_p), ("state", ctypes.c_void_p), ("good", ctypes.c_void_p),
        ("keep", KEEP), ("first", ctypes.c_void_p), ("weight_shift", ctypes.c_void_p),
        ("anchor_shift", ctypes.c_void_p), ("replay", Samples), ("judge", Samples),
        ("recent_x", ctypes.c_void_p), ("recent_y", ctypes.c_void_p),
        ("recent_most", ctypes.c_int32), ("words", ctypes.c_void_p), ("arena", ctypes.c_void_p),
        ("arena_bytes", ctypes.c_size_t), ("replace", ctypes.c_int32),
        ("no_replay", ctypes.c_int32), ("no_guard", ctypes.c_int32), ("samples", ctypes.c_uint32),
        ("doublings", ctypes.c_int32), ("caution", ctypes.c_int32), ("judgements", ctypes.c_int32),
        ("partly", ctypes.c_int32), ("wholly", ctypes.c_int32), ("known_first", ctypes.c_int32),
        ("known", ctypes.c_int32), ("replayed_first", ctypes.c_int32), ("usual", ctypes.c_int32),
        ("presented", ctypes.c_int32), ("length", ctypes.c_int32), ("halvings", ctypes.c_int32),
        ("taught", ctypes.c_int32), ("recent", ctypes.c_int32), ("watched", ctypes.c_int32),
        ("right", ctypes.c_int32), ("stride", ctypes.c_int32),
        ("begun", ctypes.c_int32),
    ]  # fmt: skip


def at(array: NDArray[Any]) -> int:
    return array.ctypes.data


class Learner:
    """``dfe_care`` over a bundle, with the memory that it needs; begun."""

    def __init__(self, bundle: Bundle, replayed: Known | None = None, **given: Any) -> None:
        self.program: NativeProgram = open_runner(bundle, "native").program  # type: ignore[attr-defined]
        self.library, self.table = self.program.library, self.program.table.words
        self.samples = {
            name: (np.ascontiguousarray(x), y.astype(np.int32))
            for name, (x, y) in (
                ("replay", replayed or known_samples(bundle)), ("judge", judging_samples(bundle)),
            )
        }  # fmt: skip
        plan = self.program.plan
        self.first = self.program.state.copy()
        self.good = np.zeros_like(self.first)
        bits = -(-len(self.samples["judge"][1]) // 32)
        self.words = np.zeros(plan.classes + len(plan.layers) + bits, np.int32)
        self.recent = np.zeros((8, *plan.input_shape), np.int8), np.zeros(8, np.int32)
        self.arena = np.zeros(self.program.arena_bytes(TRAIN, 1), np.uint8)
        self.care = Fields(
            program=at(self.table), state=at(self.program.state), good=at(self.good),
            recent_x=at(self.recent[0]), recent_y=at(self.recent[1]), recent_most=8,
            words=at(self.words), arena=at(self.arena), arena_bytes=self.arena.nbytes,
        )  # fmt: skip
        self.rates = guarded_rates(bundle, replace=False)
        for name, value in self.rates.items():
            setattr(self.care, name, at(value))
        for name, (x, y) in self.samples.items():
            setattr(self.care, name, Samples(at(x), at(y), len(y)))
        for name, value in given.items():
            setattr(self.care, name, value)
        self.scores = np.zeros(plan.classes, np.int32)

    def begin(self) -> int:
        return self.library.dfe_care_begin(ctypes.byref(self.care))

    def learn(self, x: NDArray[np.int8], y: int) -> int:
        x = np.ascontiguousarray(x)
        return self.library.dfe_learn(ctypes.byref(self.care), at(x), int(y), at(self.scores))

    def end(self) -> int:
        return self.library.dfe_care_end(ctypes.byref(self.care))

    def known(self) -> int:
        x, y = self.samples["judge"]
        return int((self.program.infer(x).argmax(1) == y).sum())


def learner(bundle: Bundle, **given: Any) -> Learner:
    made = Learner(bundle, **given)
    assert made.begin() == 0
    return made


def digits(bundle: Bundle, split: str, shift: str | None) -> Split:
    m = bundle.manifest
    return load_split("digits", None, m.input, m.classes, (split,), shift)[1]


def stream(
    bundle: Bundle, count: int = LABELS, moved: int = 0, shift: str | None = None
) -> tuple[NDArray[Any], ...]:
    found = digits(bundle, "stream", shift)
    return to_input(found.x[:count]), (found.y[:count] + moved) % 10


def raw_stream(bundle: Bundle, moved: int = 0, shift: str | None = None) -> Raw:
    """The same as a camera gives it, and images to judge."""
    found, test = (
        digits(bundle, "stream", shift).take(np.arange(LABELS)),
        digits(bundle, "test", shift),
    )
    return Raw("uint8_t", found.x, (found.y + moved) % 10, test.x, test.y, LABELS)


def taught(made: Learner, x: NDArray[Any], y: NDArray[Any]) -> Learner:
    for one, label in zip(x, y, strict=True):
        assert made.learn(one, label) == 0
    assert made.end() == 0
    return made


def test_its_numbers_are_those_of_python() -> None:
    source = (build.SOURCES / "care.c").read_text()
    listed = re.search(r"enum \{\n(.*?)\};", source, re.S)
    ways = re.search(r"ways\[\]\[2\] = \{(.*?)\};", source)
    assert listed and ways
    numbers = {name: int(n) for name, n in re.findall(r"(\w+) = (-?\d+),", listed[1])}
    assert len(numbers) >= 10
    assert numbers == {name: getattr(care, name) for name in numbers}
    assert tuple((int(a), int(b)) for a, b in re.findall(r"\{(\d), (\d)\}", ways[1])) == WAYS


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_what_is_surely_kept_is_as_defined(count: int, lost: int, won: int) -> None:
    lost, won = min(lost, count), min(won, count - min(lost, count))
    first, now = np.zeros(count, bool), np.zeros(count, bool)
    first[:lost] = now[lost : lost + won] = True
    wanted = surely_kept(first, now)
    assert bool(load().dfe_surely_kept(count, lost, won)) == wanted
    assert wanted == (lost - won + (lost + won) ** 0.5 <= 3 * count / 100 + 1e-9)


def test_its_own_digits_keep_what_is_known(bundle: Bundle) -> None:
    made = learner(bundle)
    before = made.known()
    assert made.care.known_first == before
    taught(made, *stream(bundle))
    assert made.known() >= made.care.known_first - 1
    assert made.care.samples == LABELS
    assert made.care.judgements == 2  # after 256 new samples, and at the end
    assert not np.array_equal(made.program.state, made.first)
    assert np.array_equal(made.program.state, made.good)


def test_wrong_labels_take_nothing_of_what_was_known_but_would_without_care(
    bundle: Bundle,
) -> None:
    made = learner(bundle)
    for _ in range(3):
        taught(made, *stream(bundle, moved=1))
    count = made.care.judge.count
    assert made.known() >= made.care.known_first - 1
    assert made.care.partly + made.care.wholly > 0
    careless = learner(bundle, no_guard=1, no_replay=1)
    before = careless.known()
    taught(careless, *stream(bundle, moved=1))
    assert careless.known() < before - count // 4
    assert careless.care.judgements == 0


def test_without_care_it_is_dfe_step(bundle: Bundle) -> None:
    x, y = stream(bundle, 100)
    made = taught(learner(bundle, no_guard=1, no_replay=1), x, y)
    plain = open_runner(bundle, "native")
    for one, label in zip(x, y, strict=True):
        plain.train(one[None], np.array([label], np.int32))
    assert np.array_equal(made.program.state, plain.program.state)  # type: ignore[attr-defined]


def test_replays_one_for_each_and_each_once_a_pass(bundle: Bundle) -> None:
    x, y = stream(bundle, 24)
    known = [values[:7] for values in known_samples(bundle)]
    made = taught(learner(bundle, replayed=tuple(known), no_guard=1), x, y)
    assert sorted(i * made.care.stride % 7 for i in range(7)) == list(range(7))
    plain = open_runner(bundle, "native")
    for seen, (one, label) in enumerate(zip(x, y, strict=True)):
        plain.train(one[None], np.array([label], np.int32))
        k = seen * made.care.stride % 7
        plain.train(known[0][k : k + 1], known[1][k : k + 1].astype(np.int32))
    assert np.array_equal(made.program.state, plain.program.state)  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 64, 97, 256])
def test_order_of_replay_takes_every_sample(bundle: Bundle, count: int) -> None:
    x, y = known_samples(bundle)
    made = learner(bundle, replayed=(x[np.arange(count) % len(x)], y[np.arange(count) % len(y)]))
    assert len({i * made.care.stride % count for i in range(count)}) == count


@pytest.mark.parametrize(("kept", "of"), WAYS)
def test_part_way_is_that_of_python(bundle: Bundle, kept: int, of: int) -> None:
    made = learner(bundle, no_guard=1, no_replay=1)
    good = made.program.read()
    taught(made, *stream(bundle, 60, moved=1))
    now = made.program.read()
    wanted = part_way(good, now, kept, of)
    made.library.dfe_part_way(at(made.table), at(made.program.state), at(made.first), kept, of)
    assert np.array_equal(made.program.state, made.program.block(wanted))
    assert not np.array_equal(made.program.state, made.first)
    assert not np.array_equal(made.program.state, made.program.block(now))


@pytest.mark.parametrize("seed", range(12))
def test_part_way_of_any_net_is_that_of_python(seed: int) -> None:
    """Residual and depthwise layers, both forms, frozen layers."""
    drawn, rng = draw(seed), np.random.default_rng(seed)
    kept, of = WAYS[seed % len(WAYS)]
    good = {name: value.numpy() for name, value in drawn.state.items()}
    now = {
        name: rng.integers(0, 127, value.shape, np.int32).astype(value.dtype)
        if name.endswith(MOVED) else value
        for name, value in good.items()
    }  # fmt: skip
    program = NativeProgram(drawn.plan, make_table(drawn.plan, good))
    state, other, table = program.block(now), program.block(good), program.table.words
    program.library.dfe_part_way(at(table), at(state), at(other), kept, of)
    assert np.array_equal(state, program.block(dict(part_way(good, now, kept, of))))
    assert not np.array_equal(state, program.block(now))


def rates(made: Learner) -> list[Any]:
    """Shifts of its state as they are now."""
    state = made.program.read()
    return [state[name].tolist() for name in SHIFTS]


def test_rates_are_halved_towards_the_end_of_a_period_and_whole_after_it(bundle: Bundle) -> None:
    made = learner(bundle)
    first = made.program.read()
    x, y = stream(bundle)
    seen = []
    for i in range(256):
        assert made.learn(x[i], y[i]) == 0
        wanted = [[slowed(first, h)[name].tolist() for name in SHIFTS] for h in range(4)]
        seen.append(wanted.index(rates(made)))
    assert [seen.index(h) for h in (1, 2, 3)] == [127, 191, 223]  # for the next step
    assert seen[-1] == 0
    assert made.care.judgements == 1
    assert made.care.doublings in (0, 1)


def test_goes_all_of_the_way_back_and_slows_down_where_nothing_else_is_enough(
    bundle: Bundle,
) -> None:
    made = learner(bundle, caution=1)
    made.care.known_first = 2 * made.care.judge.count  # what no state reaches
    taught(made, *stream(bundle, 5))
    assert (made.care.judgements, made.care.partly, made.care.wholly) == (1, 0, 1)
    assert (made.care.caution, made.care.doublings) == (2, 0)
    wanted = made.program.block(slowed(made.program.read(made.first), 2))
    assert np.array_equal(made.program.state, wanted)
    assert np.array_equal(made.good, wanted)


@pytest.mark.parametrize("field", ["known_first", "replayed_first"])
def test_what_loses_too_many_of_what_judges_or_is_replayed_is_taken_back(
    bundle: Bundle, field: str
) -> None:
    for lost, wholly in ((0, 0), (100, 1)):
        made = learner(bundle)
        setattr(made.care, field, getattr(made.care, field) + lost)
        taught(made, *stream(bundle, 5))
        assert (made.care.judgements, made.care.wholly) == (1, wholly)


def test_a_period_is_over_where_a_quarter_of_what_is_replayed_is_lost(bundle: Bundle) -> None:
    made = learner(bundle)
    x, y = stream(bundle)
    for i in range(63):
        assert made.learn(x[i], y[i]) == 0
    assert made.care.watched == 63
    assert made.care.right >= 50
    made.care.right = 40  # of 64, and at first it knew nearly all
    assert made.learn(x[63], y[63]) == 0
    assert (made.care.judgements, made.care.watched, made.care.right) == (1, 0, 0)
    made.care.right = 55
    for i in range(64, 128):
        assert made.learn(x[i], y[i]) == 0
    assert (made.care.judgements, made.care.watched) == (1, 0)


@pytest.mark.parametrize("count", [1, 7, 64, 256, 5000])
def test_the_usual_error_is_that_of_python(bundle: Bundle, count: int) -> None:
    library = Learner(bundle).library
    for right in {*range(0, count + 1, max(count // 16, 1)), count}:
        found = library.dfe_usual_error(right, count)
        assert found == usual_error(right, count)
        exact = (count - right + max(right * (count - right) / count, 0.25) ** 0.5) / count
        assert found == pytest.approx(65536 * exact, abs=65)


def test_the_usual_error_follows_what_is_known_and_is_never_above_the_bundles(
    bundle: Bundle,
) -> None:
    made = learner(bundle)
    first, count = int(made.program.read()["usual_error"]), made.care.judge.count
    assert first == min(usual_error(made.known(), count), made.care.usual)
    made.program.state[:] = made.program.block({**made.program.read(), "usual_error": np.int32(9)})
    made.care.first = at(made.first)
    assert made.begin() == 0
    assert made.program.read()["usual_error"] == first
    taught(made, *stream(bundle, 5))
    assert made.program.read()["usual_error"] == min(usual_error(made.known(), count), first)
    assert learner(bundle, replace=1).program.read()["usual_error"] == 0


def test_rates_begin_as_measured_halved_by_the_caution_that_was_kept(bundle: Bundle) -> None:
    own = guarded_rates(bundle, replace=False)
    measured = {name: value + 3 for name, value in own.items()}
    given = {name: at(value) for name, value in measured.items()}
    for caution in (0, 2):
        made = learner(bundle, caution=caution, **given)
        assert rates(made) == [(measured[name] + caution).tolist() for name in SHIFTS]
    as_it_was = Learner(bundle, weight_shift=None, anchor_shift=None)
    first = as_it_was.program.read()
    assert as_it_was.begin() == 0
    assert rates(as_it_was) == [first[name].tolist() for name in SHIFTS]


def test_every_eighth_new_sample_judges_where_the_old_may_go(bundle: Bundle) -> None:
    made = learner(bundle, replace=1)
    assert made.care.known_first == 0
    x, y = stream(bundle)
    for i in range(40):
        assert made.learn(x[i], y[i]) == 0
    assert made.care.recent == 5
    made.program.state[:] = made.program.block(blank(made.program))
    assert made.learn(x[40], y[40]) == 0
    assert made.end() == 0
    assert made.care.recent == 0  # judged, and forgotten
    assert made.care.partly + made.care.wholly == 1


def blank(program: NativeProgram) -> dict[str, NDArray[Any]]:
    """A state that tells nothing apart."""
    return {
        name: np.zeros_like(value) if name.endswith((".weight", ".anchors")) else value
        for name, value in program.read().items()
    }


def test_a_learner_that_begins_again_measures_by_the_state_that_was_exported(
    bundle: Bundle,
) -> None:
    made = learner(bundle, no_guard=1, no_replay=1)
    before = made.known()
    taught(made, *stream(bundle, moved=1))
    assert made.known() < before - 20
    made.care.no_guard = 0
    made.care.first = at(made.first)
    assert made.begin() == 0
    assert made.care.known_first == before
    live = made.program.table.tensors["live"].offset
    made.program.state[live] = 0  # a class was retired: it cannot be kept
    assert made.begin() == 0
    assert made.care.known_first == 0


def test_a_good_state_in_flash_is_kept_by_the_caller(bundle: Bundle) -> None:
    kept: list[bytes] = []

    @KEEP
    def keep(good: int, state: int, size: int) -> int:
        kept.append(ctypes.string_at(state, size))
        ctypes.memmove(good, state, size)
        return 0

    made = learner(bundle, keep=keep)
    taught(made, *stream(bundle, 260))
    assert len(kept) == 3  # at the beginning, after 256, at the end
    assert kept[0] == made.first.tobytes()
    assert kept[-1] == made.program.state.tobytes()
    made.care.keep = KEEP(lambda *_: 8)
    assert made.begin() == 8
    assert made.learn(stream(bundle, 1)[0][0], 0) == 9  # not begun


def test_what_cannot_be_used_is_refused_before_anything_changes(bundle: Bundle) -> None:
    x, _ = stream(bundle, 1)
    made = Learner(bundle)
    assert made.learn(x[0], 0) == 9
    assert made.end() == 9
    for field, value, status in (
        ("good", None, 10), ("words", None, 10), ("arena_bytes", 8, 4),
        ("good", at(made.good) + 1, 5),
    ):  # fmt: skip
        assert Learner(bundle, **{field: value}).begin() == status, field
    wrong = known_samples(bundle)
    assert Learner(bundle, replayed=(wrong[0], wrong[1] + 5)).begin() == 7
    assert Learner(bundle, replayed=(-1 - wrong[0], wrong[1])).begin() == 6
    assert made.begin() == 0
    assert made.learn(x[0], 10) == 7
    assert made.learn(-1 - x[0], 0) == 6
    assert np.array_equal(made.program.state, made.first)
    assert made.care.samples == 0


def test_known_samples_in_c_are_as_many_as_fit() -> None:
    known = {
        f"{part}.{name}": values
        for part in ("replay", "judge")
        for name, values in (("x", np.ones((100, 4, 4, 1), np.int8)), ("y", np.arange(100)))
    }
    assert {len(values) for values in fitting(known, 1 << 20).values()} == {64}
    assert {len(values) for values in fitting(known, 400).values()} == {10}
    assert fitting(known, 39) == fitting({}, 1 << 20) == {}
    assert fitting({**known, "judge.y": np.arange(0)}, 1 << 20) == {}
    text = files(fitting(known, 400))
    assert "#define NET_REPLAYED 10" in text["net_known.h"]
    assert "#define NET_KNOWN_BYTES 400 " in text["net_known.h"]
    assert files({}) == {}


def told_here(bundle: Bundle, found: dict[str, str], x: NDArray[Any], y: NDArray[Any]) -> Learner:
    """Its care over this machine's library, held against what care.c printed of the same."""
    known, here = bundle.known(), Learner(bundle)
    for name in ("replay", "judge"):
        here.samples[name] = part = known[f"{name}.x"][:64], known[f"{name}.y"][:64]
        setattr(here.care, name, Samples(at(part[0]), at(part[1]), 64))
    assert here.begin() == 0
    taught(here, x, y)
    assert bytes.fromhex(found["state"]) == here.program.state.tobytes()
    assert (int(found["least"]), int(found["known"])) == (here.care.known_first, here.known())
    assert int(found["judged"]) == here.care.judgements
    assert int(found["taken_back"]) == here.care.partly + here.care.wholly
    assert int(found["counted"]) == len(x)
    return here


@needs("cmake")
def test_exported_sources_learn_without_harm(bundle: Bundle, tmp_path: Path) -> None:
    """As a device would: net_known.h alone, wrong labels, the same state as here."""
    raw = raw_stream(bundle, moved=1)
    found = output(built(bundle.folder / "c", data(raw, tmp_path), PROGRAMS / "care.c"))
    assert int(found["known"]) >= int(found["least"]) > 0
    assert int(found["taken_back"]) > 0
    told_here(bundle, found, *stream(bundle, moved=1))


@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
def test_a_chip_of_32_kilobytes_learns_turned_digits_with_guard_and_replay_to_the_same_bytes(
    mcu: Bundle, tmp_path: Path
) -> None:
    raw = raw_stream(mcu, shift="rotate:90")
    app = built(mcu.folder / "c", data(raw, tmp_path), PROGRAMS / "care.c", "mps2-an386")
    found = emulated("mps2-an386", app)
    here = told_here(mcu, found, *stream(mcu, shift="rotate:90"))
    x = to_input(raw.test)
    assert int(found["after"]) == int((here.program.infer(x).argmax(1) == raw.labels).sum())
    assert int(found["after"]) > int(found["before"])
    used = ram_bytes(app) + int(found["stack"])
    print(f"{used:,} B of RAM, {found['care']} of them of the care, stack {found['stack']}")
    assert used <= 32 * 1024
