"""A gateway: what devices that know files alone learned, sent as each would have sent its own."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import refused
from pages import DOCUMENTED

from dfedge.bundle import Bundle
from dfedge.device.store import StoredState, belonging
from dfedge.errors import DfedgeError, UsageError
from dfedge.fleet import delta, gateway
from dfedge.fleet.base import read_stored
from dfedge.fleet.difference import difference
from dfedge.fleet.parts import moved_names
from dfedge.fleet.state_file import read_state_file, state_file
from dfedge.fleet.supernode import SUPERNODE, supernode
from dfedge.state import digest


def first(bundle: Bundle) -> StoredState:
    return StoredState(bundle.initial_state(), belonging(bundle))


def learned(bundle: Bundle, seed: int) -> StoredState:
    """As a device has it, with 16 presentations."""
    base, draw = first(bundle), np.random.default_rng(seed)
    state = dict(base.state)
    for name in moved_names(state):
        if name.endswith(".weight"):
            move = draw.integers(-3, 4, state[name].shape)
            state[name] = (state[name] + move).clip(-127, 127).astype(np.int8)
    record = msgspec.structs.replace(
        base.record, samples=16, steps=1, fleet_base=digest(base.state)
    )
    return StoredState(state, record)


def test_deltas_and_state_files_are_sent_as_each_device_would(
    small: Bundle, tmp_path: Path
) -> None:
    base = first(small)
    home = gateway.put_out(small, base, 1, tmp_path)
    assert home.name == f"round-0001-{digest(base.state)[:12]}"
    assert digest(read_stored(small, home / gateway.BASE).state) == digest(base.state)
    chip = read_state_file(small, home / f"{gateway.BASE}{gateway.STATE}", base)
    assert digest(chip.state) == digest(base.state)
    own = [difference(small, learned(small, i), base, tmp_path, device=f"d{i}") for i in range(3)]
    for i in range(2):
        (home / "in" / f"d{i}.delta").write_bytes(own[i])
    (home / "in" / "d2.state").write_bytes(state_file(small, learned(small, 2)))
    (home / "in" / "notes.txt").write_text("of no device")
    found = gateway.answers(small, base, home)
    assert found.faults == {}
    assert found.deltas == {f"d{i}": raw for i, raw in enumerate(own)}


def test_what_is_not_whole_or_of_another_base_is_left_out_and_said(
    small: Bundle, tmp_path: Path
) -> None:
    base, other = first(small), learned(small, 1)
    home = gateway.put_out(small, base, 1, tmp_path)
    raw = difference(small, learned(small, 0), base, tmp_path)
    later = msgspec.structs.replace(other.record, samples=32, fleet_base=digest(other.state))
    of_other = difference(small, StoredState(learned(small, 2).state, later), other, tmp_path)
    chip = state_file(small, learned(small, 0))
    files = {"cut.delta": raw[:-1], "cut.state": chip[: len(chip) // 3], "empty.state": b"",
             "idle.state": state_file(small, base), "junk.delta": b"junk",
             "other.delta": of_other, "whole.delta": raw}  # fmt: skip
    for name, content in files.items():
        (home / "in" / name).write_bytes(content)
    os.mkfifo(home / "in" / "pipe.state")
    found = gateway.answers(small, base, home)
    assert list(found.deltas) == ["whole"]
    assert sorted(found.faults) == sorted({*files, "pipe.state"} - {"whole.delta"})
    assert all("\n" not in why for why in found.faults.values())
    assert "another base" in found.faults["other.delta"]
    assert "nothing was learned" in found.faults["idle.state"]


def test_it_waits_for_its_devices_and_no_longer(small: Bundle, tmp_path: Path) -> None:
    base, slept = first(small), list[float]()
    home = gateway.put_out(small, base, 1, tmp_path)

    def sleep(seconds: float) -> None:
        number = len(slept)
        slept.append(seconds)
        raw = difference(small, learned(small, number), base, tmp_path, device=f"d{number}")
        (home / "in" / f"d{number}.delta").write_bytes(raw)

    assert len(gateway.waited(small, base, home, 3, 60, sleep).deltas) == 3
    assert len(slept) == 3
    assert len(gateway.waited(small, base, home, 9, 2, sleep).deltas) == 5  # time is over
    lonely = gateway.put_out(small, learned(small, 7), 2, tmp_path)
    nobody = refused(lambda: gateway.waited(small, learned(small, 7), lonely, 1, 2, lambda _: None))
    assert "no device answered" in nobody


def test_the_command_becomes_flowers_supernode(small: Bundle, tmp_path: Path) -> None:
    program = tmp_path / "bin" / SUPERNODE
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nenv | grep FLWR_; for word; do printf "%s\\n" "$word"; done\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    call = [sys.executable, "-m", "dfedge", "fleet", "gateway", str(small.folder),
            str(tmp_path / "a b"), "--superlink", "fleet.local:8000",
            "--devices", "20"]  # fmt: skip
    tls = ["--root-certificates", "ca.crt", "--key", "kitchen"]
    done = subprocess.run([*call, *tls], env=environment, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "FLWR_TELEMETRY_ENABLED=0" in said
    assert said[-8:] == [
        "--root-certificates", "ca.crt", "--auth-supernode-private-key", "kitchen",
        "--superlink", "fleet.local:8000", "--node-config",
        f"bundle='{small.folder.resolve()}' gateway='{tmp_path.resolve()}/a b' devices=20",
    ]  # fmt: skip
    both = subprocess.run([*call, *tls, "--insecure"], env=environment, capture_output=True)
    assert both.returncode == 2 and both.stderr.count(b"\n") == 1


def test_what_flower_cannot_be_told_is_refused(
    small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(lambda: supernode(small, tmp_path / "it's", "h:1"), UsageError)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "pip install" in refused(lambda: supernode(small, tmp_path, "h:1"), DfedgeError)


@pytest.mark.parametrize("command", ["gateway", "learn"])
def test_it_has_help_an_example_and_a_place_in_the_docs(command: str, dfedge) -> None:
    assert "Example:" in dfedge("fleet", command, "--help").out
    assert f"dfedge fleet {command}" in DOCUMENTED


def test_a_node_that_is_no_gateway_speaks_for_itself_alone(small: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    from flwr.app import ConfigRecord, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from dfedge.fleet import flower

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # Flower's to set
    base = first(small)
    home = gateway.put_out(small, base, 1, tmp_path / "files")
    for i in range(3):
        raw = difference(small, learned(small, i), base, tmp_path, device=f"d{i}")
        (home / "in" / f"d{i}.delta").write_bytes(raw)
    taken = {}
    for may in (1, 3):
        strategy = flower.IntegerMean(small, tmp_path / f"server{may}", 1, speaks_for=may)
        content = RecordDict({flower.ARRAYS: strategy.arrays(),
                              flower.CONFIG: ConfigRecord({flower.ROUND: 1})})  # fmt: skip
        asked = Message(content=content, message_type="train", dst_node_id=1)
        reply = flower.gathered(asked, small, tmp_path / "files", 3, 5)
        assert sorted(flower.bytes_of(reply)) == ["d0", "d1", "d2"]
        strategy.aggregate_train(1, [reply])
        taken[may] = strategy.base.round
    assert taken == {1: 0, 3: 1}
    assert delta.read_header(raw).device == "d2"
