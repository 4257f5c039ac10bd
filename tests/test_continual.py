"""Run learning on the device: strategies, guard, gate, resuming, the same on all runtimes."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from dfedge.bundle import Bundle
from dfedge.continual import metrics
from dfedge.continual.placing import Seen, among
from dfedge.continual.report import write_report
from dfedge.continual.result import result_of
from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import STRATEGIES
from dfedge.continual.strategies.balanced import Balanced
from dfedge.continual.strategies.none import Plain
from dfedge.continual.strategies.replay import pack, unpack
from dfedge.continual.strategies.reservoir import Reservoir
from dfedge.data.dataset import Images, Labels, Split
from dfedge.data.sources import load
from dfedge.data.streams import Experience, Stream, StreamSource
from dfedge.device.care import NO_CARE
from dfedge.device.classes import add_class, retire
from dfedge.device.known import known_samples
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError

Spoilt = Callable[[Images, Labels], tuple[Images, Labels]]

DRIFT = "drift:rotate=60,samples=200,experiences=2,test=40"
CLASSES = "class-incremental:each=5,samples=100,test=60"

PAIRS = "class-incremental:each=2"


def opened(
    bundle: Bundle, folder: Path, settings: StreamSettings, runtime: str = "onnx"
) -> StreamRun:
    session = Session.open(bundle, runtime, folder)
    return StreamRun(session, settings.make_stream(StreamSource("digits")), settings)


def learned(
    bundle: Bundle, folder: Path, settings: StreamSettings, runtime: str = "onnx"
) -> StreamRun:
    run = opened(bundle, folder, settings, runtime)
    for _ in run.moments():
        pass
    return run


def wanted(stream: str = DRIFT, **changes: object) -> StreamSettings:
    given = {"stream": stream, "data": "digits", "strategy": "none", **changes}
    return msgspec.convert(given, StreamSettings)


# -- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_state_is_the_same_on_every_runtime(strategy: str, bundle: Bundle, tmp_path: Path) -> None:
    guard = 0 if strategy == "guarded" else 16
    settings = wanted(strategy=strategy, budget=2048, guard=guard, gate=True, offset=1)
    names = ("onnx-stock", "executorch-stock", "executorch-native")
    runs = [learned(bundle, tmp_path / name, settings, name) for name in names]
    first, *others = [result_of(run) for run in runs]
    for name in ("state_sha256", "accuracy_matrix", "rollbacks", "steps", "skipped"):
        assert all(first[name] == other[name] for other in others), name


def test_scores_of_the_step_stand_for_a_look_before_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen twice, by `infer` and then by `train`, or once: the same numbers."""
    settings = wanted(wrong=0.3)
    once = learned(bundle, tmp_path / "once", settings)
    monkeypatch.setattr(Plain, "judges", lambda *_: False)
    twice = learned(bundle, tmp_path / "twice", settings)
    assert once.right == twice.right
    assert 0 < sum(once.right) < len(once.right)
    assert once.session.digest() == twice.session.digest()


def test_drift_is_followed_where_a_frozen_net_fails(bundle: Bundle, tmp_path: Path) -> None:
    run = learned(bundle, tmp_path, wanted("drift:samples=437,experiences=4", passes=2))
    matrix = np.array(run.progress.matrix)
    assert matrix.shape == (5, 4)
    assert matrix[0, 3] < 0.3
    assert matrix[4, 3] > 0.6


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_new_classes_are_learned_into_spare_rows(
    strategy: str, spare_bundle: Bundle, tmp_path: Path
) -> None:
    settings = wanted(CLASSES, strategy=strategy, budget=16384)
    run = learned(spare_bundle, tmp_path, settings)
    found = result_of(run)
    assert found["classes"] == 2 * list("0123456789")
    assert found["accuracy_matrix"][0] == [0.0, 0.0]
    assert found["accuracy_matrix"][1][1] == 0.0
    if strategy != "none":
        assert found["average_accuracy"] > 0.7
    again = Session.open(spare_bundle, "onnx", tmp_path)
    assert again.digest() == found["state_sha256"]
    assert again.classes == run.session.classes
    assert found["replay_bytes"] <= 16384 + 20 * 4 or strategy in ("none", "anchors", "guarded")


