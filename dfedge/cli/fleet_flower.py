"""``dfedge fleet new`` and ``gateway``: Flower carries the files of a fleet between machines.

They join the commands of `dfedge.cli.fleet`.
"""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, say
from dfedge.cli.fleet_simulate import app
from dfedge.cli.options import BundleArg, Data, Json, MinVersion, Shift, Signer

__all__ = ["app"]


@app.command()
def new(
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    bundle: Annotated[Path, typer.Option(help="Bundle that all devices start from.")],
    data: Data,
    shift: Shift = None,
    devices: Annotated[int, typer.Option(min=1, help="Devices in a round.")] = 10,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Write an app for Flower (flwr), which then carries bases and deltas between machines.

    [bold]Example:[/] dfedge fleet new fleet-app --bundle out/bundle --data digits
    """
    from dfedge.bundle import Bundle
    from dfedge.fleet.new import new_app

    files = new_app(out, Bundle.open(bundle, signer, min_version), data, shift or "", devices)
    if json:
        print_json({"files": [str(one) for one in files]})
        return
    say(f"wrote {out} (README.md says how to run it)", next_command=f"flwr run {out} --stream")


@app.command()
def gateway(
    bundle: BundleArg,
    folder: Annotated[Path, typer.Argument(help="Folder for bases and for the files of devices.")],
    superlink: Annotated[str, typer.Option(help="Address HOST:PORT of Flower's SuperLink.")],
    devices: Annotated[
        int, typer.Option(min=1, help="Number of files to wait for in each round.")
    ] = 1,
    root_certificates: Annotated[
        Path | None,
        typer.Option(help="Root certificates (PEM) for the SuperLink's; default: the system's."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key by which the SuperLink knows this SuperNode.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Connect without TLS, for a trial on one machine.")
    ] = False,
    signer: Signer = None,
    min_version: MinVersion = None,
) -> None:
    """Run one Flower client for many devices that exchange files; it runs until you stop it.

    Each base is laid out in a folder of its own, FOLDER/round-NUMBER-BASE: base for devices with
    dfedge, base.state for dfedge-run and chips. Its folder in takes what they learned: NAME.delta,
    or NAME.state, a state file or a copy of a chip's flash. Becomes Flower's SuperNode, for the app
    that dfedge fleet new writes.

    [bold]Example:[/] dfedge fleet gateway out/bundle inbox --superlink fleet.local:8000
    --devices 20 --root-certificates ca.crt --key kitchen
    """
    import os

    from dfedge.bundle import Bundle
    from dfedge.fleet.supernode import QUIET, supernode

    opened = Bundle.open(bundle, signer, min_version)
    command = supernode(opened, folder, superlink, devices, root_certificates, key, insecure)
    os.execve(command[0], command, {**os.environ, **QUIET})
