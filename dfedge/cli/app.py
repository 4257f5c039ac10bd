"""The application ``dfedge``: its commands in the order of the route, and its exit codes.

0 done, 1 data or files that cannot be used, 2 a name or option that does not exist, 3 the machine
could not (disk full, state in use by another process, no memory): all is as it was, try again.
130 and 143 stopped by Ctrl-C and by SIGTERM.
"""

import os
import sys
from difflib import get_close_matches
from typing import Annotated, Any

import typer

import dfedge
from dfedge.cli import (
    add_class,
    adopt,
    bench,
    calibrate,
    continual,
    demo,
    doctor,
    evaluate,
    export,
    finetune,
    fit,
    fleet_flower,
    live,
    predict,
    profile,
    reproduce,
    show,
    sign,
    state,
    targets,
    train,
    verify,
)
from dfedge.cli.console import fail, take_notes
from dfedge.cli.manners import Commands
from dfedge.cli.signals import told
from dfedge.errors import DfedgeError

app = Commands(
    help="Train with Distance-Forward learning, export in int8, and keep learning on the device.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    train,
    adopt,
    calibrate,
    fit,
    export,
    predict,
    live,
    evaluate,
    finetune,
    add_class,
    continual,
    show,
    profile,
    verify,
    sign,
    bench,
    doctor,
    demo,
    reproduce,
):
    app.command(command.__name__.rsplit(".", 1)[-1].replace("_", "-"))(command.run)
app.add_typer(targets.app, name="targets")
app.add_typer(state.app, name="state")
app.add_typer(fleet_flower.app, name="fleet")


CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""What Typer raises at options and arguments: the class has moved between packages."""
INTERRUPTED = 130
"""What Typer makes of a KeyboardInterrupt."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfedge {dfedge.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run, with one clear line instead of a traceback where the input is at fault."""
    take_notes()
    try:
        with told():
            code = app(standalone_mode=False)
            if code == INTERRUPTED:
                raise KeyboardInterrupt
    except CLICK_ERROR as error:
        sys.exit(_misused(error))
    except DfedgeError as error:
        sys.exit(fail(str(error), error.exit_code))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(
            fail(
                f"{where}{error.strerror or error}; choose another path or make room, and repeat", 3
            )
        )
    except MemoryError:
        sys.exit(fail("out of memory; what was saved before is as it was; free some and repeat", 3))
    sys.exit(code if isinstance(code, int) else 0)


def _misused(error: Any) -> int:
    """One line for an option or argument that does not exist, or help where nothing was given."""
    if not error.format_message() or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    text = error.format_message().rstrip(".")
    possible = getattr(error, "possibilities", None)
    if possible:  # all that begin alike: one of them is meant
        near = get_close_matches(error.option_name, possible, n=1, cutoff=0)
        text = f"No such option: {error.option_name} (did you mean '{near[0]}'?)"
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context else ""
    return fail(f"{text}{hint}", error.exit_code)
