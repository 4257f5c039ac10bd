"""The trial of learning at export: what it chooses, records and says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dfedge.bundle import Bundle
from dfedge.data.change import is_picture
from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.scale import ChannelScale
from dfedge.data.inputs.sound import SIZES, SoundRule
from dfedge.data.inputs.window import WindowRule
from dfedge.data.sound_shifts import DECIBELS
from dfedge.exporters import learner, learning
from dfedge.exporters.learning import Candidate, CandidateResult, trial
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export, lowered
from dfedge.learn import kept
from dfedge.learn.run import Run
from dfedge.plan import MAX_UPDATE_SHIFT
from dfedge.state import SHIFTS

DIGITS = ImageRule(8, 8, 1)


def found(own: list[float], moved: list[float]) -> CandidateResult:
    return CandidateResult(Candidate(0, 0), own, moved)


@pytest.mark.parametrize(
    ("own", "moved", "passes"),
    [
        ([0.9, 0.9, 0.9, 0.9], [0.5, 0.6, 0.7, 0.7], True),
        ([0.9, 0.9, 0.9, 0.88], [0.5, 0.6, 0.7, 0.9], False),  # lost at the end
        ([0.9, 0.8, 0.9, 0.9], [0.5, 0.6, 0.7, 0.9], False),  # lost on the way
        ([0.9, 0.9, 0.9, 0.9], [0.5, 0.6, 0.5, 0.48], False),  # the change was made worse
    ],
)
def test_a_rate_passes_that_did_no_harm(own: list[float], moved: list[float], passes: bool) -> None:
    assert found(own, moved).passes is passes


def test_a_single_sample_of_a_small_set_is_no_harm() -> None:
    few = CandidateResult(Candidate(0, 0), [1.0, 0.975], [0.5, 0.5], 40)
    assert few.passes
    assert not CandidateResult(Candidate(0, 0), [1.0, 0.95], [0.5, 0.5], 40).passes


def forced(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path, harmless: object
) -> tuple[object, object, object]:
    """The trial of a net of which only candidates that are ``harmless`` do no harm."""
    run = Run.open(run_folder)
    plan, state = lowered(run)
    samples = kept.read(run_folder)
    assert samples is not None

    def judged(self: object, candidate: Candidate) -> CandidateResult:
        good = harmless(candidate)  # type: ignore[operator]
        return CandidateResult(
            candidate, [0.9, 0.9, 0.9, 0.9 if good else 0.2], [0.5, 0.6, 0.7, 0.7]
        )

    monkeypatch.setattr(learning.LearningTrial, "found", judged)
    return trial(plan, state, samples, {}, 16, DIGITS)


def test_the_fastest_rate_that_does_no_harm_is_taken(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    first = lowered(Run.open(run_folder))[1]
    _, state, record = forced(monkeypatch, run_folder, lambda c: c.slower >= 2)
    assert (record.learns, record.slower, record.frozen) == ("all", 2, 0)
    assert torch.equal(state["weight_shift"], first["weight_shift"] + 2)
    assert torch.equal(state["anchor_shift"], first["anchor_shift"] + 2)


def test_the_bundle_keeps_the_measured_rates_for_a_guard(
    run_folder: Path, slowed_bundle: Bundle
) -> None:
    measured, known = lowered(Run.open(run_folder))[1], slowed_bundle.known()
    assert slowed_bundle.manifest.learning.slower == 2
    for name in SHIFTS:
        assert np.array_equal(known[name], measured[name].numpy())
        assert np.array_equal(slowed_bundle.initial_state()[name], known[name] + 2)


@pytest.mark.parametrize(
    ("restless", "undertrained"),
    [
        ([0.3, 0.4, 0.5, 0.6], True),
        ([0.3, 0.29, 0.5, 0.6], False),  # at one look it was worse
        ([0.8, 0.8, 0.81, 0.82], False),  # within the noise of so few samples
    ],
)
def test_a_net_trained_too_little_never_rests(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path, restless: list[float], undertrained: bool
) -> None:
    looks = learning.LearningTrial._looks

    def seen(
        self: learning.LearningTrial, candidate: Candidate, lesson: object, first: dict
    ) -> list:
        never_rests = int(first["usual_error"]) == 0 and lesson is self.own
        return restless if never_rests else looks(self, candidate, lesson, first)  # type: ignore[arg-type]

    monkeypatch.setattr(learning.LearningTrial, "_looks", seen)
    _, state, record = forced(monkeypatch, run_folder, lambda c: True)
    assert record.undertrained is undertrained
    assert (int(state["usual_error"]) == 0) is undertrained


@pytest.mark.parametrize(("batch", "tried"), [(1, 16), (16, 16), (32, 32), (256, 64)])
def test_the_trial_learns_in_batches_of_the_bundle(
    run_folder: Path, batch: int, tried: int
) -> None:
    samples = kept.read(run_folder)
    assert samples is not None
    assert (
        learning.LearningTrial(*lowered(Run.open(run_folder)), samples, {}, batch, DIGITS).batch
        == tried
    )


def test_lower_layers_are_frozen_one_by_one_where_no_rate_passes(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    plan, _, record = forced(monkeypatch, run_folder, lambda c: c.cut == 2)
    assert (record.learns, record.frozen, plan.cut) == ("upper", 2, 2)


def test_anchors_alone_learn_where_weights_always_harm(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    _, state, record = forced(monkeypatch, run_folder, lambda c: not c.weights)
    assert record.learns == "anchors"
    assert (state["weight_shift"] == MAX_UPDATE_SHIFT).all()
    assert (state["anchor_shift"] < MAX_UPDATE_SHIFT).all()


def test_nothing_learns_where_even_anchors_harm(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    _, state, record = forced(monkeypatch, run_folder, lambda c: False)
    assert record.learns == "nothing"
    for name in ("weight_shift", "anchor_shift"):
        assert (state[name] == MAX_UPDATE_SHIFT).all()


def test_the_trial_is_recorded_and_the_usual_error_is_that_of_held_out_samples(
    bundle: Bundle, run_folder: Path
) -> None:
    record, samples = bundle.manifest.learning, kept.read(run_folder)
    assert samples is not None
    assert record.tried and record.learns == "all"
    assert [look.presented for look in record.curve] == [0, 64, 256, 512]
    assert record.held_out == len(samples.held_out)
    wrong = round((1 - record.curve[0].own) * 65536)
    assert int(bundle.initial_state()["usual_error"]) == wrong
    assert int(bundle.initial_state()["error"]) == 0  # learning begins slowly
    assert record.curve[-1].changed > record.curve[0].changed  # it learns something


def test_both_engines_of_the_trial_find_the_same(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    run, samples = Run.open(run_folder), kept.read(run_folder)
    assert samples is not None
    plan, state = lowered(run)
    monkeypatch.setattr(learning, "RATES", (0,))
    monkeypatch.setattr(learning, "PRESENTED", 64)
    monkeypatch.setattr(learning, "LOOKS", (64,))
    records = [trial(plan, state, samples, {}, 16, DIGITS)[2]]
    monkeypatch.setattr(learner, "compiler", lambda: None)
    records.append(trial(plan, state, samples, {}, 16, DIGITS)[2])
    assert records[0] == records[1]


def test_a_run_without_samples_begins_with_anchors_alone_unless_data_are_given(
    run_folder: Path, tmp_path: Path, dfedge
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / kept.FILE).unlink()
    command = ("export", tmp_path / "run", "--format", "c", "--out")
    plain = dfedge(*command, tmp_path / "a")
    assert "learning: not tried, for 0 samples were held out" in plain.out
    made = Bundle.open(tmp_path / "a")
    assert not made.manifest.learning.tried and made.manifest.learning.learns == "anchors"
    assert (made.initial_state()["weight_shift"] == MAX_UPDATE_SHIFT).all()
    given = dfedge(*command, tmp_path / "b", "--data", "digits")
    assert "learning: own data " in given.out and "all layers learn" in given.out
    known_better = dfedge(*command, tmp_path / "c", "--no-trial", "--json")
    assert known_better.json["learning"]["learns"] == "all"


def test_a_net_of_random_weights_learns_with_all_its_layers(tmp_path: Path) -> None:
    from dfedge.learn.train import TrainOptions, train

    run = train(TrainOptions(qat=True, settings={"epochs": 0, "qat_epochs": 1}), tmp_path / "run")
    made = export(run, ExportOptions(("c",)), tmp_path / "bundle")
    assert made.manifest.learning.learns == "all"
    assert int(made.initial_state()["usual_error"]) == 0


def test_what_is_changed_is_what_the_samples_are() -> None:
    assert is_picture((28, 28, 1)) and is_picture((32, 24, 3))
    assert not any(is_picture(shape) for shape in ((128, 6, 1), (1, 13, 1), (4, 4, 1)))
    x = np.random.default_rng(0).integers(60, 180, (50, 128, 1, 6)).astype(np.uint8)
    for rule in (WindowRule(128, (ChannelScale(0, 1, 0, 0),) * 6), ImageRule(128, 6, 1)):
        moved, how = rule.changed(x.reshape(-1, *rule.shape), x.reshape(-1, *rule.shape))
        assert how.startswith("gain and offset")
        apart = np.abs(moved.mean((0, 1)) - x.reshape(moved.shape).mean((0, 1))) / x.std()
        assert np.allclose(apart, 0.25, atol=0.03)
    picture = np.full((4, 16, 16, 1), 200, np.uint8)
    assert ImageRule(16, 16, 1).changed(picture, picture)[0].mean() < 160


@pytest.mark.parametrize("features", list(SIZES))
def test_a_sound_is_not_turned_as_a_picture_is_but_heard_in_another_room(features: str) -> None:
    rule = SoundRule(features)
    x = np.full((2, *rule.shape), 20, np.uint8)
    x[:, 3, 2] = 254
    moved, how = rule.changed(x, x)
    assert how == "noise 25 dB below the loudest, muffled by 6 dB"
    assert (moved[:, 3, 2] == 254).all()
    low, high = (np.median(moved[:, 8:, at]) / 2 for at in (0, -1))
    assert abs(low - (127 - 25 / DECIBELS)) < 6
    assert abs(low - high - 6 / DECIBELS) < 6
