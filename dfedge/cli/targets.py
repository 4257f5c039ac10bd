"""``dfedge targets``."""

from dfedge import configs
from dfedge.cli.console import kib, print_json, table
from dfedge.cli.options import Json


def run(json: Json = False) -> None:
    """List the devices that dfedge knows; any path of a .toml file may stand for one.

    [bold]Example:[/] dfedge targets --json
    """
    import msgspec

    from dfedge.target import load_target

    found = {name: load_target(name) for name in configs.names("targets")}
    if json:
        print_json(msgspec.to_builtins(found))
        return
    table(
        "targets",
        ["name", "RAM", "flash", "formats", "about"],
        [
            [n, kib(t.ram_bytes), kib(t.flash_bytes), ", ".join(t.formats), t.about]
            for n, t in sorted(found.items(), key=lambda item: item[1].ram_bytes)
        ],
    )
