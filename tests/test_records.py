"""What a state says of itself: a count that no learning leaves is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import refused

from dfedge import state
from dfedge.bundle import Bundle
from dfedge.continual import checkpoint
from dfedge.continual.checkpoint import StreamProgress
from dfedge.continual.settings import StreamSettings
from dfedge.device.store import (
    FinetuneJob,
    StateRecord,
    Store,
    StoredState,
    belonging,
    exchange,
    slot,
    transfer,
)
from dfedge.device.store.slot import DamagedSlotError

BAD_RECORDS: list[dict[str, Any]] = [
    {"samples": -1}, {"steps": -5}, {"replayed": -1}, {"doublings": -1}, {"doublings": 99},
    {"caution": -1}, {"caution": 1000}, {"samples": 1 << 60}, {"steps": 10**30},
    {"replayed": 17}, {"added": ["new"] * 2}, {"added": [""]},
    {"job": {"done": -1}}, {"job": {"batch": 0}}, {"job": {"slower": 99}}, {"job": {"pace": 77}},
    {"job": {"samples": -1}}, {"job": {"start": -1}}, {"job": {"seed": -1}},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_RECORDS, ids=str)
def test_counts_that_no_learning_leaves_are_not_imported(
    change: dict[str, Any], bundle: Bundle, tmp_path: Path
) -> None:
    good = StateRecord(
        bundle.sha256, 16, FinetuneJob("digits", "stream", "", 0, 16, 64, done=16), 1
    )
    found = msgspec.to_builtins(good)
    job = change.get("job")
    found |= {"job": found["job"] | job} if job else change
    raw = exchange.write(bundle.initial_state(), good)
    bad = state.to_bytes(bundle.initial_state(), {"dfedge": msgspec.json.encode(
        found | {"version": 2, "state_sha256": state.digest(bundle.initial_state())}
    ).decode()})  # fmt: skip
    (tmp_path / "good").write_bytes(raw)
    (tmp_path / "bad").write_bytes(bad)
    assert transfer.read_file(bundle, tmp_path / "good").record == belonging(bundle, good)
    refused(lambda: transfer.bring_in(Store(tmp_path / "s"), bundle, tmp_path / "bad"))
    assert not (tmp_path / "s").exists()


def test_counts_of_a_slot_have_the_same_range(bundle: Bundle, tmp_path: Path) -> None:
    good = StateRecord(bundle.sha256, 16)
    raw = slot.encode(slot.Slot(1, msgspec.structs.replace(good, samples=-1), {}))
    with pytest.raises(DamagedSlotError, match=r"samples"):
        slot.decode(raw)
    store = Store(tmp_path)
    store.save(
        StoredState(bundle.initial_state(), msgspec.structs.replace(good, added=("x",) * 50))
    )
    assert "added" in refused(lambda: Store(tmp_path).load(bundle))


@pytest.mark.parametrize("name", ["experience", "position", "samples", "before"])
def test_counts_of_a_continual_run_are_not_negative(name: str, tmp_path: Path) -> None:
    progress = StreamProgress(
        "", StreamSettings("drift", "digits"), "", StateRecord(""), **{name: -1}
    )
    checkpoint.save(tmp_path, progress, {})
    assert name in refused(lambda: checkpoint.load(tmp_path))
