"""Nets of strangers whose structure was changed: adopted, or refused with one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from trials.archives import mutate_archives
from trials.onnx_files import mutate_onnx
from trials.tflite_files import mutate_tflite
from trials.trial import Trials


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutate",
    [mutate_archives, mutate_onnx, mutate_tflite],
    ids=[".pt2", ".onnx", ".tflite"],
)
def test_structurally_changed_nets_are_adopted_or_refused(
    mutate: Callable[[Path, int, int], Trials], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 of them: examples/experiments/strangers.py."""
    monkeypatch.chdir(tmp_path)
    found = mutate(tmp_path, 60, 1)
    assert not found.faults, found.faults
    assert found.run and found.refused