def test_replay_forgets_less_than_no_memory(spare_bundle: Bundle, tmp_path: Path) -> None:
    lost = {
        name: result_of(
            learned(
                spare_bundle,
                tmp_path / name,
                wanted(PAIRS, strategy=name, passes=3, offset=-4, pace=0),
            )
        )["forgetting"]
        for name in ("none", "balanced")
    }
    assert lost["none"] > 0.08
    assert lost["balanced"] < lost["none"] / 2


def test_anchors_placed_among_samples_recognise_more_than_their_means() -> None:
    """Classes apart in one of two features that vary together; one without samples stays."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.array([0, 2]), 200)
    p = 55 + rng.normal(0, 15, (400, 1)) + rng.normal(0, 2, (400, 8))
    p[:, 0] += 6 * rows
    p = p.round().clip(0, 127)
    seen = Seen({0: p}, {0: 0}, rows)
    anchors = np.full((4, 8), 127, np.int8)
    state = {"live": np.array([1, 1, 1, 0], np.int8), "layer0.anchors": anchors}
    made = among(state, seen)["layer0.anchors"]
    assert (made[[1, 3]] == 127).all()
    means = np.stack([p[rows == row].mean(0).round() for row in (0, 2)])

    def right(two: np.ndarray) -> int:
        away = ((p[:, None] - two.astype(float)) ** 2).sum(2)
        return int((away.argmin(1) * 2 == rows).sum())

    assert right(means) < 370 < 395 < right(made[[0, 2]])


@pytest.mark.parametrize("stop", [1, 4, 7])
@pytest.mark.parametrize("stream", [DRIFT, CLASSES])
def test_stopped_and_resumed_run_ends_in_the_same_bytes(
    stop: int, stream: str, spare_bundle: Bundle, tmp_path: Path
) -> None:
    settings = wanted(stream, strategy="balanced", budget=8192, guard=16, gate=True, offset=1,
                      passes=2)  # fmt: skip
    whole = learned(spare_bundle, tmp_path / "whole", settings)
    cut = opened(spare_bundle, tmp_path / "cut", settings)
    for number, _ in enumerate(cut.moments(), 1):
        if number == stop:
            cut.save()
            break
    rest = learned(spare_bundle, tmp_path / "cut", settings)
    assert rest.resumed == stop * settings.batch
    a, b = result_of(whole), result_of(rest)
    for name in ("state_sha256", "accuracy_matrix", "steps", "skipped", "test_then_train"):
        assert a[name] == b[name], name
    kept = [Session.open(spare_bundle, "onnx", tmp_path / name) for name in ("whole", "cut")]
    assert kept[0].digest() == kept[1].digest() == a["state_sha256"]
    assert kept[0].record == kept[1].record


@pytest.mark.parametrize("stream", [DRIFT, CLASSES])
def test_guarded_run_that_is_cut_off_anywhere_goes_on_from_what_was_judged(
    stream: str, spare_bundle: Bundle, tmp_path: Path
) -> None:
    settings = wanted(stream, strategy="guarded", passes=4, offset=1)
    whole = learned(spare_bundle, tmp_path / "whole", settings)
    a, resumed = result_of(whole), set()
    for stop in range(3, whole.progress.steps, 9):
        cut = opened(spare_bundle, tmp_path / f"{stop}", settings)
        for number, _ in enumerate(cut.moments(), 1):
            cut.save()
            if number == stop:
                break
        assert cut.saved <= cut.progress.samples
        rest = learned(spare_bundle, tmp_path / f"{stop}", settings)
        assert rest.resumed == cut.saved
        resumed.add(rest.resumed)
        b = result_of(rest)
        for name in ("state_sha256", "accuracy_matrix", "steps", "test_then_train", "rollbacks"):
            assert a[name] == b[name], (stop, name)
        assert rest.session.record == whole.session.record
    assert len(resumed) > 1


def test_finished_run_begins_anew_and_other_learning_ends_a_stopped_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    settings = wanted()
    learned(bundle, tmp_path, settings)
    assert opened(bundle, tmp_path, settings).resumed == 0
    cut = opened(bundle, tmp_path, settings)
    next(iter(cut.moments()))
    cut.save()
    assert opened(bundle, tmp_path, settings).resumed == 16
    session = Session.open(bundle, "onnx", tmp_path)
    split = load("digits").splits["stream"]
    session.learn_batch(split.x[:16], split.y[:16])
    session.save()
    assert opened(bundle, tmp_path, settings).resumed == 0


def test_gate_leaves_out_what_is_known(bundle: Bundle, tmp_path: Path) -> None:
    upright = wanted("drift:rotate=0,samples=320,experiences=1")
    plain = learned(bundle, tmp_path / "plain", upright)
    gated = learned(bundle, tmp_path / "gated", msgspec.structs.replace(upright, gate=True))
    assert gated.progress.steps < plain.progress.steps / 2
    assert gated.progress.steps + gated.progress.skipped >= 20


# -- the guard -----------------------------------------------------------------------------------


def test_guard_takes_back_what_wrong_labels_did(bundle: Bundle, tmp_path: Path) -> None:
    settings = wanted("drift:rotate=0,samples=400,experiences=1", wrong=1.0, guard=64)
    guarded = result_of(learned(bundle, tmp_path / "guarded", settings))
    bare = msgspec.structs.replace(settings, guard=0)
    unguarded = result_of(learned(bundle, tmp_path / "bare", bare))
    before = guarded["known_accuracy"][0]
    assert guarded["rollbacks"] > 0
    assert guarded["known_accuracy"][-1] >= before - 0.01
    assert unguarded["known_accuracy"][-1] < before - 0.3


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda x, y: (x, (y + 1) % 10), id="every label wrong"),
        pytest.param(lambda x, y: (x, np.random.default_rng(0).permutation(y)), id="drawn labels"),
        pytest.param(lambda x, y: (np.zeros_like(x), y), id="a blank camera"),
        pytest.param(lambda x, y: (np.full_like(x, 255), y), id="a saturated camera"),
        pytest.param(lambda x, y: (x[y == 3], y[y == 3]), id="one class only"),
    ],
)
def test_by_default_what_was_known_is_kept_whatever_comes(
    spoilt: Spoilt, bundle: Bundle, tmp_path: Path
) -> None:
    data = load("digits").splits
    x, y = spoilt(data["stream"].x, data["stream"].y)
    stream = Stream(tuple("0123456789"), (Experience("bad", Split(x, y), data["test"]),))
    settings = StreamSettings("labelled", "digits", passes=6)
    run = StreamRun(Session.open(bundle, "onnx", tmp_path), stream, settings)
    for _ in run.moments():
        pass
    before, after = (row[0] for row in run.progress.matrix)
    assert after >= before - 0.05  # of 360 test images; without care it is 0.3 and more


def test_strategy_with_a_guard_of_its_own_takes_no_other(bundle: Bundle, tmp_path: Path) -> None:
    settings = wanted(strategy="guarded", guard=16)
    with pytest.raises(UsageError, match="guarded has a guard of its own"):
        opened(bundle, tmp_path, settings)
    careless = Session.open(bundle, "onnx", tmp_path, care=NO_CARE)
    settings = wanted(strategy="guarded")
    with pytest.raises(UsageError, match="needs a session with replay and guard"):
        StreamRun(careless, settings.make_stream(StreamSource("digits")), settings)
    assert not any(tmp_path.iterdir())


def test_guard_lets_a_drift_be_learned(bundle: Bundle, tmp_path: Path) -> None:
    """Over two drifts: one alone hangs on where in it a single judgement falls.

    Turns of 60 degrees and more at once are taken back for some nets: whoever has moved on for good
    learns without this guard.
    """

    def gained(guard: int) -> float:
        total = 0.0
        for turn in (30, 45):
            settings = wanted(f"drift:rotate={turn},samples=437,experiences=2", guard=guard)
            found = result_of(learned(bundle, tmp_path / f"{guard}-{turn}", settings))
            total += found["accuracy_matrix"][-1][-1] - found["accuracy_matrix"][0][-1]
        return total

    assert gained(16) > 0.75 * gained(0)


# -- parts ---------------------------------------------------------------------------------------


def test_known_samples_carry_their_true_labels(bundle: Bundle, tmp_path: Path) -> None:
    q, rows = known_samples(bundle)
    train_split = load("digits").splits["train"]
    by_image = {x.tobytes(): y for x, y in zip(train_split.x >> 1, train_split.y, strict=True)}
    assert len(q) == 512
    assert all(by_image[one.astype(np.uint8).tobytes()] == row
               for one, row in zip(q, rows, strict=True))  # fmt: skip


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_packed_latents_lose_less_than_one_step(values: int, seed: int) -> None:
    latents = np.random.default_rng(seed).integers(0, 128, (5, values, 1, 1)).astype(np.int8)
    assert np.array_equal(unpack(pack(latents, 8), 8, (values, 1, 1)), latents)
    stored = pack(latents, 4)
    assert stored.shape == (5, (values + 1) // 2)
    back = unpack(stored, 4, (values, 1, 1))
    assert np.abs(back.astype(int) - latents).max() <= 7
    assert np.array_equal(back >> 3, latents >> 3)


@limits(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_balanced_memory_holds_as_many_of_each_class_as_there_is_room_for(seed: int) -> None:
    memory = Balanced.__new__(Balanced)
    memory.latents, memory.rows = np.zeros((20, 1), np.uint8), np.zeros(20, np.uint8)
    memory.held, memory.seen = 0, np.zeros(5, np.int32)
    rng = np.random.default_rng(seed)
    for row in [0] * 200 + [1] * 100 + [2] * 3 + [3] * 50:
        memory.offer(np.zeros(1, np.uint8), row, rng)
    counts = np.bincount(memory.rows, minlength=5)
    assert counts[2] == 3
    assert sorted(counts[[0, 1, 3]].tolist()) in ([5, 6, 6], [5, 5, 7])


def test_reservoir_keeps_every_sample_with_the_same_chance() -> None:
    kept = np.zeros(100, int)
    for seed in range(400):
        memory = Reservoir.__new__(Reservoir)
        memory.latents, memory.rows = np.zeros((10, 1), np.uint8), np.zeros(10, np.uint8)
        memory.held, memory.seen = 0, np.zeros(100, np.int32)
        rng = np.random.default_rng(seed)
        for number in range(100):
            memory.offer(np.zeros(1, np.uint8), number, rng)
        kept[memory.rows] += 1
    # 400 draws of probability 0.1: mean 40, deviation 6; four of them either way.
    assert kept.sum() == 4000
    assert kept.min() > 16
    assert kept.max() < 64


def test_figures_are_those_of_a_matrix_worked_out_by_hand() -> None:
    r = np.array([[0.2, 0.1, 0.0], [0.9, 0.3, 0.1], [0.6, 0.8, 0.4], [0.7, 0.5, 0.9]])
    assert metrics.average_accuracy(r) == pytest.approx((0.7 + 0.5 + 0.9) / 3)
    assert metrics.forgetting(r) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert metrics.backward_transfer(r) == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert metrics.forward_transfer(r) == pytest.approx(((0.3 - 0.1) + (0.4 - 0.0)) / 2)


def test_shifts_are_the_bundles_again_after_a_run(bundle: Bundle, tmp_path: Path) -> None:
    run = learned(bundle, tmp_path, wanted(offset=1, pace=0))
    state, initial = run.session.runner.get_state(), bundle.initial_state()
    for name in ("weight_shift", "anchor_shift", "pace"):
        assert np.array_equal(state[name], initial[name])


def test_report_is_one_file_with_its_plots(bundle: Bundle, tmp_path: Path) -> None:
    run = learned(bundle, tmp_path, wanted())
    write_report(run, result_of(run), tmp_path / "page" / "report.html")
    page = (tmp_path / "page" / "report.html").read_text()
    assert page.count("<svg") == 3
    assert page.index("</h1>") < page.index('<p class="verdict">Accuracy') < page.index("<svg")
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")


# -- classes -------------------------------------------------------------------------------------


def test_added_class_is_named_and_survives(spare_bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(spare_bundle, "onnx", tmp_path)
    images = np.full((4, 8, 8, 1), 200, np.uint8)
    images[:, ::2] = 0
    assert add_class(session, "stripes", images) == 10
    assert session.predict(images[0]).name == "stripes"
    session.save()
    again = Session.open(spare_bundle, "onnx", tmp_path)
    assert again.classes[10] == "stripes"
    again.learn(images[0], "stripes")
    first = Session.open(spare_bundle, "onnx", tmp_path, initial=True)
    assert first.classes == tuple("0123456789")


def test_retired_classes_never_win(spare_bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(spare_bundle, "onnx", tmp_path)
    retire(session)
    split = load("digits").splits["test"]
    add_class(session, "any", split.x[:5])
    assert (session.scores(split.x[:50]).argmax(1) == 10).all()


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (wanted(CLASSES), DfedgeError, "10 new class.*has 0 spare row.*--spare-classes 10"),
        (wanted(strategy="reservoir", budget=64), DfedgeError, "holds no sample: one takes 65"),
        (wanted(strategy="dreams"), UsageError, "unknown strategy 'dreams'; known: anchors"),
    ],
)
def test_settings_that_do_not_suit_the_bundle_leave_the_state_untouched(
    settings: StreamSettings, error: type[DfedgeError], message: str, bundle: Bundle, tmp_path: Path
) -> None:
    session = Session.open(bundle, "onnx", tmp_path / "state")
    before = session.digest()
    with pytest.raises(error, match=message):
        StreamRun(session, settings.make_stream(StreamSource("digits")), settings)
    assert session.digest() == before
    assert not (tmp_path / "state").exists()


def test_empty_experience_is_refused() -> None:
    split = load("digits").splits["test"]
    none = split.take(np.empty(0, np.int64))
    with pytest.raises(DfedgeError, match="experience 'night' has no train samples"):
        Experience("night", none, split)
    with pytest.raises(DfedgeError, match="no experiences"):
        Stream(("a",), ())


def test_class_that_is_there_or_nameless_is_refused(spare_bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(spare_bundle, "onnx", tmp_path)
    before, x = session.digest(), np.zeros((1, 8, 8), np.uint8)
    for name, message in (("3", "is there already"), ("", "a name has no letter")):
        with pytest.raises(DfedgeError, match=message):
            add_class(session, name, x)
    assert session.digest() == before


def test_labels_of_a_stream_are_matched_by_name(bundle: Bundle, tmp_path: Path) -> None:
    """A stream that numbers its classes otherwise is still learned into the right rows."""
    split = load("digits").splits["test"]
    turned = Stream(tuple("9876543210"), (Experience("all", split, split),))
    assert isinstance(split, Split)
    mixed = Stream(turned.classes, (Experience("all", Split(split.x, 9 - split.y),
                                               Split(split.x, 9 - split.y)),))  # fmt: skip
    settings = wanted()
    run = StreamRun(Session.open(bundle, "onnx", tmp_path), mixed, settings)
    next(iter(run.moments()))
    assert run.progress.matrix[0][0] > 0.9
