"""How sure an answer is: the softmax, its temperature, and what commands say of it."""

from pathlib import Path

import numpy as np
import pytest

from dfedge.bundle import Bundle
from dfedge.data.sources import load
from dfedge.device.answers import nearest
from dfedge.device.confidence import LEAST, fitted, probabilities, unsure_below
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.state import DEAD_SCORE

NAMES = ("a", "b", "c")


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of three live rows and a dead one, and labels that are as probable as the softmax
    says.
    """
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3 * temperature, (count, 4)).astype(np.int32)
    scores[:, 3] = DEAD_SCORE
    share = probabilities(scores, temperature).cumsum(1)
    return scores, (rng.random((count, 1)) > share).sum(1)


@pytest.mark.parametrize("temperature", [40, 5_000, 900_000])
def test_the_temperature_by_which_labels_were_drawn_is_found_again(temperature: int) -> None:
    assert fitted(*drawn(6_000, temperature)) == pytest.approx(temperature, rel=0.12)


def test_rows_without_a_class_have_no_probability_and_the_others_all_of_it() -> None:
    found = probabilities(np.array([5_000, 4_000, -20_000, DEAD_SCORE], np.int32), 1_000)
    assert found[3] == 0 and found.sum() == pytest.approx(1)
    assert found[0] / found[1] == pytest.approx(np.e)


def test_a_net_that_recognises_every_sample_is_not_taken_to_be_certain() -> None:
    scores, _ = drawn(50, 1_000)
    temperature = fitted(scores, scores.argmax(1))
    assert 0.9 < probabilities(scores, temperature).max(1).mean() < 0.999


@pytest.mark.parametrize("live", [0, 1])
def test_no_temperature_comes_of_too_few_samples_or_of_one_class(live: int) -> None:
    scores, y = drawn(LEAST - 1 if not live else 200, 1_000)
    scores[:, live or 4 :] = DEAD_SCORE
    assert fitted(scores, y * (not live)) == 0


@pytest.mark.parametrize("temperature", [1, 7, 1_000, 123_457])
def test_unsure_is_one_comparison_of_integers(temperature: int) -> None:
    least = unsure_below(temperature)
    for lead in (0, least - 1, least, least + 1):
        answer = nearest(np.array([lead, 0, DEAD_SCORE], np.int32), NAMES, temperature)
        first, second = probabilities(np.array([lead, 0], np.int32), temperature)
        assert answer.unsure == (first < 3 * second)
        assert answer.confidence == pytest.approx(first)


def test_an_answer_without_a_temperature_claims_no_confidence() -> None:
    answer = nearest(np.array([3, 1, 2], np.int32), NAMES)
    assert (answer.confidence, answer.unsure, answer.margin) == (None, None, 1)


def test_predict_names_the_next_classes_with_their_probabilities(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    test = load("digits").splits["test"]
    np.savez(tmp_path / "few.npz", x=test.x[:20])
    asked = ("predict", bundle.folder, tmp_path / "few.npz", "--initial")
    rows = dfedge(*asked, "--top", 10, "--json").json["predictions"]
    scores = Session.open(bundle, None, initial=True).scores(test.x[:20])
    wanted = np.sort(probabilities(scores, bundle.manifest.temperature), 1)[:, ::-1]
    told = [[row["confidence"], *(one["confidence"] for one in row["then"])] for row in rows]
    np.testing.assert_allclose(told, wanted)
    assert all(len({row["class"], *(o["class"] for o in row["then"])}) == 10 for row in rows)
    assert "then" not in dfedge(*asked).out
    assert dfedge(*asked, "--top", 0).code == 2


def test_a_run_that_kept_no_samples_gives_a_bundle_without_confidence(
    dfedge, tmp_path: Path
) -> None:
    run = train(TrainOptions(settings={"epochs": 1}, qat=True, keep=False), tmp_path / "run")
    made = export(Run.open(run.folder), ExportOptions(("c",)), tmp_path / "bundle")
    assert made.manifest.temperature == 0
    np.savez(tmp_path / "one.npz", x=load("digits").splits["test"].x[:1])
    assert "not known" in dfedge("predict", made.folder, tmp_path / "one.npz", "--initial").out
