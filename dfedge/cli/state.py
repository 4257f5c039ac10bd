"""``dfedge state``: what was learned on this device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dfedge.cli.console import percent, print_json, say, table, warn
from dfedge.cli.options import BundleArg, Json, Signer, State
from dfedge.errors import UsageError

if TYPE_CHECKING:
    from dfedge.bundle import Bundle
    from dfedge.device.store import Store

app = typer.Typer(
    help="Show, export, import, compare or reset what was learned.", no_args_is_help=True
)


def _open(
    bundle: Path, state: Path | None, signer: Path | None, *, write: bool = False
) -> "tuple[Bundle, Store]":
    from dfedge.bundle import Bundle
    from dfedge.device.store import Store, default_folder

    opened = Bundle.open(bundle, signer)
    return opened, Store(state or default_folder(opened), read_only=not write)


@app.command()
def show(bundle: BundleArg, state: State = None, signer: Signer = None, json: Json = False) -> None:
    """Say what the state folder holds, and which of its slots is the newest whole one.

    [bold]Example:[/] dfedge state show out/bundle
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer)
    shown = transfer.show(store, opened)
    if json:
        print_json(msgspec.to_builtins(shown))
        return
    warn(shown.notes)
    rows = [
        ["folder", shown.folder],
        ["slot", shown.slot or "none: the bundle's own state"],
        ["save", f"{shown.sequence:,}"],
        ["steps", f"{shown.step:,}"],
        ["presentations", f"{shown.samples:,}"],
        ["bytes", f"{shown.state_bytes:,}"],
        ["SHA-256", shown.state_sha256],
        ["bundle", shown.bundle],
    ]
    table("learned state", ["", ""], rows)


@app.command("export")
def take_out(
    bundle: BundleArg,
    out: Annotated[Path, typer.Argument(help="The file to write (safetensors).")],
    state: State = None,
    signer: Signer = None,
    json: Json = False,
) -> None:
    """Write what was learned to one file, with the bundle that it belongs to.

    [bold]Example:[/] dfedge state export out/bundle learned.safetensors
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer)
    stored = transfer.take_out(store, opened, out)
    warn(store.notes)
    if json:
        print_json({"file": str(out), "step": stored.record.steps, "slot": store.slot})
        return
    say(
        f"wrote {out} ({stored.record.samples:,} presentations)",
        next_command=f"dfedge state import {bundle} {out} --state ELSEWHERE",
    )


@app.command("import")
def bring_in(
    bundle: BundleArg,
    source: Annotated[Path, typer.Argument(help="A file of dfedge state export.")],
    state: State = None,
    signer: Signer = None,
    json: Json = False,
) -> None:
    """Save a file's state as the newest; what was there before stays in the other slot.

    [bold]Example:[/] dfedge state import out/bundle learned.safetensors
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer, write=True)
    stored = transfer.bring_in(store, opened, source)
    warn(store.notes)
    if json:
        print_json({"folder": str(store.folder), "step": stored.record.steps, "slot": store.slot})
        return
    say(
        f"wrote {store.folder} ({stored.record.samples:,} presentations)",
        next_command=f"dfedge state show {bundle}",
    )


@app.command()
def diff(
    bundle: BundleArg,
    against: Annotated[
        Path | None, typer.Option(help="An exported state; default: the bundle's own.")
    ] = None,
    state: State = None,
    signer: Signer = None,
    json: Json = False,
) -> None:
    """Say how far learning moved each layer.

    [bold]Example:[/] dfedge state diff out/bundle
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer)
    before = transfer.read_file(opened, against).state if against else opened.initial_state()
    moved = transfer.compare(transfer.current(store, opened).state, before)
    warn(store.notes)
    if json:
        since = str(against) if against else opened.sha256
        print_json({"since": since, "moved": msgspec.to_builtins(moved)})
        return
    table(
        f"moved since {against or 'the bundle'}",
        ["tensor", "values changed", "mean step", "largest step"],
        [[m.tensor, percent(m.changed), f"{m.mean_step:.2f}", str(m.largest_step)] for m in moved],
    )


@app.command()
def reset(
    bundle: BundleArg,
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone.")] = False,
    state: State = None,
    signer: Signer = None,
    json: Json = False,
) -> None:
    """Drop everything that was learned, whole or damaged.

    [bold]Example:[/] dfedge state reset out/bundle --yes
    """
    opened, store = _open(bundle, state, signer, write=True)
    if not yes:
        raise UsageError(f"{store.folder} would be emptied for good; say so with --yes")
    store.reset()
    if json:
        print_json({"folder": str(store.folder)})
        return
    say(f"{store.folder} is empty: the state is {opened.folder}'s own")
