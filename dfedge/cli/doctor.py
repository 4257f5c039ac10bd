"""``dfedge doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, say, table
from dfedge.cli.options import Json, MinVersion, Signer


def run(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle whose golden batches are also run.")
    ] = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """List the runtimes that are installed, and how to install the others.

    With a bundle, run its golden batches in every runtime and compare every integer.

    [bold]Example:[/] dfedge doctor out/bundle
    """
    from dfedge.device.doctor import examine, try_bundle

    parts = examine()
    tried = try_bundle(bundle, signer, min_version) if bundle else []
    if json:
        print_json(
            {
                "parts": [vars(part) for part in parts],
                "bundle": [vars(trial) for trial in tried],
            }
        )
    else:
        table(
            "what dfedge can use here",
            ["part", "version", "for"],
            [[p.name, p.version or f"missing: {p.remedy}", p.purpose] for p in parts],
        )
        for trial in tried:
            say(f"{trial.runtime}: {trial.result}")
    if any(not trial.good for trial in tried):
        raise typer.Exit(1)
