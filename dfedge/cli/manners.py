"""What every command has: --quiet and --verbose, and other names for what it takes."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from dfedge.cli.console import Verbosity, speak
from dfedge.plugins import trust
from dfedge.runtimes import own_name

Run = TypeVar("Run", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command with the options that all have."""

    def __init__(self, *args: Any, params: list[Any] | None = None, **settings: Any) -> None:
        super().__init__(*args, params=[*(params or []), *_common()], **settings)


class Commands(typer.Typer):
    """A group whose commands are `Command`."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Run], Run]:
        """See `typer.Typer.command`."""
        return super().command(name, **{"cls": Command} | settings)


def canonical(given: Any) -> Any:
    """The format or runtime that is meant, as ``tflite`` is litert; for an option's callback."""
    if isinstance(given, list | tuple):
        return list(dict.fromkeys(map(own_name, given)))
    return own_name(given) if isinstance(given, str) else given


def named(given: Any) -> Any:
    """What a person typed: if it is code, it may be imported; for an option's callback."""
    if isinstance(given, str):
        trust(given)
    return given


def canonical_target(given: Any) -> Any:
    """The target that is meant, as ``esp32`` is esp32-s3; for an option's callback."""
    from dfedge.target import own_name

    return own_name(given) if isinstance(given, str) else given


def _common() -> list[Any]:
    """Made anew for each command, by typer: it has no public way to make an option alone."""

    def model(
        quiet: bool = typer.Option(
            False, "--quiet", "-q", help="Print results only: no progress, notes or hints."
        ),
        verbose: bool = typer.Option(
            False, "--verbose", "-v", help="Print all details: every method, layer and table."
        ),
    ) -> None:
        pass

    bare = typer.Typer(add_completion=False)
    bare.command()(model)
    made = [one for one in typer.main.get_command(bare).params if one.name in ("quiet", "verbose")]
    for one in made:
        one.expose_value = False
        one.callback = _heard
    return made


def _heard(context: Any, option: Any, value: bool) -> None:
    if value:
        speak(Verbosity.QUIET if option.name == "quiet" else Verbosity.VERBOSE)
