"""``dfedge show``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.cli.console import out, print_json, say, size, table
from dfedge.cli.instructions import tell
from dfedge.cli.options import BundleArg, Json, MinVersion
from dfedge.trunk import text

if TYPE_CHECKING:
    from dfedge.listing import OperationRow

WIDE = 160
"""Columns of a terminal that holds every column of the list."""


def run(
    bundle: BundleArg,
    training: Annotated[
        bool, typer.Option("--training/--inference", help="Also show what a training step adds.")
    ] = True,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Print a bundle's program: every operation, its shapes, bytes, place in memory and C kernel.

    A sample passes through the rows from the top; a training step adds the rows marked +. Bytes are
    for one sample. Constants lie in flash; the state is what learning changes. Below them stand
    the instructions that a call takes at most on a microcontroller, by its set of kernels.

    [bold]Example:[/] dfedge show out/bundle
    """
    import msgspec

    from dfedge.bundle import Bundle
    from dfedge.device.instructions import bounds_of
    from dfedge.listing import listing

    opened = Bundle.open(bundle, None, min_version)
    plan = opened.manifest.plan
    rows = [row for row in listing(plan) if training or not row.training]
    if json:
        print_json({
            "input": list(plan.input_shape), "classes": len(opened.manifest.classes),
            "feedback": plan.feedback, "form": plan.form, "operations": msgspec.to_builtins(rows),
            "instructions": bounds_of(opened),
        })  # fmt: skip
        return
    wide = out.width >= WIDE
    columns = ["operation", "of", "reads", "makes", "", "bytes", "constants", "state"]
    table(
        f"{bundle}: feedback {plan.feedback}, {plan.form}, image {text(plan.input_shape)}",
        columns + (["place", "kernel"] if wide else []),
        [_cells(row) + ([row.place, row.kernel] if wide else []) for row in rows],
    )
    if not wide:
        say(f"place in memory and C kernel: in a terminal of {WIDE} columns (COLUMNS={WIDE}), or "
            "with --json")  # fmt: skip
    tell(bounds_of(opened))
    constants = sum(row.constant_bytes for row in rows)
    state = sum(row.state_bytes for row in rows)
    say(f"constants: {size(constants)} in flash; weights and anchors: {size(state)} of the state",
        next_command=f"dfedge profile {bundle}")  # fmt: skip


def _cells(row: "OperationRow") -> list[str]:
    state = f"{row.state_bytes:,}{'' if row.learns else ' fixed'}" if row.state_bytes else ""
    return [
        f"{'+' if row.training else row.number} {row.operation}",
        row.where,
        ", ".join(row.reads),
        row.name,
        text(row.makes),
        f"{row.bytes:,}",
        f"{row.constant_bytes:,}" if row.constant_bytes else "",
        state,
    ]
