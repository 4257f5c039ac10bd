"""The reference pages: every command with its options, and every public name of the Python API.

Both are read off the program, so that neither can be out of date.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMANDS, API = "<!-- commands -->", "<!-- api -->"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in what the two marks stand for."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(_commands()))
    if API in markdown:
        markdown = markdown.replace(API, "\n".join(_api()))
    return markdown


def _dfedge(module: str) -> Any:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(module)


def _commands() -> Iterator[str]:
    import typer

    root = typer.main.get_command(_dfedge("dfedge.cli.app").app)
    for name, command in root.commands.items():
        subs = getattr(command, "commands", None)
        yield f"## {name}\n"
        if subs is None:
            yield from _command(f"dfedge {name}", command)
            continue
        yield _text(command.help)
        for sub, one in subs.items():
            yield f"\n### {name} {sub}\n"
            yield from _command(f"dfedge {name} {sub}", one)


def _command(line: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = [line, *(one.name.upper() for one in arguments), "[OPTIONS]"]
    yield f"```\n{' '.join(words)}\n```\n"
    yield _text(command.help)
    options = [one for one in command.params if one.name != "help" and not one.hidden]
    if options:
        yield "\n| option | meaning | default |\n|---|---|---|"
    for one in options:
        names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
        if one in arguments:
            names = f"`{one.name.upper()}`"
        yield f"| {names} | {_cell(one.help or '')} | {_default(one)} |"
    yield ""


def _default(one: Any) -> str:
    if isinstance(one.show_default, str):
        return _cell(one.show_default)
    if one.required:
        return "required"
    if one.default in (None, False, "", [], ()) or callable(one.default):
        return ""
    return f"`{one.default}`"


def _text(help: str | None) -> str:
    """A command's help: its bold example becomes a block of code."""
    text = re.sub(r"\[/?bold\]|\[/\]", "", help or "")
    return re.sub(r"Example: (dfedge [^\n]*(?:\n[^\n]+)*)", r"```\n\1\n```", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _api() -> Iterator[str]:
    for name, home in sorted(_dfedge("dfedge")._HOMES.items(), key=lambda item: item[0].lower()):
        module, _, own = home.partition(":")
        yield f"::: dfedge.{module}.{own or name}\n    options:\n      heading: {name}\n"
