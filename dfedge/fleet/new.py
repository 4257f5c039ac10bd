"""A Flower app of a fleet: a folder that ``flwr run`` takes, to be changed by its owner."""

from pathlib import Path

from dfedge.atomic import new_folder
from dfedge.bundle import Bundle
from dfedge.errors import UsageError

FLOWER = "flwr==1.42.0"
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0.0"
description = "A fleet of devices that learn together, in integers (dfedge)."
license = "Apache-2.0"
dependencies = ["dfedge", "{flower}"]

[tool.hatch.build.targets.wheel]
packages = ["fleet_app"]

[tool.flwr.app]
publisher = "fleet"

[tool.flwr.app.components]
serverapp = "fleet_app.server:app"
clientapp = "fleet_app.client:app"

[tool.flwr.app.config]
bundle = {bundle}  # a node takes the one of its own --node-config, if it has one
rounds = 8
devices = {devices}          # a round begins when so many are there
folder = {folder}     # of bases on the server, of states on devices
data = {data}
shift = {shift}
split = "equal"        # used where a node's config names its partition-id and num-partitions
drop = 0.0             # fraction of devices that stay silent, to try it
rule = "mean"
steps = 8
batch = 16
"""
SERVER = '''"""The server: merges what devices learned.  Nothing here reads their data."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from dfedge.bundle import Bundle
from dfedge.fleet.flower import IntegerMean

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    folder = Path(config["folder"]) / "server"
    bundle = Bundle.open(Path(config["bundle"]))
    strategy = IntegerMean(bundle, folder, config["devices"], config["rule"])
    left = config["rounds"] - strategy.base.round
    strategy.start(grid, strategy.arrays(), num_rounds=left, timeout=600)
'''
CLIENT = '''"""A device: learns its own data from the base that came, and answers with a delta."""

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.errors import DfedgeError
from dfedge.fleet.device import Task
from dfedge.fleet.flower import answer
from dfedge.fleet.shares import shared_out
from dfedge.fleet.simulate import silent_in

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    config = {**context.run_config, **context.node_config}
    bundle = Bundle.open(Path(config["bundle"]))
    own = bundle.manifest
    wanted = ("stream", "train", "all")
    data = load_split(config["data"], None, own.input, own.classes, wanted,
                      config["shift"] or None, cut=own.cut, reading=own.reading)[1]
    name, number = str(context.node_id), 0
    if "partition-id" in config:  # devices of one machine: each takes its share of the data
        number = config["partition-id"]
        members = shared_out(data, config["split"], config["num-partitions"], 0)
        name, data = members[number].name, members[number].learns
        silent = silent_in([one.name for one in members], config["drop"], 0,
                           message.content["config"]["server-round"])
        if name in silent:
            raise DfedgeError("silent in this round")
    task = Task(config["steps"], config["batch"], pace=0, seed=number)
    folder = Path(config["folder"]) / "devices" / name
    return answer(message, bundle, data, task, folder, name)
'''
README = """# {name}

A Flower app (flwr 1.42): `fleet_app/server.py` merges, `fleet_app/client.py` learns; change them
as you like. Flower's telemetry and its look for updates are off with these:

    export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1

Start the SuperLink yourself, without the installation of packages at run time, and name it in
Flower's config.toml (`[superlink.mine]`, `address = "127.0.0.1:8000"`, `insecure = true`). A
simulation on one machine (pip install "flwr[simulation]"):

    flower-superlink --simulation --insecure --disable-runtime-dependency-installation
    flwr run . mine --stream --federation-config "num-supernodes={devices}"

On devices:

    flower-superlink --insecure --disable-runtime-dependency-installation
    flower-supernode --insecure --superlink 127.0.0.1:8000 --node-config "bundle='/where/it/is'"
    flwr run . mine --stream

`--insecure` is to try it on one machine. TLS, and which nodes may join, are Flower's:
`--ssl-certfile`, `--ssl-keyfile`, `--ssl-ca-certfile` and `--enable-supernode-auth`.

After every round the base lies in the folder that pyproject.toml names: a run that is started
again continues from it. If a SuperLink died, end its ServerApp and ClientApp processes, and start
the SuperNodes again as well: they do not join a new SuperLink by themselves.
"""


def new_app(out: Path, bundle: Bundle, data: str, shift: str = "", devices: int = 10) -> list[Path]:
    """Write the app; its files.

    Raises:
        UsageError: the folder is there.
    """
    if out.exists():
        raise UsageError(f"{out} exists and is not replaced; choose another name")

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in out.resolve().name)
    texts = {
        "pyproject.toml": PROJECT.format(
            name=name.strip("-") or "fleet", flower=FLOWER, devices=devices, data=quoted(data),
            bundle=quoted(str(bundle.folder.resolve())), shift=quoted(shift),
            folder=quoted(str(out.resolve() / "kept")),
        ),
        "README.md": README.format(name=name, devices=devices),
        "fleet_app/__init__.py": "",
        "fleet_app/server.py": SERVER,
        "fleet_app/client.py": CLIENT,
    }  # fmt: skip
    with new_folder(out) as folder:
        (folder / "fleet_app").mkdir()
        for path, text in texts.items():
            (folder / path).write_text(text)
    return [out / path for path in texts]
