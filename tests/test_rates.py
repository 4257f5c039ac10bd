"""First rates: measured on how far one batch moves what a layer tells, not its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dfedge.compile import rates
from dfedge.compile.rates import anchor_shift, measured_shifts
from dfedge.data.dataset import Split
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import lowered
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train

NET = """
anchors = 1
[train]
epochs = 2
qat_epochs = 1
[[block]]
channels = 8
[[block]]
kind = "residual"
channels = 8
[[block]]
channels = 12
pool = true
"""


def pictures(side: int, level: int, seed: int = 0) -> Split:
    """Bright pictures of two classes, that differ in which half is a little brighter."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 200)
    x = rng.normal(level, 12, (200, side, side, 1))
    for label in (0, 1):
        half = slice(0, side // 2) if label else slice(side // 2, side)
        x[y == label, :, half] += 30
    return Split(np.clip(x, 0, 255).astype(np.uint8), y.astype(np.int64))


def run_of(folder: Path, side: int, level: int = 170) -> Run:
    folder.mkdir()
    made = pictures(side, level)
    np.savez(folder / "data.npz", x=made.x, y=made.y)
    (folder / "net.toml").write_text(NET)
    options = TrainOptions(str(folder / "data.npz"), net=str(folder / "net.toml"), qat=True)
    return train(options, folder / "run")


def samples(made: Split) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy((made.x[:64] >> 1).astype(np.int8))
    return x, torch.from_numpy(made.y[:64].astype(np.int32))


def test_the_measured_shift_is_the_smallest_that_moves_features_by_no_more_than_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, state = lowered(run_of(tmp_path / "a", 16))
    x, y = samples(pictures(16, 170, 1))
    found = measured_shifts(plan, state, x, y)
    monkeypatch.setattr(rates, "STEP", 4 * rates.STEP)
    faster = measured_shifts(plan, state, x, y)
    # four times the move at two shifts less; rounding to whole features blurs it by one
    assert all(1 <= slow - fast <= 3 for slow, fast in zip(found, faster, strict=True))


def test_a_filter_that_a_large_bright_map_pushes_everywhere_the_same_way_moves_less(
    tmp_path: Path,
) -> None:
    first = {}
    for side in (8, 32):
        _, state = lowered(run_of(tmp_path / str(side), side))
        first[side] = int(state["weight_shift"][0])
    # sixteen times the positions, all pushing one way: sixteen times the sum
    assert first[32] >= first[8] + 3


def test_a_larger_batch_is_measured_as_the_larger_push_that_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", 16)
    (_, one), (_, large) = (lowered(run, ExportOptions(batch=batch)) for batch in (1, 64))
    assert (large["weight_shift"] >= one["weight_shift"]).all()
    assert large["weight_shift"][0] > one["weight_shift"][0]


def test_a_batch_moves_an_anchor_at_most_half_of_the_way() -> None:
    for batch in (1, 16, 64, 256):
        for classes in (2, 5, 10, 100):
            most = max(batch, 16) / classes * 8 / 2 ** anchor_shift(batch, classes)
            assert most <= 0.5
