"""A new class in C: the same bytes as `dfedge.device.classes` and `dfedge.continual.placing`."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_care_c import Samples, at
from test_on_device import needs
from trials.random_nets import Drawn, draw

from dfedge.continual.placing import LOST, look, place
from dfedge.device.anchors import mean
from dfedge.device.lock import SharedLock
from dfedge.exporters.golden import to_arrays
from dfedge.native import build
from dfedge.native.program import FEATURES, INFER, TRAIN, NativeProgram
from dfedge.native.table import make_table

pytestmark = needs(build.COMPILERS[0])
JUDGING = 12
AT, INT, SIZE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t


class NewClass(ctypes.Structure):
    """``dfe_new_class``."""

    _fields_ = [
        ("program", AT), ("state", AT), ("row", INT), ("own", INT), ("first", AT), ("x", AT),
        ("count", INT), ("known", Samples), ("judge", Samples), ("lost", INT), ("room", AT),
        ("room_bytes", SIZE), ("arena", AT), ("arena_bytes", SIZE),
    ]  # fmt: skip


class Case:
    """A random net with a row to spare, samples of the new class and known ones."""

    def __init__(self, seed: int) -> None:
        drawn = self.drawn(seed)
        rng = np.random.default_rng(seed)
        self.plan, state = drawn.plan, to_arrays(drawn.state)
        self.row = int(rng.integers(2, self.plan.classes))
        state["live"][self.row] = 0
        if self.plan.cut and seed % 2:
            state["layer0.anchors"][:] = 0  # of a frozen layer: it has no say
        self.program = NativeProgram(self.plan, make_table(self.plan, state))
        self.program.write(state)
        shape = self.plan.input_shape
        self.x = rng.integers(0, 128, (3, *shape)).astype(np.int8)
        self.known = rng.integers(0, 128, (24, *shape)).astype(np.int8)
        scores = self.program.infer(self.known)
        rows = np.where(rng.random(24) < 0.7, scores.argmax(1), rng.integers(0, self.plan.classes))
        self.rows = np.where(rows == self.row, 0, rows).astype(np.int32)
        self.own = int(rng.integers(1, self.row + 1))
        self.judge = rng.integers(0, 128, (JUDGING, *shape)).astype(np.int8)
        best = self.program.infer(self.judge)[:, : self.own].argmax(1)
        drawn = rng.integers(0, self.own, JUDGING)
        self.judge_rows = np.where(rng.random(JUDGING) < 0.8, best, drawn).astype(np.int32)
        self.first = self.moved_since(rng) if seed % 3 else None
        seen, classes = sum(layer.features for layer in self.plan.layers), self.plan.classes
        each, row = 16 + 8 * classes + seen, 8 + 2 * seen
        samples = len(self.x) + len(self.known)
        self.room = np.zeros(
            samples * each + JUDGING * (16 + seen) + classes * row + seen + 8, np.uint8
        )
        self.arena = np.zeros(
            max(self.program.arena_bytes(call, 1) for call in (INFER, TRAIN)), np.uint8
        )

    def moved_since(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A state whose anchors stood elsewhere, as before another class was added."""
        other, state = NativeProgram(self.plan, self.program.table), self.program.read()
        for name in [name for name in state if name.endswith("anchors")]:
            turned = state[name] + rng.integers(-2, 3, state[name].shape)
            state[name] = np.where(state[name].any(), turned.clip(0, 127), 0).astype(np.int8)
        other.write(state)
        return other.state.copy()

    @staticmethod
    def drawn(seed: int) -> Drawn:
        """The first one-pass net of more than two classes from a seed on."""
        while True:
            found = draw(seed)
            if found.plan.form == "one-pass" and 2 < found.plan.classes < 40:
                return found
            seed += 1000

    def here(self, lost: int) -> bytes:
        """The state after Python's rule."""
        return placed(self.program, self.row, self.x, (self.known, self.rows),
                      (self.judge, self.judge_rows), lost, self.own, self.first)  # fmt: skip

    def in_c(self, lost: int = LOST, **other: Any) -> int:
        """A status; the state changes."""
        room = self.room[-self.room.ctypes.data % 8 :]
        given = NewClass(
            at(self.program._words), at(self.program.state), self.row, self.own,
            None if self.first is None else at(self.first),
            at(self.x), len(self.x), Samples(at(self.known), at(self.rows), len(self.rows)),
            Samples(at(self.judge), at(self.judge_rows), len(self.judge_rows)), lost,
            at(room), room.nbytes,
            at(self.arena), self.arena.nbytes,
        )  # fmt: skip
        for name, value in other.items():
            setattr(given, name, value)
        return int(self.program.library.dfe_add_class(ctypes.byref(given)))


