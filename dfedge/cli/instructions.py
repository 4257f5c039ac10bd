"""What ``export`` and ``show`` say of the time that a call takes on a microcontroller."""

from collections.abc import Mapping

from dfedge.cli.console import say, table


def tell(bounds: Mapping[str, Mapping[str, int]]) -> None:
    """The table of `dfedge.device.instructions.bounds_of`; nothing where there is none."""
    from dfedge.native.instructions.kernels import MEANT

    if not bounds:
        return
    table(
        "instructions of a call in C, at most",
        ["call", *MEANT.values()],
        [[call, *(f"{row[name]:,}" for name in MEANT)] for call, row in bounds.items()],
    )
    say("an instruction is not a cycle: wait states, caches and multiplier are the chip's")
