"""``dfedge sign``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, say
from dfedge.cli.options import BundleArg, Json


def run(
    bundle: BundleArg,
    key: Annotated[Path, typer.Option(help="Your private Ed25519 key (PEM).")],
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Create the key first, and its public half KEY.pub.")
    ] = False,
    json: Json = False,
) -> None:
    """Sign a bundle: its manifest, and through the hashes in it every file.

    Only manifest.sig is written. Devices need only the public key.

    [bold]Example:[/] dfedge sign out/bundle --key maker.pem --new-key
    """
    from dfedge.bundle import Bundle
    from dfedge.integrity import signature

    opened = Bundle.open_own(bundle)
    public = signature.make_keys(key) if new_key else key.with_suffix(".pub")
    opened.sign(key)
    if json:
        print_json({"bundle": opened.sha256, "signature": str(opened.folder / signature.SIGNATURE)})
        return
    say(
        f"signed {bundle} ({opened.sha256[:12]})",
        next_command=f"dfedge verify {bundle} --key {public}",
    )
