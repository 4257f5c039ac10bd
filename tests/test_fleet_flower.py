"""Flower carries the files: its app is made anywhere, the rest runs where flwr is installed."""

import random
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from pages import DOCUMENTED
from test_on_device import needs

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.fleet.device import Task
from dfedge.fleet.new import new_app
from dfedge.fleet.shares import Member, shared_out
from dfedge.fleet.simulate import Simulation, SimulationPlan, silent_in

ROUNDS = 3


def test_the_app_is_a_project_that_flower_reads(small: Bundle, tmp_path: Path, dfedge) -> None:
    app = tmp_path / 'of "mine"'
    made = dfedge("fleet", "new", app, "--bundle", small.folder, "--data", "digits",
                  "--shift", "rotate:90", "--devices", 3, "--json").json  # fmt: skip
    assert all(Path(one).exists() for one in made["files"])
    found = tomllib.loads((app / "pyproject.toml").read_text())
    config = found["tool"]["flwr"]["app"]["config"]
    assert Path(config["bundle"]) == small.folder.resolve()
    assert Path(config["folder"]) == app / "kept"
    assert (config["devices"], config["shift"]) == (3, "rotate:90")
    for name in ("server", "client"):
        compile((app / "fleet_app" / f"{name}.py").read_text(), name, "exec")
    again = dfedge("fleet", "new", app, "--bundle", small.folder, "--data", "digits")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "Example:" in dfedge("fleet", "new", "--help").out
    assert "dfedge fleet new" in DOCUMENTED


@needs("openssl", "ssh-keygen")
@pytest.mark.parametrize(
    ("host", "named"), [("fleet.local", "DNS:fleet.local"), ("10.0.0.7", "IP Address:10.0.0.7")]
)
def test_its_keys_hold_for_a_strict_checker_and_those_that_are_there_stay(
    small: Bundle, tmp_path: Path, host: str, named: str
) -> None:
    new_app(tmp_path / "app", small, "digits")

    def call(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path / "app", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("sh", "keys.sh", host, "kitchen")
    keys = tmp_path / "app" / "keys"
    first = {path.name: path.read_bytes() for path in keys.iterdir()}
    call("sh", "keys.sh", host, "kitchen", "garden")
    assert all((keys / name).read_bytes() == content for name, content in first.items())
    call("openssl", "verify", "-x509_strict", "-CAfile", "keys/ca.crt", "keys/server.crt")
    assert named in call("openssl", "x509", "-in", "keys/server.crt", "-noout", "-text")
    for device in ("kitchen", "garden"):
        assert (keys / f"{device}.pub").read_text().startswith("ecdsa-sha2-nistp384 ")
    assert {path.stat().st_mode & 0o077 for path in keys.iterdir()} == {0}
    usage = subprocess.run(["sh", "keys.sh"], cwd=tmp_path / "app", capture_output=True, text=True)
    assert usage.returncode and "usage" in usage.stderr


def members_of(bundle: Bundle) -> list[Member]:
    draw = np.random.default_rng(0)
    shape = bundle.manifest.plan.input_shape
    split = Split(draw.integers(0, 255, (60, *shape), np.uint8), draw.integers(0, 10, 60))
    return shared_out(split, "equal", 4, 0)


def test_rounds_by_flower_end_in_the_bytes_of_the_files_route(
    small: Bundle, tmp_path: Path
) -> None:
    """Replies in any order, one device silent, one that answers with junk."""
    pytest.importorskip("flwr")
    from flwr.app import Error, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from dfedge.fleet import flower

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # Flower's to set
    members, drop = members_of(small), 0.3
    names = [one.name for one in members]
    plan = SimulationPlan(small.sha256, "", names, 2, drop=drop)
    files = Simulation(small, plan, members, None, tmp_path / "files", "native").run(ROUNDS)

    class Grid:
        def get_node_ids(self) -> Iterable[int]:
            return [0, 1, 2, 3, 4]

        def send_and_receive(self, messages: Iterable[Message], timeout: float) -> list[Message]:
            replies = [self.reply(message) for message in messages]
            return random.Random(len(replies)).sample(replies, len(replies))

        def reply(self, message: Message) -> Message:
            node, number = message.metadata.dst_node_id, message.content["config"]["server-round"]
            if node == 4:
                junk = RecordDict({"arrays": flower.record_of({"delta": b"junk"})})
                return Message(content=junk, reply_to=message)
            if names[node] in silent_in(names, drop, 0, number):
                return Message(error=Error(code=0, reason="silent"), reply_to=message)
            home = tmp_path / "devices" / names[node]
            task = Task(2, seed=node)
            return flower.answer(message, small, members[node].learns, task, home, names[node],
                                 "native")  # fmt: skip

    for until in (1, ROUNDS):  # the server is started again, and goes on
        strategy = flower.IntegerMean(small, tmp_path / "server", devices=4)
        left = until - strategy.base.round
        strategy.start(Grid(), strategy.arrays(), num_rounds=left)
        assert strategy.base.sha256 == files.rounds[until - 1].base_sha256
    assert not (tmp_path / "server" / "base-0004").exists()
