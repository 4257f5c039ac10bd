"""``dfedge fleet``: many devices learn together, by files."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dfedge.cli.console import percent, print_json, say, shown, size, table, warn
from dfedge.cli.fleet_privacy import ClipNorm, DpDelta, NoiseMultiplier, privacy_of
from dfedge.cli.manners import Commands
from dfedge.cli.options import BundleArg, Json, MinVersion, Signer, State
from dfedge.errors import DfedgeError, UsageError
from dfedge.fleet.words import DP_DELTA, MEAN, RULE_HELP

if TYPE_CHECKING:
    from dfedge.bundle import Bundle
    from dfedge.device.store import StoredState
    from dfedge.fleet.files import Told
    from dfedge.fleet.merge import Merged

app = Commands(
    help="Many devices learn together: their changes are summed exactly, in integers.",
    no_args_is_help=True,
)

BaseOption = Annotated[
    Path | None,
    typer.Option(
        "--base", help="State that the round began with. Default: the bundle's first state."
    ),
]
TakenBase = Annotated[
    Path | None,
    typer.Option(
        "--base", help="Base that the device took last. Default: the one in the state folder."
    ),
]
Files = Annotated[list[Path], typer.Argument(help="Deltas, or folders with *.delta files.")]
PARTS_HELP = "all, weights, anchors, last (layer), layer2, or a tensor's name. Repeatable."
Share = Annotated[
    list[str] | None, typer.Option(help=f"Parts that are sent: {PARTS_HELP}", show_default="all")
]
Personal = Annotated[
    list[str] | None,
    typer.Option(help=f"Parts that stay on the device: {PARTS_HELP}", show_default="nothing"),
]


@app.command()
def delta(
    bundle: BundleArg,
    out: Annotated[Path, typer.Option(help="File to write.")],
    base: TakenBase = None,
    share: Share = None,
    personal: Personal = None,
    device: Annotated[
        str, typer.Option(help="Name of the device; only one delta per device counts.")
    ] = "",
    key: Annotated[
        Path | None, typer.Option(help="Private Ed25519 key (PEM) that signs the delta.")
    ] = None,
    state: State = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Write what this device learned since the base: only differences, a few KB, no sample.

    --state may also be a file: of dfedge state export, or of dfedge-run, or a copy of a chip's
    flash; of these two the base that is given is believed.

    [bold]Example:[/] dfedge fleet delta out/bundle --out me.delta
    """
    from dfedge.atomic import write_out
    from dfedge.bundle import Bundle
    from dfedge.fleet.base import read_stored
    from dfedge.fleet.difference import Shared, difference
    from dfedge.fleet.files import told
    from dfedge.fleet.signed import signed

    opened = Bundle.open(bundle, signer, min_version)
    stored, where = _learned(opened, state, base)
    begun = read_stored(opened, base or _kept(opened, where, stored))
    shared = Shared(share or ["all"], personal or [])
    raw = difference(opened, stored, begun, where, shared, device)
    write_out(out, signed(raw, key) if key else raw)
    about = told(str(out), out.read_bytes())
    if json:
        print_json(msgspec.to_builtins(about))
        return
    say(
        f"wrote {out}: {size(about.bytes)}, {about.samples:,} presentations, "
        f"{percent(about.changed)} of {about.values:,} values moved",
        next_command=f"dfedge fleet merge {bundle} {out} --out NEXT.safetensors"
        + (f" --base {base}" if base else ""),
    )


