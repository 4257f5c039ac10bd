"""``dfedge state``: what was learned on this device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dfedge.cli.console import percent, print_json, say, size, table, warn
from dfedge.cli.manners import Commands
from dfedge.cli.options import BundleArg, Json, MinVersion, Runtime, Signer, State
from dfedge.errors import UsageError

if TYPE_CHECKING:
    from dfedge.bundle import Bundle
    from dfedge.device.store import Store

app = Commands(
    help="Show, export, import, compare, rebase or reset the learned state.",
    no_args_is_help=True,
)


def _open(
    bundle: Path,
    state: Path | None,
    signer: Path | None,
    min_version: int | None,
    *,
    write: bool = False,
) -> "tuple[Bundle, Store]":
    from dfedge.bundle import Bundle
    from dfedge.device.store import Store, default_folder

    opened = Bundle.open(bundle, signer, min_version)
    return opened, Store(state or default_folder(opened), read_only=not write)


@app.command()
def show(
    bundle: BundleArg,
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Show what the state folder holds, and which slot is the newest valid one.

    [bold]Example:[/] dfedge state show out/bundle
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer, min_version)
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
        ["size", size(shown.state_bytes)],
        ["SHA-256", shown.state_sha256],
        ["bundle", shown.bundle],
        ["bundle's version", str(shown.bundle_version or "none")],
        ["lineage", shown.lineage or "none"],
    ]
    table("learned state", ["", ""], rows)


@app.command("export")
def take_out(
    bundle: BundleArg,
    out: Annotated[Path, typer.Argument(help="File to write (safetensors).")],
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Write the learned state to one file, together with the identity of its bundle.

    [bold]Example:[/] dfedge state export out/bundle learned.safetensors
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer, min_version)
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
    source: Annotated[Path, typer.Argument(help="File made by dfedge state export.")],
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Save a file's state as the newest; the previous state stays in the other slot.

    [bold]Example:[/] dfedge state import out/bundle learned.safetensors
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer, min_version, write=True)
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
        Path | None,
        typer.Option(help="Exported state to compare with. Default: the bundle's first state."),
    ] = None,
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Show how far learning moved each layer.

    [bold]Example:[/] dfedge state diff out/bundle
    """
    from dfedge.device.store import transfer

    opened, store = _open(bundle, state, signer, min_version)
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
def rebase(
    onto: Annotated[
        Path, typer.Option(help="New bundle, from the same run with the same calibration.")
    ],
    old: Annotated[
        Path | None,
        typer.Argument(help="Bundle that the state belongs to, if it still exists."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the state. Default: beside OLD; without OLD, beside the new bundle."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: the new bundle's name with .state."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Rebase even if more than 2 % of the known samples are lost."),
    ] = False,
    runtime: Runtime = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Carry the learned state over to a new bundle of the same run: an update of the program.

    What learning changed is carried over; rates come from the new program. Accuracy on known
    samples is judged before and after. OLD and its state stay as they are.

    [bold]Example:[/] dfedge state rebase out/bundle --onto out/update
    """
    from dfedge.bundle import Bundle
    from dfedge.device import rebase as move

    opened = Bundle.open(onto, signer, min_version)
    store, done = move.rebase(opened, old, state, out, runtime, signer, force)
    warn(store.notes)
    record = done.stored.record
    if json:
        print_json(
            {
                "folder": str(store.folder),
                "bundle": opened.sha256,
                "step": record.steps,
                "samples": record.samples,
                "slot": store.slot,
                "judged": done.judged,
                "before": done.before,
                "after": done.after,
                "own": done.own,
                "carried": done.carried,
                "renewed": done.renewed,
                "semantics": done.semantics,
            }
        )
        return
    then, now = done.semantics
    if then != now:
        say(f"the integer semantics changed from {then} to {now}")
    say(f"carried: {_kinds(done.carried)}; of the new bundle: {_kinds(done.renewed)}")
    before = percent(done.before) if done.before is not None else "not run"
    say(
        f"known samples recognised: {before} -> {percent(done.after)} of {done.judged} "
        f"(the new bundle's own state: {percent(done.own)})"
    )
    say(
        f"wrote {store.folder} ({record.samples:,} presentations)",
        next_command=f"dfedge state show {onto}",
    )


def _kinds(names: tuple[str, ...]) -> str:
    """Tensors of all layers by the last part of their names."""
    return ", ".join(dict.fromkeys(name.rsplit(".", 1)[-1] for name in names))


@app.command()
def reset(
    bundle: BundleArg,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. It cannot be undone.")] = False,
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Delete everything that was learned, even if it is damaged.

    [bold]Example:[/] dfedge state reset out/bundle --yes
    """
    opened, store = _open(bundle, state, signer, min_version, write=True)
    if not yes:
        raise UsageError(f"{store.folder} would be deleted for good; confirm with --yes")
    store.reset()
    if json:
        print_json({"folder": str(store.folder)})
        return
    say(f"{store.folder} is empty: the state is {opened.folder}'s own")
