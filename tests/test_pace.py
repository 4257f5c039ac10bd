"""The pace of learning: rates that follow the error."""

import pytest
import torch

from dfedge.compile.pace import error_after, paced
from dfedge.state import SHIFTS

ONE = 1 << 16


def state(error: int, pace: int = 4, shift: int = 10, usual: int = 0) -> dict[str, torch.Tensor]:
    return {
        "error": torch.tensor(error, dtype=torch.int32),
        "usual_error": torch.tensor(usual, dtype=torch.int32),
        "pace": torch.tensor(pace, dtype=torch.int32),
    } | {name: torch.full((2,), shift, dtype=torch.int32) for name in SHIFTS}


def test_shifts_grow_by_one_for_every_halving_of_the_error_up_to_the_pace() -> None:
    errors = [ONE, ONE // 16, ONE // 16 - 1, ONE // 32 - 1, ONE // 64 - 1, ONE // 128 - 1, 0]
    grown = [paced(state(error))["weight_shift"].tolist()[0] - 10 for error in errors]
    assert grown == [0, 0, 1, 2, 3, 4, 4]


def test_a_pace_of_zero_keeps_the_rate_and_no_shift_grows_beyond_what_an_update_holds() -> None:
    assert paced(state(0, pace=0))["anchor_shift"].tolist() == [10, 10]
    assert paced(state(0, shift=46))["weight_shift"].tolist() == [48, 48]


def test_the_pace_follows_what_the_error_exceeds_the_usual_one_by() -> None:
    usual = ONE * 2 // 5  # a net that misjudges two samples in five of its own kind of data
    for excess, slower in ((ONE // 16, 0), (ONE // 16 - 1, 1), (ONE // 128 - 1, 4), (0, 4)):
        grown = paced(state(usual + excess, usual=usual))["weight_shift"].tolist()
        assert grown == [10 + slower] * 2
    assert paced(state(0, usual=usual))["weight_shift"].tolist() == [14, 14]


@pytest.mark.parametrize("batch", [1, 2, 3, 16, 100, 300, 1000])
def test_the_error_of_one_who_errs_always_nears_one_and_never_passes_it(batch: int) -> None:
    scores = torch.zeros((batch, 3), dtype=torch.int32)  # a tie is no recognition
    now, y = state(0), torch.zeros(batch, dtype=torch.int32)
    seen = [0]
    for _ in range(20 * 256 // batch + 20):
        now["error"] = error_after(now, scores, y)
        seen.append(int(now["error"]))
    assert seen == sorted(seen)
    assert 0.97 * ONE < seen[-1] <= ONE


@pytest.mark.parametrize("batch", [1, 16, 300])
def test_the_error_of_one_who_errs_no_more_fades_below_every_threshold(batch: int) -> None:
    scores = torch.tensor([[5, 9, 8]], dtype=torch.int32).expand(batch, 3)
    now, y = state(ONE), torch.ones(batch, dtype=torch.int32)
    for _ in range(20 * 256 // batch + 20):
        now["error"] = error_after(now, scores, y)
    assert 0 <= int(now["error"]) < ONE >> 7
