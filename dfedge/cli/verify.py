"""``dfedge verify``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, progress, say, table
from dfedge.cli.options import BundleArg, Json, MinVersion, Runtimes


def run(
    bundle: BundleArg,
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps to compare.")] = 8,
    runtime: Runtimes = None,
    key: Annotated[
        Path | None,
        typer.Option(
            envvar="DFEDGE_REQUIRE_SIGNATURE",
            help="Public key (PEM). First check that the bundle is signed with it.",
        ),
    ] = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Train the golden batches in every runtime and compare every byte with PyTorch.

    Without torch, PyTorch's results from the export are the reference. If a byte differs, the exit
    code is 1 and the first difference is named by runtime, step, tensor and index. With --key, an
    unsigned bundle is refused before anything of it runs.

    [bold]Example:[/] dfedge verify out/bundle --steps 100
    """
    import msgspec

    from dfedge.bundle import Bundle
    from dfedge.verify import verify

    with progress() as watch:
        found = verify(Bundle.open(bundle, key, min_version), steps, runtime, watch)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        table(
            f"state after {steps:,} training steps",
            ["runtime", "SHA-256"],
            [list(row) for row in (*found.runtimes.items(), *found.not_run.items())],
        )
        if found.first_difference is None:
            if key:
                say(f"signed by {key}")
            say("identical: scores and state, every byte after every step")
        else:
            say(f"first difference: {found.first_difference}")
    if not found.identical:
        raise typer.Exit(1)
