"""``dfedge targets list | show | check``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge import configs
from dfedge.cli.console import print_json, say, size, table
from dfedge.cli.manners import Commands, canonical_target
from dfedge.cli.options import Json

app = Commands(
    help="Show and check known devices.\n\n[bold]Example:[/] dfedge targets show rp2350",
    no_args_is_help=True,
)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the devices. The path of a .toml file may be used instead of a name.

    [bold]Example:[/] dfedge targets list --json
    """
    import msgspec

    from dfedge.target import load_target

    found = {name: load_target(name) for name in configs.names("targets")}
    if json:
        print_json({name: {**msgspec.to_builtins(t), "allowed_bytes": t.allowed_bytes}
                    for name, t in found.items()})  # fmt: skip
        return
    table(
        "targets",
        ["name", "RAM", "for a model", "flash", "runtimes"],
        [
            [n, size(t.ram_bytes), size(t.allowed_bytes), size(t.flash_bytes),
             ", ".join(t.runtimes)]
            for n, t in sorted(found.items(), key=lambda item: item[1].ram_bytes)
        ],
    )  # fmt: skip
    say("what each is, and where its numbers come from:", next_command="dfedge targets show NAME")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            callback=canonical_target, help="A name from the list, or the path of a .toml file."
        ),
    ],
    json: Json = False,
) -> None:
    """Show one device: every number with its source.

    [bold]Example:[/] dfedge targets show rp2350
    """
    import msgspec

    from dfedge.target import load_target

    target = load_target(name)
    if json:
        print_json({**msgspec.to_builtins(target), "allowed_bytes": target.allowed_bytes})
        return
    say(target.about)
    numbers = {"ram_bytes": "RAM", "flash_bytes": "flash"}
    rows = [
        [field, f"{getattr(target, field):,}", getattr(target.sources, field)]
        for field in (*numbers, "arena_alignment", "model_share")
    ]
    table(name, ["number", "value", "source"], rows)
    say(
        f"a model may take {size(target.allowed_bytes)} of RAM (arena and state); "
        f"runtimes: {', '.join(target.runtimes)}"
    )


@app.command()
def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help=".toml files to check. Default: all that come with dfedge."),
    ] = None,
) -> None:
    """Check target files: every number must be present, positive and have a source.

    [bold]Example:[/] dfedge targets check my-board.toml
    """
    from dfedge.errors import UsageError
    from dfedge.target import load_target

    names = [str(path) for path in paths or []] or configs.names("targets")
    for name in names:
        if paths and not name.endswith(".toml"):
            raise UsageError(f"{name}: a target's file ends in .toml; dfedge targets show {name}")
        load_target(name)
    say(f"{len(names)} target{'s' if len(names) > 1 else ''} in order: {', '.join(names)}")
