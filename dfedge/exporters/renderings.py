"""Which renderings of the wanted formats are made: ``--rendering native|stock|both``."""

from collections.abc import Iterable

from dfedge.compile.state import State
from dfedge.errors import DfedgeError, UsageError, unknown_name
from dfedge.exporters.golden import to_arrays
from dfedge.native.glue import lacking_compiler
from dfedge.native.program import NativeProgram
from dfedge.native.rendering import RENDERED, native_of
from dfedge.native.table import make_table
from dfedge.plan import Plan

RENDERINGS = ("both", "native", "stock")


def check_rendering(rendering: str, formats: Iterable[str]) -> None:
    """Refuse what is not a rendering, or one that a format does not have.

    Raises:
        UsageError: naming it.
    """
    if rendering not in RENDERINGS:
        raise unknown_name("rendering", rendering, list(RENDERINGS))
    if rendering == "native" and "litert" in formats:
        raise UsageError(
            f"--rendering native: litert has the stock rendering only; {' and '.join(RENDERED)} "
            "have both"
        )


def renderings(
    formats: Iterable[str], rendering: str, plan: Plan, state: State, constants: State
) -> tuple[list[str], list[str]]:
    """The formats to write, in their order, and why a native rendering was left out of ``both``.

    Raises:
        DfedgeError: ``native`` alone is wanted and cannot be made here.
    """
    names, notes = [], []
    for name in formats:
        if name not in RENDERED or rendering != "native":
            names.append(name)
        if name not in RENDERED or rendering == "stock":
            continue
        reason = _impossible(native_of(name), plan, state, constants)
        if reason is None:
            names.append(native_of(name))
        elif rendering == "native":
            raise DfedgeError(f"{name}: no native rendering here: {reason}")
        else:
            notes.append(f"{name}: stock rendering only: {reason}")
    return list(dict.fromkeys(names)), notes


def _impossible(name: str, plan: Plan, state: State, constants: State) -> str | None:
    """Why a native rendering cannot be made and verified here; None where it can."""
    lacking = lacking_compiler(name)
    if lacking is not None:
        return f"not found: {lacking}"
    try:
        NativeProgram(plan, make_table(plan, to_arrays(state), to_arrays(constants)))
    except DfedgeError as error:
        return str(error)
    return None
