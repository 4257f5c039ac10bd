"""A fleet over a real SuperLink on the loopback, killed on the way, beside the files route.

    python -m venv /tmp/flower && /tmp/flower/bin/pip install 'flwr[simulation]==1.42.0' \
        msgspec safetensors filelock scikit-learn
    python examples/experiments/fleet_flower.py out/fleet/digits-0/bundle /tmp/flower/bin

Four devices (a SuperNode each) learn digits turned by 90 degrees, three rounds, 30 % silent.  After
the first round the SuperLink and all that hangs on it is killed; what is started anew goes on from
the base that the first left.  Both ends must be the same hash.
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

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.fleet.base import read_base
from dfedge.fleet.new import new_app
from dfedge.fleet.shares import shared_out
from dfedge.fleet.simulate import Simulation, SimulationPlan

RESULTS, WORK = Path(__file__).parent / "results" / "fleet_flower.json", Path("out/fleet-flower")
DEVICES, ROUNDS, DROP, PORT = 4, 3, 0.3, 19000
CONFIG = (
    f'[superlink]\ndefault = "mine"\n[superlink.mine]\naddress = "127.0.0.1:{PORT}"\n'
    "insecure = true\n"
)


class Running:
    """A SuperLink and a SuperNode for each device, each in a process group of its own."""

    def __init__(self, bin: Path, environment: dict[str, str]) -> None:
        self.environment, self.processes = environment, list[subprocess.Popen[bytes]]()
        self.start(bin / "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", PORT,
                   "--disable-runtime-dependency-installation")  # fmt: skip
        time.sleep(15)
        for i in range(DEVICES):
            self.start(bin / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{PORT}",
                       "--port", PORT + 100 + i,
                       "--node-config", f"partition-id={i} num-partitions={DEVICES}")  # fmt: skip

    def start(self, *words: object) -> None:
        """Begin a process."""
        log = (WORK / "log").open("ab")
        made = subprocess.Popen([*map(str, words)], env=self.environment, start_new_session=True,
                                stdout=log, stderr=log)  # fmt: skip
        self.processes.append(made)

    def kill(self) -> None:
        """At once, with all that they began."""
        for one in self.processes:
            try:
                os.killpg(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            one.wait()


def until(path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise SystemExit(f"{path} did not come in {seconds:.0f} s; see {WORK / 'log'}")
        time.sleep(0.2)


def main(folder: Path, bin: Path) -> None:
    """See the module's text."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "home").mkdir(parents=True)
    (WORK / "home" / "config.toml").write_text(CONFIG)
    bundle, app = Bundle.open(folder), WORK / "app"
    new_app(app, bundle, "digits", "rotate:90", DEVICES)
    environment = {
        **os.environ,
        "FLWR_HOME": str((WORK / "home").resolve()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path.cwd()),
        "PATH": f"{bin}:{os.environ['PATH']}",
    }
    bases = app / "kept" / "server"
    for last in (1, ROUNDS):
        running = Running(bin, environment)
        try:
            running.start(bin / "flwr", "run", app, "mine", "--stream", "-c",
                          f"rounds={ROUNDS} drop={DROP}")  # fmt: skip
            until(bases / f"base-{last:04}", 400)
        finally:
            running.kill()
    own = bundle.manifest
    data = load_split("digits", None, own.input, own.classes, ("stream",), "rotate:90",
                      cut=own.cut, reading=own.reading)[1]  # fmt: skip
    members = shared_out(data, "equal", DEVICES, 0)
    plan = SimulationPlan(bundle.sha256, "", [one.name for one in members], pace=0, drop=DROP)
    files = Simulation(bundle, plan, members, None, WORK / "files").run(ROUNDS)
    found = {
        "flower": [read_base(bundle, bases / f"base-{i + 1:04}").sha256 for i in range(ROUNDS)],
        "files": [one.base_sha256 for one in files.rounds],
    }
    RESULTS.write_text(json.dumps({**dated(), **found}, indent=1) + "\n")
    print(found)
    assert found["flower"] == found["files"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
