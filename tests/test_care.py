"""Learning does no harm: replay, the guard, what is told, what is saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device.care import NO_CARE, Care
from dfedge.device.classes import add_class
from dfedge.device.evaluate import evaluate
from dfedge.device.exam import New, usual_error
from dfedge.device.finetune import finetune, fresh, held_back, steps
from dfedge.device.keeper import Keeper, part_way
from dfedge.device.known import judging_samples, known_samples
from dfedge.device.rates import set_rates, slowed
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving, StateRecord
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn import kept
from dfedge.learn.run import Run
from dfedge.state import SHIFTS


def digits(bundle: Bundle, name: str, shift: str | None = None) -> Split:
    manifest = bundle.manifest
    return load_split("digits", None, manifest.input, manifest.classes, (name,), shift)[1]


def job(samples: int, batch: int = 16) -> FinetuneJob:
    return FinetuneJob("digits", "stream", "", 0, batch, samples)


def opened(bundle: Bundle, folder: Path, care: Care | None = None) -> Session:
    return Session.open(bundle, "native", folder, initial=True, care=care)


def known(session: Session) -> float:
    q, rows = judging_samples(session.bundle)
    return float((session.scores_of_input(q).argmax(1) == rows).mean())


def harmful(bundle: Bundle, kind: str) -> Split:
    """What a device should not believe."""
    stream = digits(bundle, "stream")
    match kind:
        case "wrong labels":
            return Split(stream.x, (stream.y + 1) % 10)
        case "blank":
            return Split(np.zeros_like(stream.x), np.full_like(stream.y, 3))
        case "saturated":
            return Split(np.full_like(stream.x, 255), np.full_like(stream.y, 3))
        case _:
            return stream.take(np.flatnonzero(stream.y == 5))


def test_a_bundle_brings_samples_to_replay_and_others_to_judge_by(
    bundle: Bundle, run_folder: Path
) -> None:
    held = kept.read(run_folder)
    assert held is not None
    (q, rows), (judging, labels) = known_samples(bundle), judging_samples(bundle)
    inputs = {one.tobytes() for one in (held.trained.x >> 1).astype(np.int8)}
    assert all(one.tobytes() in inputs for one in q)
    assert not any(one.tobytes() in inputs for one in judging)
    assert np.bincount(rows, minlength=10).min() >= 20  # of each class as many as there is room for
    assert len(labels) == len(held.held_out)


@pytest.mark.parametrize("kind", ["wrong labels", "blank", "saturated", "one class"])
def test_what_was_known_stays_whatever_is_taught(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    session = opened(bundle, tmp_path)
    before = known(session)
    outcome = finetune(session, harmful(bundle, kind), job(1600))
    assert known(session) >= before - 0.02
    assert outcome.judged is not None and outcome.judged.judgements >= 2
    if kind == "wrong labels":
        careless = opened(bundle, tmp_path / "careless", NO_CARE)
        finetune(careless, harmful(bundle, kind), job(1600))
        assert known(careless) < before - 0.3  # the harm that was prevented
        assert outcome.judged.wholly + outcome.judged.partly > 0


def test_one_sample_at_a_time_is_guarded_as_well(bundle: Bundle, tmp_path: Path) -> None:
    session = opened(bundle, tmp_path)
    before, wrong = known(session), harmful(bundle, "wrong labels")
    for image, label in zip(wrong.x[:300], wrong.y[:300], strict=True):
        session.learn(image, int(label))
    session.save()
    assert known(session) >= before - 0.02
    assert session.record.samples - session.record.replayed == 300
    assert session.record.replayed == 300


def test_new_data_are_learned_while_what_was_known_stays(bundle: Bundle, tmp_path: Path) -> None:
    turned = digits(bundle, "test", "rotate:30")
    session = opened(bundle, tmp_path)
    first, before = evaluate(session, turned).accuracy, known(session)
    outcome = finetune(session, digits(bundle, "stream", "rotate:30"), job(3000))
    assert evaluate(session, turned).accuracy > first + 0.1
    assert known(session) >= before - 0.02
    judged = outcome.judged
    assert judged is not None and judged.new_before is not None and judged.new_after is not None
    assert judged.new_after > judged.new_before + 0.1


def test_replace_lets_go_of_what_was_known_and_learns_more(bundle: Bundle, tmp_path: Path) -> None:
    turned = digits(bundle, "test", "rotate:90")
    found = {}
    for name, care in (("keep", Care()), ("replace", Care(replace=True))):
        session = opened(bundle, tmp_path / name, care)
        finetune(session, digits(bundle, "stream", "rotate:90"), job(2000))
        found[name] = evaluate(session, turned).accuracy, known(session)
    assert found["replace"][0] > found["keep"][0]
    assert found["replace"][1] < found["keep"][1] - 0.05


@pytest.mark.parametrize("batch", [1, 5, 16])
def test_half_of_what_is_presented_is_replayed_and_the_batch_does_not_grow(
    bundle: Bundle, tmp_path: Path, batch: int
) -> None:
    keeper = Keeper(session := opened(bundle, tmp_path), Care())
    q, y = known_samples(bundle)
    shown, samples = 0, 0
    for _ in range(240):
        session.record = StateRecord("", samples=samples, replayed=samples - shown)
        new = fresh(batch, session.record)
        mixed, rows = keeper.mixed(q[:new], y[:new], batch)
        assert len(mixed) == len(rows) == batch
        assert np.array_equal(mixed[:new], q[:new])
        shown, samples = shown + new, samples + batch
    assert abs(shown - samples / 2) < 1


@pytest.mark.parametrize("batch", [1, 5])
def test_a_job_with_steps_of_replayed_samples_alone_is_learned(
    bundle: Bundle, tmp_path: Path, batch: int
) -> None:
    """At batch 1 every other step has no new sample."""
    session = opened(bundle, tmp_path)
    done = finetune(session, digits(bundle, "stream", "rotate:90"), job(40, batch))
    assert (done.samples, done.steps) == (40, 40 // batch)
    assert session.record.replayed == 20


@pytest.mark.parametrize("stop", [1, 5, 70, 101, 150])
def test_a_guarded_run_that_is_stopped_goes_on_to_the_same_bytes(
    bundle: Bundle, tmp_path: Path, stop: int
) -> None:
    stream = harmful(bundle, "wrong labels") if stop % 2 else digits(bundle, "stream", "rotate:90")
    whole = opened(bundle, tmp_path / "whole")
    finetune(whole, stream, job(2500), saving=Saving(7))
    cut = opened(bundle, tmp_path / "cut")
    for number, _ in enumerate(steps(cut, stream, job(2500), Saving(3))):
        if number == stop:
            break
    again = Session.open(bundle, "native", tmp_path / "cut")
    finetune(again, stream, job(2500), saving=Saving(5))
    assert again.digest() == whole.digest()
    assert again.record == msgspec.structs.replace(whole.record)


def test_what_is_saved_was_judged(bundle: Bundle, tmp_path: Path) -> None:
    session = opened(bundle, tmp_path)
    before, wrong = known(session), harmful(bundle, "wrong labels")
    session.learn_batch(wrong.x[:16], wrong.y[:16])  # not judged before the period's end
    session.save()
    assert known(Session.open(bundle, "native", tmp_path)) >= before - 0.02


def test_part_way_is_between_what_learning_moves_and_nothing_else() -> None:
    good = {"l.weight": np.array([-127, 3, 0, 5], np.int8), "phase": np.array(7, np.int32)}
    now = {"l.weight": np.array([127, -4, 1, 5], np.int8), "phase": np.array(9, np.int32)}
    found = part_way(good, now, 1, 2)
    assert found["l.weight"].tolist() == [0, 0, 1, 5] and found["phase"] == 9
    assert part_way(good, now, 3, 4)["l.weight"].tolist() == [64, -2, 1, 5]
    assert found["l.weight"].dtype == np.int8


def test_slower_and_faster_again_is_the_same_rate_and_what_is_frozen_stays_so() -> None:
    state = {"weight_shift": np.array([9, 44, 48], np.int32), "anchor_shift": np.array([48, 7])}
    slow = slowed(state, 3)
    assert slow["weight_shift"].tolist() == [12, 47, 48]
    again = slowed(slow, -3)
    assert all(np.array_equal(again[name], state[name]) for name in SHIFTS)


@pytest.mark.parametrize(
    ("samples", "batch", "periods"),
    [
        (160, 16, [160]),
        (512, 16, [512]),
        (700, 16, [700]),  # what would be left over is less than half a period
        (768, 16, [512, 256]),
        (4000, 16, [512, 1024, 2464]),
        (3000, 64, [3000]),  # 32 steps at least
        (1500, 1, [512, 988]),
    ],
)
def test_periods_double_slow_down_and_end_with_the_job(
    bundle: Bundle, tmp_path: Path, samples: int, batch: int, periods: list[int]
) -> None:
    session = opened(bundle, tmp_path)
    first = session.runner.get_state()
    wanted = [slowed(first, h)["weight_shift"].tolist() for h in range(4)]
    stream, lengths, halved = digits(bundle, "stream"), [], []
    for step in steps(session, stream, job(samples, batch), Saving(0)):
        rate = session.runner.get_state()["weight_shift"].tolist()
        halved.append(wanted.index(rate) if rate in wanted else None)
        if session.keeper.presented == 0:
            lengths.append(step.done - sum(lengths))
    assert lengths == periods
    count = -(-periods[0] // batch)
    assert set(halved[: count // 2 - 1]) == {0}
    assert halved[count // 2] == 1
    assert set(halved[count * 15 // 16 : count - 1]) <= {3}
    assert session.runner.get_state()["weight_shift"].tolist() == wanted[0]


def test_under_the_guard_rates_are_those_that_were_measured_and_without_it_the_bundles(
    slowed_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = slowed_bundle
    own = {name: bundle.initial_state()[name] for name in SHIFTS}
    measured = {name: own[name] - 2 for name in SHIFTS}
    stream = digits(bundle, "stream")

    def held(session: Session, wanted: Mapping[str, Any]) -> None:
        now = session.runner.get_state()
        assert {n: now[n].tolist() for n in SHIFTS} == {n: wanted[n].tolist() for n in SHIFTS}

    session = opened(bundle, tmp_path)
    held(session, own)  # nothing was learned
    session.learn_batch(stream.x[:16], stream.y[:16])
    held(session, measured)
    session.save()
    careless = Session.open(bundle, "native", tmp_path, care=NO_CARE)
    held(careless, own)
    finetune(careless, stream, job(32))
    held(careless, own)
    guarded = Session.open(bundle, "native", tmp_path)
    guarded.learn_batch(stream.x[:16], stream.y[:16])
    held(guarded, measured)
    guarded.save()
    assert Session.open(bundle, "native", tmp_path).digest() == guarded.digest()


def test_the_usual_error_follows_what_is_known_and_is_never_above_the_bundles(
    bundle: Bundle, tmp_path: Path
) -> None:
    most = int(bundle.initial_state()["usual_error"])
    session = opened(bundle, tmp_path)
    stream = digits(bundle, "stream")
    finetune(session, stream, job(600))
    keeper = session.keeper
    count = len(keeper.exam.known[1])
    wanted = min(usual_error(keeper.exam.count(keeper.exam.known), count), most)
    assert int(session.runner.get_state()["usual_error"]) == wanted
    session.rates["usual_error"] = np.array(70, np.int32)  # what the bundle would say
    finetune(session, stream, job(32))
    assert int(session.runner.get_state()["usual_error"]) == 70
    moved = opened(bundle, tmp_path / "moved", Care(replace=True))
    finetune(moved, stream, job(32))
    assert int(moved.runner.get_state()["usual_error"]) == 0


def test_a_period_is_over_where_a_quarter_of_what_is_replayed_is_lost(
    bundle: Bundle, tmp_path: Path
) -> None:
    session, stream = opened(bundle, tmp_path), digits(bundle, "stream")

    def learn(steps: int) -> int:
        for i in range(steps):
            session.learn_batch(stream.x[8 * i : 8 * i + 8], stream.y[8 * i : 8 * i + 8])
        return session.keeper.judgements

    assert learn(8) == 0  # 64 replayed, nearly all recognised
    session.keeper.exam.replayed_first = 2 * len(
        session.keeper.exam.replayed[1]
    )  # what no net recognises
    assert learn(7) == 0
    assert learn(1) == 1


def test_where_the_old_may_go_samples_are_held_back_all_the_same(bundle: Bundle) -> None:
    split = digits(bundle, "stream")
    for care in (Care(), Care(replace=True)):
        learned, judging = held_back(split, job(64), care)
        assert len(judging) == min(len(split) // 8, 64)
        assert len(learned) + len(judging) == len(split)
    assert not len(held_back(split, job(64), Care(guard=False))[1])


def test_of_what_was_known_less_may_be_lost_where_nothing_new_is_gained(
    bundle: Bundle, tmp_path: Path
) -> None:
    exam = opened(bundle, tmp_path).keeper.exam
    new = digits(bundle, "stream")
    seen = exam.session.input(new.x), new.y
    found, judged = exam.count(seen), exam.count(exam.known)
    gained, same = New(seen, found - 1), New(seen, found)
    allowed = len(exam.known[1]) // 100
    assert allowed > 0
    for lost, with_gain, without in ((0, True, True), (allowed, True, False), (9, False, False)):
        exam.known_first = exam.known_good = judged + lost
        assert exam.passed(gained) is with_gain
        exam.known_first = exam.known_good = judged + lost
        assert exam.passed(same) is without
        assert exam.passed(None) is without
    exam.known_first, exam.known_good = judged + allowed, judged
    assert exam.passed(same)  # lost before, for what was new then
    exam.replayed_first = exam.count(exam.replayed) + len(exam.replayed[1]) // 25
    assert exam.passed(gained)
    exam.replayed_first += 1
    assert not exam.passed(gained)


def test_few_samples_of_which_many_changed_do_not_show_that_what_was_known_stays(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = opened(bundle, tmp_path).keeper.exam
    new = digits(bundle, "stream")
    gained, count = New((exam.session.input(new.x), new.y), 0), len(exam.known[1])
    first = np.arange(count) % 2 == 0
    exam.seen_first, exam.known_first, exam.replayed_first = first, int(first.sum()), 0
    most = int((0.03 * count) ** 2 / 2)  # as many lost as won: the root of both is 3 in 100
    assert most > 0
    for changed, passes in ((0, True), (most, True), (most + 1, False)):
        now = first.copy()
        now[np.flatnonzero(first)[:changed]] = False
        now[np.flatnonzero(~first)[:changed]] = True
        monkeypatch.setattr(exam, "seen", lambda samples, now=now: now)
        assert exam.passed(gained) is passes


def test_what_only_ever_harms_is_learned_slower_and_slower(bundle: Bundle, tmp_path: Path) -> None:
    session = opened(bundle, tmp_path)
    first = session.runner.get_state()
    for _ in steps(session, digits(bundle, "stream"), job(8000, 16), Saving(0)):
        session.keeper.exam.known_first = 2 * len(
            session.keeper.exam.known[1]
        )  # what no state reaches
    assert session.keeper.wholly == session.keeper.judgements >= 4
    assert session.record.caution == 3
    now = session.runner.get_state()
    wanted = slowed(first, 3)
    assert all(np.array_equal(now[name], wanted[name]) for name in wanted if name != "error")


def test_what_is_written_in_the_middle_of_a_period_is_not_taken_back(
    spare_bundle: Bundle, tmp_path: Path
) -> None:
    session = opened(spare_bundle, tmp_path)
    wrong = harmful(spare_bundle, "wrong labels")
    session.learn_batch(wrong.x[:64], wrong.y[:64])
    row = add_class(session, "blank", np.zeros_like(wrong.x[:4]))
    session.rates["weight_shift"] = session.rates["weight_shift"] + 1
    set_rates(session)
    wanted, before = session.runner.get_state(), session.record.caution
    session.keeper.exam.known_first = 1 << 20  # all is taken back
    for start in range(0, 320, 64):
        session.learn_batch(wrong.x[start : start + 64], wrong.y[start : start + 64])
    session.save()
    now = session.runner.get_state()
    assert now["live"][row] == 1
    assert session.predict(np.zeros_like(wrong.x[0])).name == "blank"
    more = session.record.caution - before
    assert np.array_equal(now["weight_shift"], slowed(wanted, more)["weight_shift"])


def test_a_run_that_kept_nothing_is_replayed_and_judged_by_its_golden_batches(
    run_folder: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / kept.FILE).unlink()
    made = export(Run.open(tmp_path / "run"), ExportOptions(("c",)), tmp_path / "bundle")
    assert made.known() == {}
    assert len(known_samples(made)[1]) == len(judging_samples(made)[1]) == 128
    session = opened(made, tmp_path / "state")
    before = known(session)
    finetune(session, harmful(made, "wrong labels"), job(800))
    assert known(session) >= before - 0.02


def test_the_command_tells_what_was_won_and_lost(bundle: Bundle, tmp_path: Path, dfedge) -> None:
    common = ("finetune", bundle.folder, "--data", "digits", "--runtime", "native")
    told = dfedge(*common, "--shift", "rotate:30", "--state", tmp_path / "a", "--samples", 600)
    assert told.code == 0
    assert "new data: " in told.out and "known data: " in told.out
    plain = dfedge(*common, "--state", tmp_path / "b", "--samples", 64, "--no-guard", "--no-replay")
    assert plain.code == 0 and "known data" not in plain.out
    fast = dfedge(*common, "--state", tmp_path / "c", "--samples", 64, "--rate", 0.25, "--json")
    assert fast.json["judged"]["judgements"] >= 1
    wrong = dfedge(*common, "--state", tmp_path / "d", "--rate", 0)
    assert wrong.code == 2 and "--rate" in wrong.err