@app.command()
def merge(
    bundle: BundleArg,
    files: Files,
    out: Annotated[Path, typer.Option(help="File for the next base.")],
    base: BaseOption = None,
    rule: Annotated[str, typer.Option(help=RULE_HELP)] = MEAN,
    bits: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            help="Bits of each value's fraction that the server keeps beside OUT.",
            show_default="the base's, else 8",
        ),
    ] = None,
    late: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Also merge deltas whose base is up to this many rounds old."
        ),
    ] = 0,
    signers: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public keys of known devices, or folders with *.pub files. Other deltas are "
            "refused."
        ),
    ] = None,
    step: Annotated[
        Path | None,
        typer.Option(
            help="Also write the difference between the base and OUT: a few KB for devices "
            "that have the base."
        ),
    ] = None,
    noise_multiplier: NoiseMultiplier = None,
    clip_norm: ClipNorm = None,
    dp_delta: DpDelta = DP_DELTA,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop if any delta cannot be merged.")
    ] = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Make the next base from many devices' deltas: the same bytes in any order of the files.

    A delta that is damaged, of another base, or has impossible values is skipped, reported and
    counted; the others are merged. OUT and OUT.fraction, which only the server needs, are
    written at the end.

    [bold]Example:[/] dfedge fleet merge out/bundle inbox --base round3.safetensors
    --out round4.safetensors
    """
    from dfedge.atomic import write_out
    from dfedge.bundle import Bundle
    from dfedge.fleet.base import read_base, write_base
    from dfedge.fleet.difference import step as steps_to
    from dfedge.fleet.files import read_deltas
    from dfedge.fleet.merge import HEAVIEST
    from dfedge.fleet.merge import merge as merged
    from dfedge.fleet.signed import keys

    opened = Bundle.open(bundle, signer, min_version)
    privacy = privacy_of(noise_multiplier, clip_norm, dp_delta)
    if privacy and out.exists():
        raise DfedgeError(
            f"{out} is there; its deltas must not be merged with other noise if it was sent: "
            "begin the next round with it, or remove it if it never left the server"
        )
    begun = read_base(opened, base, bits)
    epsilon = privacy.epsilon(privacy.after(begun.spent)) if privacy else None
    found = merged(
        opened, begun, read_deltas(files), rule, late, keys(signers) if signers else None, privacy
    )
    lines = [f"{one.name}: {one.kind}: {one.why}" for one in found.passed]
    if strict and lines:
        raise DfedgeError(f"{lines[0]} ({len(lines)} in all); nothing was written")
    write_base(found.base, out)
    if step:
        write_out(step, steps_to(opened, found.base.stored, begun.stored))
    if json:
        print_json({**_merged(found, out), "epsilon": epsilon})
        return
    warn(lines)
    warn([f"{name}: weighs {HEAVIEST} times the median of all devices, less than it claims"
          for name in found.capped])  # fmt: skip
    if found.left_out and privacy:
        warn([f"noise cannot hide new classes; not merged: {', '.join(found.left_out)}"])
    elif found.left_out:
        warn([f"no row was left for {', '.join(found.left_out)}; export more --spare-classes"])
    _tell(found, bundle, out)
    if epsilon is not None:
        say(f"epsilon after {found.base.round} rounds: {epsilon:.3g} at delta {dp_delta:g}")


@app.command()
def take(
    bundle: BundleArg,
    file: Annotated[
        Path, typer.Argument(metavar="BASE", help="File made by dfedge fleet merge: OUT or a step.")
    ],
    base: TakenBase = None,
    share: Share = None,
    personal: Personal = None,
    state: State = None,
    c: Annotated[
        Path | None,
        typer.Option("--c", help="Write a state file for dfedge-run or a microcontroller instead."),
    ] = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Take a base: shared parts come from the fleet, personal parts stay this device's own.

    The previous state stays in the other slot until the next save.

    [bold]Example:[/] dfedge fleet take out/bundle round4.safetensors
    """
    from dfedge.atomic import write_out
    from dfedge.bundle import Bundle
    from dfedge.device.store import Store, default_folder
    from dfedge.device.store.transfer import current
    from dfedge.fleet.base import keep_base, read_next
    from dfedge.fleet.difference import Shared
    from dfedge.fleet.state_file import state_file
    from dfedge.fleet.take import taken
    from dfedge.state import digest

    opened = Bundle.open(bundle, signer, min_version)
    if c:
        if state or share or personal:
            raise UsageError("--c writes the whole base; leave out --state, --share, --personal")
        begun = read_next(opened, file, base)
        write_out(c, state_file(opened, begun))
        if json:
            print_json({"file": str(c), "base": digest(begun.state)})
        else:
            say(f"wrote {c}: base {digest(begun.state)[:12]}")
        return
    store = Store(state or default_folder(opened))
    shared = Shared(share or ["all"], personal or [])
    own = current(store, opened)
    begun = read_next(opened, file, base or _kept(opened, store.folder, own))
    next_state = taken(opened, own, begun, store.folder, shared)
    with store.writing():
        keep_base(store.folder, begun)
        store.save(next_state)
    warn(store.notes)
    record = next_state.record
    if json:
        print_json({"folder": str(store.folder), "base": record.fleet_base, "slot": store.slot,
                    "added": list(record.added)})  # fmt: skip
        return
    say(
        f"wrote {store.folder}: base {record.fleet_base[:12]}",
        next_command=f"dfedge finetune {bundle} --data YOURS",
    )


