"""A simulated fleet: what its devices get, that it learns, and that it goes on where it stopped."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import refused
from pages import DOCUMENTED
from sounds import PITCH, tone, write_wav

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.sources import open_data
from dfedge.device.store import Store
from dfedge.errors import UsageError
from dfedge.fleet.device import Task, learn
from dfedge.fleet.page import page
from dfedge.fleet.shares import by_group, shared_out
from dfedge.fleet.simulate import FleetReport, Simulation, SimulationPlan
from dfedge.manifest import Threshold
from dfedge.state import SHIFTS, digest

CALL = ("--data", "digits", "--shift", "rotate:90", "--pace", "0", "--runtime", "native")


def labels(count: int = 200) -> Split:
    y = np.arange(count, dtype=np.int64) % 10
    return Split(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), y)


@pytest.mark.parametrize("how", ["equal", "classes:2", "classes:10"])
def test_every_sample_goes_to_one_device(how: str) -> None:
    split = labels()
    members = shared_out(split, how, 20, 0)
    dealt = np.concatenate([one.learns.x.reshape(-1) for one in members])
    assert sorted(dealt) == list(range(200))
    assert len({one.name for one in members}) == 20
    if how == "classes:2":
        assert {len(np.unique(one.learns.y)) for one in members} == {2}


def test_shares_that_cannot_be_are_refused() -> None:
    refused(lambda: shared_out(labels(), "classes:11", 5, 0), UsageError)
    refused(lambda: shared_out(labels(), "even", 5, 0), UsageError)
    assert "fewer --devices" in refused(lambda: shared_out(labels(4), "equal", 5, 0), UsageError)


def members_of(bundle: Bundle, seed: int = 0) -> list:
    draw = np.random.default_rng(seed)
    shape = bundle.manifest.plan.input_shape
    split = Split(draw.integers(0, 255, (60, *shape), np.uint8), draw.integers(0, 10, 60))
    return shared_out(split, "equal", 3, 0)


def simulation(bundle: Bundle, folder: Path, **options) -> Simulation:
    members = members_of(bundle)
    plan = SimulationPlan(
        bundle.sha256, "noise", [m.name for m in members], 2, guard=False, **options
    )
    return Simulation(bundle, plan, members, None, folder, "native")


def answering(report: FleetReport, number: int) -> list[str]:
    return [name for name in ("0", "1", "2") if name not in report.rounds[number - 1].silent]


@pytest.mark.parametrize("personal", [(), ("anchors",)])
def test_a_fleet_that_is_stopped_goes_on_and_ends_in_the_same_bytes(
    small: Bundle, tmp_path: Path, personal: tuple[str, ...]
) -> None:
    whole = simulation(small, tmp_path / "whole", drop=0.4, personal=personal)
    report = whole.run(3)
    assert [len(one.silent) for one in report.rounds] == [1, 1, 1]

    class StoppedError(Exception):
        pass

    for stop in (1, 3):

        def sent(number: int, name: str, raw: bytes, stop: int = stop) -> bytes:
            if number == stop and name == answering(report, stop)[-1]:
                raise StoppedError
            return raw

        cut = simulation(small, tmp_path / f"cut{stop}", drop=0.4, personal=personal)
        cut.sent = sent
        with pytest.raises(StoppedError):
            cut.run(3)
        again = simulation(small, tmp_path / f"cut{stop}", drop=0.4, personal=personal)
        assert again.run(3).rounds == report.rounds


def test_only_anchors_move_where_only_they_learn(small: Bundle, tmp_path: Path) -> None:
    fleet = simulation(small, tmp_path / "a", learn="anchors", share=("anchors",))
    fleet.run(1)
    from dfedge.fleet.base import read_base

    base, first = read_base(small, fleet.base(1)).state, small.initial_state()
    moved = {name for name in first if (base[name] != first[name]).any()}
    assert any(name.endswith(".anchors") for name in moved)
    assert not any(name.endswith(".weight") for name in moved)
    assert digest(base) != digest(first)


def test_a_fleet_learns_at_the_measured_rates_and_not_at_a_lone_devices(
    slowed_bundle: Bundle, tmp_path: Path, dfedge
) -> None:
    assert slowed_bundle.manifest.learning.slower == 2
    members = members_of(slowed_bundle)
    known, folder = slowed_bundle.known(), tmp_path / "state"
    assert known is not None
    for slower in (0, 1):
        task = Task(2, slower=slower)
        learned = learn(slowed_bundle, members[0].learns, task, folder, "native").state
        for name in SHIFTS:
            assert (learned[name] == known[name].astype(np.int64) + slower).all()
    dfedge("fleet", "learn", slowed_bundle.folder, "--data", "digits", "--steps", 1, "--rate", 4,
           "--state", tmp_path / "by-command", "--runtime", "native")  # fmt: skip
    found = Store(tmp_path / "by-command", read_only=True).load(slowed_bundle)
    assert found is not None and found.record.samples == 16
    assert (found.state["weight_shift"] == known["weight_shift"] - 2).all()


def test_a_bundle_that_learns_without_labels_is_no_fleets(small: Bundle, tmp_path: Path) -> None:
    normal = msgspec.structs.replace(small.manifest, normal=Threshold(1, 0.01, 100))
    bundle = dataclasses.replace(small, manifest=normal)
    said = refused(lambda: simulation(bundle, tmp_path / "sim").run(1), UsageError)
    assert "without labels" in said and not (tmp_path / "sim").exists()
    split = members_of(small)[0].learns
    refused(lambda: learn(bundle, split, Task(1), tmp_path / "state", "native"), UsageError)
    assert not (tmp_path / "state").exists()


def test_a_folder_of_another_plan_is_left_alone(small: Bundle, tmp_path: Path) -> None:
    simulation(small, tmp_path / "a").run(1)
    assert "of drop" in refused(lambda: simulation(small, tmp_path / "a", drop=0.4).run(1))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    assert "other files" in refused(lambda: simulation(small, tmp_path / "b").run(1))


def test_what_arrives_damaged_is_said_in_the_report(small: Bundle, tmp_path: Path) -> None:
    fleet = simulation(small, tmp_path / "a")
    fleet.sent = lambda _, name, raw: raw[:-1] if name == "1" else raw
    report = fleet.run(1)
    done = report.rounds[0]
    assert (done.merged, list(done.passed)) == (2, ["1"])
    said = page(fleet.plan, report)
    assert "Left out" in said and done.passed["1"] in said


def test_the_command_learns_turned_digits_and_reports(
    small: Bundle, tmp_path: Path, dfedge
) -> None:
    call = ("fleet", "simulate", small.folder, *CALL, "--devices", 4, "--out", tmp_path / "sim")
    report = dfedge(*call, "--rounds", 3, "--json").json
    assert [one["round"] for one in report["rounds"]] == [1, 2, 3]
    assert report["before"] < 0.35 < 0.6 < report["rounds"][-1]["accuracy"]
    html = Path(report["report"]).read_text()
    assert "A fleet of 4 devices" in html and "<svg" in html
    shown = dfedge(*call, "--rounds", 3)
    assert shown.code == 0 and "4 devices, digits, rotate:90" in shown.out
    assert [line.split()[0] for line in shown.out.splitlines()[2:5]] == ["1", "2", "3"]
    assert dfedge(*call, "--rule", "best").code == 2
    groups = dfedge("fleet", "simulate", small.folder, "--data", "digits", "--split", "groups",
                    "--out", tmp_path / "g")  # fmt: skip
    assert (groups.code, groups.err.count("\n")) == (2, 1)


def test_simulate_has_help_an_example_and_a_place_in_the_docs(dfedge) -> None:
    assert "Example:" in dfedge("fleet", "simulate", "--help").out
    assert "dfedge fleet simulate" in DOCUMENTED


def test_whoever_speaks_in_a_folder_of_recordings_is_a_device(tmp_path: Path) -> None:
    for name in PITCH:
        for speaker in ("anna", "ben"):
            for take in range(4):
                write_wav(tmp_path / "words" / name / speaker / f"{take}.wav", tone(name, take))
    members = by_group(open_data(str(tmp_path / "words")), SoundRule(), 0)
    assert [one.name for one in members] == ["speaker-anna", "speaker-ben"]
    assert all(len(one.learns) + len(one.tested) == 8 for one in members)