def placed(
    program: NativeProgram,
    row: int,
    x: Any,
    known: tuple[Any, Any],
    judge: tuple[Any, Any],
    lost: int,
    own: int,
    first: NDArray[np.uint8] | None,
) -> bytes:
    """The state after Python's rule.

    own: rows of the bundle's own classes; first: the state that was exported, and all anchors move.
    """
    plan, other = program.plan, NativeProgram(program.plan, program.table)
    begun = None
    if first is not None:
        other.state[:] = first
        begun = other.read()
    other.write(program.read())
    state, seen = other.read(), other.features(x)
    for i, p in enumerate(seen[:-1]):
        anchors = state[f"layer{i}.anchors"]
        if i >= plan.cut or anchors.any():
            anchors[row] = mean(p.sum(0, dtype=np.int64), len(x))
    state["live"][row] = 1
    other.write(state)
    session: Any = SimpleNamespace(
        settle=lambda: None, lock=SharedLock(side_by_side=True),
        runner=SimpleNamespace(get_state=other.read, set_state=other.write),
        bundle=SimpleNamespace(manifest=SimpleNamespace(plan=plan, classes=("",) * own)),
        seen=lambda q: [(slice(None), *split(other.features(q)))],
    )  # fmt: skip
    (q, rows), (judged, judged_rows) = (
        (q[alive], rows[alive].astype(np.int64))
        for q, rows in (known, judge)
        for alive in [state["live"][rows] == 1]
    )
    if len(rows):
        seen = look(session, np.concatenate([x, q]), np.append(np.full(len(x), row), rows))
        place(session, row, seen, look(session, judged, judged_rows), lost, begun)
    return other.state.tobytes()


def split(found: list[Any]) -> tuple[list[Any], Any]:
    return found[:-1], found[-1]


@pytest.mark.parametrize("lost", [0, LOST, 100])
def test_anchors_stand_where_python_places_them(lost: int) -> None:
    moved = 0
    for seed in range(30):
        case = Case(seed)
        before, wanted = case.program.state.tobytes(), case.here(lost)
        assert case.program.arena_bytes(FEATURES, 1) <= case.arena.nbytes
        assert case.in_c(lost) == 0
        assert case.program.state.tobytes() == wanted, seed
        moved += wanted != before
    assert moved == 30


def test_without_known_samples_the_anchors_are_means() -> None:
    case = Case(1)
    case.rows, case.known = case.rows[:0], case.known[:0]
    wanted = case.here(LOST)
    assert case.in_c() == 0
    assert case.program.state.tobytes() == wanted


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"row": -1}, 7), ({"row": 0}, 7), ({"own": -1}, 7), ({"count": 0}, 3),
        ({"room_bytes": 100}, 10), ({"arena_bytes": 16}, 4),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_before_anything_changes(
    other: dict[str, int], status: int
) -> None:
    case = Case(2)
    before = case.program.state.tobytes()
    assert case.in_c(**other) == status
    case.x[0] = -1
    assert case.in_c() == 6
    assert case.program.state.tobytes() == before
