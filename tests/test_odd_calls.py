"""Odd calls: a label, a seed or a job that cannot be is refused, and nothing is learned."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import refused

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.errors import UsageError


@pytest.mark.parametrize(
    "label",
    [3.7, 3.0, True, False, None, np.True_, np.float32(1), b"3", [3], np.array([3]), 1 << 70, -1,
     "no such"],
    ids=str,
)  # fmt: skip
def test_a_label_is_a_number_or_a_name(label: Any, bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(bundle, "native", tmp_path)
    before = session.digest()
    refused(lambda: session.learn(np.zeros((8, 8), np.uint8), label), UsageError)
    assert session.digest() == before and session.record.samples == 0


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3), np.array(3), "3"], ids=repr)
def test_whole_numbers_of_any_kind_are_labels(label: Any, bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(bundle, "native", tmp_path)
    assert session.label(label) == 3


def test_labels_of_a_batch_are_integers(bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(bundle, "native", tmp_path)
    images = np.zeros((2, 8, 8), np.uint8)
    for labels in ([0.5, 1], [True, False], [None, 1], [1 << 70, 1], ["0", "1"], [[0, 1]], 1):
        refused(lambda: session.learn_batch(images, labels))  # type: ignore[arg-type]  # noqa: B023
    assert session.record.samples == 0


@pytest.mark.parametrize(
    "change",
    [{"batch": 0}, {"batch": -1}, {"samples": -1}, {"seed": -1}, {"pace": 99},
     {"slower": 1000}],
    ids=str,
)  # fmt: skip
def test_a_job_that_could_not_be_read_again_is_not_begun(
    change: dict[str, Any], bundle: Bundle, tmp_path: Path
) -> None:
    session = Session.open(bundle, "native", tmp_path)
    split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int64))
    job = msgspec.structs.replace(FinetuneJob("x", "all", "", 0, 16, 64), **change)
    assert next(iter(change)) in refused(lambda: finetune(session, split, job), UsageError)
    assert session.record.samples == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [-1, 1 << 70])
@pytest.mark.parametrize(
    "command",
    [("finetune", "{bundle}", "--data", "digits", "--state", "{new}"),
     ("add-class", "{bundle}", "x", "--samples", "x", "--state", "{new}"),
     ("continual", "{bundle}", "--data", "digits", "--state", "{new}"), ("train", "--out", "{new}"),
     ("demo", "--out", "{new}"), ("adopt", "x.onnx", "--data", "digits", "--out", "{new}")],
    ids=" ".join,
)  # fmt: skip
def test_a_seed_out_of_range_is_one_error_line(
    command: tuple[str, ...], seed: int, bundle: Bundle, tmp_path: Path, dfedge
) -> None:
    places = {"bundle": bundle.folder, "new": tmp_path / "new"}
    result = dfedge(*(word.format_map(places) for word in command), "--seed", seed)
    assert result.code == 2 and result.err.count("\n") == 1 and "--seed" in result.err, result.err
    assert not (tmp_path / "new").exists()
