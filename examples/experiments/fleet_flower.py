"""A fleet over a real SuperLink on the loopback, killed on the way, beside the files route.

    python -m venv /tmp/flower && /tmp/flower/bin/pip install flwr==1.42.0 'rich<15' \
        'typer<0.21' msgspec safetensors filelock scikit-learn onnxruntime
    python examples/experiments/fleet_flower.py out/fleet/digits-0/bundle /tmp/flower/bin

Four devices (a SuperNode each) learn digits turned by 90 degrees, three rounds, 30 % silent.  After
the first round the SuperLink and all that hangs on it is killed; what is started anew goes on from
the base that the first left.  Both ends must be the same hash.

That happens three times: in the clear; through one gateway, to which the devices bring deltas and
state files alone; and with TLS and node authentication as the app's README says, by
its own keys.sh.  There three strangers knock as well, and none may join: a SuperNode whose key is
not registered, one without any key, and one that does not trust the authority.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from dated import dated

from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.store import Store
from dfedge.fleet.base import read_base, read_stored
from dfedge.fleet.device import Task, round_of
from dfedge.fleet.files import SUFFIX
from dfedge.fleet.gateway import BASE, INBOX, STATE
from dfedge.fleet.new import new_app
from dfedge.fleet.shares import Member, shared_out
from dfedge.fleet.simulate import Simulation, SimulationPlan, silent_in
from dfedge.fleet.state_file import state_file
from dfedge.fleet.supernode import QUIET

RESULTS, WORK = Path(__file__).parent / "results" / "fleet_flower.json", Path("out/fleet-flower")
DEVICES, ROUNDS, DROP, HOST, PORT = 4, 3, 0.3, "127.0.0.1", 19000
LINK, STRANGER, PATIENCE = f"{HOST}:{PORT}", "stranger", 60
"""Seconds that a stranger may go on knocking."""


class Federation:
    """A SuperLink and a SuperNode for each device, each in a process group of its own.

    Attributes:
        app: a Flower app, whose folder ``keys`` has what TLS and authentication need.
        secure: whether these are used.
    """

    def __init__(self, bin: Path, app: Path, secure: bool) -> None:
        self.bin, self.app, self.keys = bin, app, app / "keys"
        self.secure, self.processes = secure, list[subprocess.Popen[bytes]]()
        home = app.parent / "home"
        home.mkdir(exist_ok=True)
        trust = (
            f'root-certificates = "{self.keys.resolve()}/ca.crt"' if secure else "insecure = true"
        )
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "mine"\n[superlink.mine]\naddress = "{LINK}"\n{trust}\n'
        )
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(home.resolve()),
            **QUIET,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path.cwd()),
            "PATH": f"{bin}:{os.environ['PATH']}",
        }

    def begin(self, gateway: list[object] | None = None) -> None:
        """Start the SuperLink, register its SuperNodes, and start them; or the gateway alone."""
        own: list[object] = ["--insecure"]
        if self.secure:
            own = ["--ssl-ca-certfile", self.keys / "ca.crt", "--ssl-certfile",
                   self.keys / "server.crt", "--ssl-keyfile", self.keys / "server.key",
                   "--enable-supernode-auth"]  # fmt: skip
        self.start("flower-superlink", *own, "--host", HOST, "--port", PORT,
                   "--disable-runtime-dependency-installation")  # fmt: skip
        self.listening()
        if gateway is not None:
            self.start("python", "-m", "dfedge", "fleet", "gateway", *gateway, "--superlink", LINK,
                       "--insecure")  # fmt: skip
        for i in range(0 if gateway else DEVICES):
            if self.secure:
                self.flwr("supernode", "register", self.keys / f"{i}.pub", "mine")
            config = f"partition-id={i} num-partitions={DEVICES}"
            self.node(i, *self.known_by(i), "--node-config", config)

    def known_by(self, device: object) -> list[object]:
        """How a SuperNode trusts the SuperLink, and is known to it."""
        if not self.secure:
            return ["--insecure"]
        return ["--root-certificates", self.keys / "ca.crt",
                "--auth-supernode-private-key", self.keys / str(device)]  # fmt: skip

    def node(self, number: int, *words: object) -> subprocess.Popen[bytes]:
        """Start a SuperNode."""
        return self.start("flower-supernode", "--superlink", LINK, "--port", PORT + 100 + number,
                          *words)  # fmt: skip

    def start(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        """Begin a process."""
        log = (self.app.parent / "log").open("ab")
        made = subprocess.Popen([str(self.bin / name), *map(str, words)], env=self.environment,
                                start_new_session=True, stdout=log, stderr=log)  # fmt: skip
        self.processes.append(made)
        return made

    def flwr(self, *words: object) -> str:
        """What a command of Flower's prints."""
        command = [str(self.bin / "flwr"), *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def listening(self) -> None:
        """Wait until the SuperLink answers."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                self.flwr("supernode", "list", "mine", "--format", "json")
                return
            except SystemExit:
                time.sleep(1)
        raise SystemExit(f"no SuperLink at {LINK}; see {self.app.parent / 'log'}")

    def online(self) -> int:
        """How many SuperNodes the SuperLink has."""
        found = json.loads(self.flwr("supernode", "list", "mine", "--format", "json"))
        return sum(one["status"] == "online" for one in found["nodes"])

    def strangers(self) -> dict[str, str]:
        """What becomes of SuperNodes that may not join: how they end, or that they still knock."""
        trusting = ["--root-certificates", self.keys / "ca.crt"]
        own = ["--auth-supernode-private-key", self.keys / STRANGER]
        tried = {"its key not registered": [*trusting, *own], "without a key": trusting,
                 "the authority not trusted": [*own[:1], self.keys / "0"]}  # fmt: skip
        there = [self.node(50 + i, *words) for i, words in enumerate(tried.values())]
        end, found = time.monotonic() + PATIENCE, {}
        for name, one in zip(tried, there, strict=True):
            try:
                code = one.wait(max(end - time.monotonic(), 0))
                found[name] = f"ended with exit code {code}"
            except subprocess.TimeoutExpired:
                found[name] = f"not let in for {PATIENCE} s"
        return found

    def kill(self) -> None:
        """At once, with all that they began."""
        for one in self.processes:
            try:
                os.killpg(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            one.wait()
        self.processes.clear()


def until(path: Path, seconds: float) -> None:
    wait_for(path.parent, path.name, seconds)


def wait_for(folder: Path, pattern: str, seconds: float) -> Path:
    end = time.monotonic() + seconds
    while not (found := sorted(folder.glob(pattern))):
        if time.monotonic() > end:
            raise SystemExit(f"{folder}/{pattern} did not come in {seconds:.0f} s; see {WORK}")
        time.sleep(0.2)
    return found[0]


def rounds(bundle: Bundle, bin: Path, work: Path, secure: bool) -> dict[str, object]:
    """Two runs, the first killed after its first round; the hashes of all bases."""
    work.mkdir(parents=True)
    app, found = work / "app", dict[str, object]()
    new_app(app, bundle, "digits", "rotate:90", DEVICES)
    if secure:
        subprocess.run(["sh", "keys.sh", HOST, *map(str, range(DEVICES)), STRANGER], cwd=app,
                       check=True, capture_output=True)  # fmt: skip
    bases, there = app / "kept" / "server", Federation(bin, app, secure)
    for last in (1, ROUNDS):
        try:
            there.begin()
            if secure and last == 1:
                found["strangers"], found["online"] = there.strangers(), there.online()
            there.start("flwr", "run", app, "mine", "--stream", "-c",
                        f"rounds={ROUNDS} drop={DROP}")  # fmt: skip
            until(bases / f"base-{last:04}", 600)
        finally:
            there.kill()
    found["hashes"] = hashes(bundle, app)
    return found


def through_gateway(bundle: Bundle, bin: Path, work: Path) -> list[str]:
    """The hashes where devices see a folder alone; every other one brings its state file."""
    work.mkdir(parents=True)
    app, inbox, members = work / "app", work / "inbox", shares(bundle)
    new_app(app, bundle, "digits", "rotate:90", DEVICES)
    there, names = Federation(bin, app, secure=False), [one.name for one in members]
    answering = DEVICES - len(silent_in(names, DROP, 0, 1))
    try:
        there.begin([bundle.folder, inbox, "--devices", answering])
        there.start("flwr", "run", app, "mine", "--stream", "-c",
                    f"rounds={ROUNDS} devices=1 speaks-for={answering}")  # fmt: skip
        for number in range(1, ROUNDS + 1):
            home = wait_for(inbox, f"round-{number:04}-*/{BASE}{STATE}", 600).parent
            base = read_stored(bundle, home / BASE)
            for i, one in enumerate(members):
                if one.name in silent_in(names, DROP, 0, number):
                    continue
                folder, task = work / "devices" / one.name, Task(pace=0, seed=i)
                raw = round_of(bundle, base, one.learns, task, folder, one.name)
                kind, content = SUFFIX, raw
                if i % 2:
                    stored = Store(folder, read_only=True).load(bundle)
                    assert stored is not None
                    kind, content = STATE, state_file(bundle, stored)
                write_file(home / INBOX / f"{one.name}{kind}", content)
        until(app / "kept" / "server" / f"base-{ROUNDS:04}", 600)
    finally:
        there.kill()
    return hashes(bundle, app)


def hashes(bundle: Bundle, app: Path) -> list[str]:
    """Of the bases that a server left."""
    bases = app / "kept" / "server"
    return [read_base(bundle, bases / f"base-{i + 1:04}").sha256 for i in range(ROUNDS)]


def shares(bundle: Bundle) -> list[Member]:
    """Who learns what."""
    own = bundle.manifest
    data = load_split("digits", None, own.input, own.classes, ("stream",), "rotate:90",
                      cut=own.cut, reading=own.reading)[1]  # fmt: skip
    return shared_out(data, "equal", DEVICES, 0)


def by_files(bundle: Bundle, work: Path) -> list[str]:
    """The hashes of the files route."""
    members = shares(bundle)
    plan = SimulationPlan(bundle.sha256, "", [one.name for one in members], pace=0, drop=DROP)
    return [one.base_sha256 for one in
            Simulation(bundle, plan, members, None, work).run(ROUNDS).rounds]  # fmt: skip


def main(folder: Path, bin: Path) -> None:
    """See the module's text."""
    shutil.rmtree(WORK, ignore_errors=True)
    bundle = Bundle.open(folder)
    found = {
        "clear": rounds(bundle, bin, WORK / "clear", secure=False),
        "gateway": {"hashes": through_gateway(bundle, bin, WORK / "gateway")},
        "TLS and keys": rounds(bundle, bin, WORK / "secure", secure=True),
        "files": by_files(bundle, WORK / "files"),
    }
    RESULTS.write_text(json.dumps({**dated(), **found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    assert all(
        found[way]["hashes"] == found["files"] for way in ("clear", "gateway", "TLS and keys")
    )
    assert found["TLS and keys"]["online"] == DEVICES


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
