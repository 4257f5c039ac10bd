"""A Flower app of a fleet: a folder that ``flwr run`` takes, to be changed by its owner."""

from pathlib import Path

from dfedge.atomic import new_folder
from dfedge.bundle import Bundle
from dfedge.errors import UsageError
from dfedge.fleet.supernode import QUIET

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
rate = 1.0             # factor of the measured rates
timeout = 600          # seconds that the server waits for a round
speaks-for = 1         # deltas that a node may send: more than one only where there are gateways
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
    strategy = IntegerMean(bundle, folder, config["devices"], config["rule"],
                           speaks_for=config["speaks-for"])
    left = config["rounds"] - strategy.base.round
    strategy.start(grid, strategy.arrays(), num_rounds=left, timeout=config["timeout"])
'''
CLIENT = '''"""A device: learns its own data from the base that came, and answers with a delta."""

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.rates import halvings
from dfedge.errors import DfedgeError
from dfedge.fleet.device import Task
from dfedge.fleet.flower import answer, gathered
from dfedge.fleet.shares import shared_out
from dfedge.fleet.simulate import silent_in

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    config = {**context.run_config, **context.node_config}
    bundle = Bundle.open(Path(config["bundle"]))
    if "gateway" in config:  # for devices that bring files (dfedge fleet gateway)
        return gathered(message, bundle, Path(config["gateway"]), config["devices"],
                        config["timeout"] - 30)
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
    task = Task(config["steps"], config["batch"], pace=0, slower=halvings(config["rate"]),
                seed=number)
    folder = Path(config["folder"]) / "devices" / name
    return answer(message, bundle, data, task, folder, name)
'''
KEYS = """#!/bin/sh
# sh keys.sh HOST DEVICE...: what TLS and node authentication need, into the folder keys.
#
# ca.crt      the certificate that devices and `flwr` trust; ca.key signs others: keep it offline
# server.crt  the SuperLink's, of HOST, a name or an address, as devices call it; server.key is its
# DEVICE      a SuperNode's private key: it belongs on that device alone
# DEVICE.pub  for `flwr supernode register`
#
# What is there already is kept, so that a device can be added later.  (openssl 3, ssh-keygen)
set -eu
umask 077
host=${1:?usage: sh keys.sh HOST DEVICE...}; shift
mkdir -p keys; cd keys
curve="ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
case $host in *:*) san=IP:$host;; *[!0-9.]*) san=DNS:$host;; *) san=IP:$host;; esac
[ -e ca.crt ] || openssl req -x509 -newkey $curve -days 3650 -subj "/CN=fleet" \\
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
if [ ! -e server.crt ]; then
    openssl req -newkey $curve -subj "/CN=$host" -keyout server.key -out server.csr
    printf '%s\\n' "subjectAltName=$san" authorityKeyIdentifier=keyid \\
        keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth > server.ext
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 365 -extfile server.ext \\
        -out server.crt
fi
for device; do
    [ -e "$device" ] || ssh-keygen -q -t ecdsa -b 384 -N "" -C "$device" -f "$device"
done
"""
README = """# {name}

A Flower app (flwr 1.42): `fleet_app/server.py` merges, `fleet_app/client.py` learns; change them
as you like. Flower's telemetry and its look for updates are off with these:

    export {quiet}

Start the SuperLink yourself, without the installation of packages at run time, and name it in
Flower's config.toml (`[superlink.mine]`, `address = "127.0.0.1:8000"`, `insecure = true`). A
simulation on one machine (pip install "flwr[simulation]"):

    flower-superlink --simulation --insecure --disable-runtime-dependency-installation
    flwr run . mine --stream --federation-config "num-supernodes={devices}"

On devices:

    flower-superlink --insecure --disable-runtime-dependency-installation
    flower-supernode --insecure --superlink 127.0.0.1:8000 --node-config "bundle='/where/it/is'"
    flwr run . mine --stream

`--insecure` is to try it on one machine.

## TLS, and which devices may join

Both are Flower's. `sh keys.sh HOST kitchen garden` makes a certificate for the SuperLink under an
authority of your own, and a key for each of these two devices (openssl 3, ssh-keygen). Then:

    flower-superlink --ssl-ca-certfile keys/ca.crt --ssl-certfile keys/server.crt \\
        --ssl-keyfile keys/server.key --enable-supernode-auth \\
        --host 0.0.0.0 --disable-runtime-dependency-installation
    flwr supernode register keys/kitchen.pub mine       # and each of the others
    flower-supernode --root-certificates keys/ca.crt --auth-supernode-private-key keys/kitchen \\
        --superlink HOST:8000

with `root-certificates = "/where/it/is/keys/ca.crt"` in the place of `insecure = true` in
config.toml. A SuperNode whose key is not registered, or that does not trust ca.crt, cannot join.
The SuperLink forgets who is registered when it ends; `--database fleet.sqlite` makes it remember.

## Devices without Flower

A device that knows files alone (dfedge's commands, dfedge-run, a chip) takes part through a
gateway, one SuperNode for many of them. Between these their files travel as you like:

    dfedge fleet gateway BUNDLE FOLDER --superlink HOST:8000 --devices 20

`speaks-for` in pyproject.toml says how many deltas a node may send: 1 where there is no gateway,
for a node that may send more may also invent devices.

## When something died

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
        "README.md": README.format(
            name=name, devices=devices, quiet=" ".join(f"{k}={v}" for k, v in QUIET.items())
        ),
        "keys.sh": KEYS,
        "fleet_app/__init__.py": "",
        "fleet_app/server.py": SERVER,
        "fleet_app/client.py": CLIENT,
    }  # fmt: skip
    with new_folder(out) as folder:
        (folder / "fleet_app").mkdir()
        for path, text in texts.items():
            (folder / path).write_text(text)
    return [out / path for path in texts]