@app.command()
def status(files: Files, json: Json = False) -> None:
    """Show what deltas hold: base, presentations, bytes, and how much changed.

    [bold]Example:[/] dfedge fleet status inbox
    """
    from dfedge.fleet.files import read_deltas, told

    every = [told(name, raw) for name, raw in read_deltas(files)]
    whole = [one for one in every if not one.fault]
    if json:
        print_json({"deltas": msgspec.to_builtins(every), "bases": _bases(whole)})
        return
    warn([f"{one.file}: damaged: {one.fault}" for one in every if one.fault])
    table(
        f"{len(whole):,} of {len(every):,} deltas are whole",
        ["file", "device", "base", "presentations", "bytes", "moved", "largest", "new classes"],
        [
            [Path(one.file).name, one.device, one.base_sha256[:12], f"{one.samples:,}",
             f"{one.bytes:,}", percent(one.changed), str(one.largest), ", ".join(one.new)]
            for one in whole
        ],
    )  # fmt: skip
    for base, count in _bases(whole).items():
        say(f"base {base[:12]}: {count:,} deltas")


def _bases(whole: "list[Told]") -> dict[str, int]:
    return dict(Counter(one.base_sha256 for one in whole))


def _kept(bundle: "Bundle", where: Path, stored: "StoredState") -> Path | None:
    """The base that a state folder keeps; None: the bundle's own."""
    from dfedge.fleet.base import kept_base

    return kept_base(bundle, where, stored.record) if where.is_dir() else None


def _learned(bundle: "Bundle", state: Path | None, base: Path | None) -> "tuple[StoredState, Path]":
    """A device's state and where it lies: a folder, or one file."""
    from dfedge.device.store import Store, default_folder
    from dfedge.device.store.transfer import learned, read_file
    from dfedge.fleet.base import read_stored
    from dfedge.fleet.state_file import is_state_file, read_state_file
    from dfedge.regular import is_file

    if state and is_file(state):
        if is_state_file(state):
            return read_state_file(bundle, state, read_stored(bundle, base)), state
        return read_file(bundle, state), state
    store = Store(state or default_folder(bundle), read_only=True)
    try:
        return learned(store, bundle), store.folder
    finally:
        warn(store.notes)


def _merged(found: "Merged", out: Path) -> dict[str, object]:
    return {
        "file": str(out),
        "base_sha256": found.base.sha256,
        "round": found.base.round,
        "merged": len(found.taken),
        "presentations": sum(one.header.samples for one in found.taken),
        "bytes": sum(len(one.raw) for one in found.taken),
        "late": sum(one.late for one in found.taken),
        "capped": list(found.capped),
        "passed": [{"file": one.name, "kind": one.kind, "why": one.why} for one in found.passed],
        "new_classes": list(found.new),
        "left_out": list(found.left_out),
    }


def _tell(found: "Merged", bundle: Path, out: Path) -> None:
    from dfedge.fleet.sift import counted

    passed = "".join(f", {count:,} {kind}" for kind, count in counted(found.passed).items())
    new = f"; new classes: {shown(', '.join(found.new))}" if found.new else ""
    say(f"merged {len(found.taken):,} deltas{passed}{new}")
    say(
        f"wrote {out}: round {found.base.round}, base {found.base.sha256[:12]}",
        next_command=f"dfedge fleet take {bundle} {out}",
    )
