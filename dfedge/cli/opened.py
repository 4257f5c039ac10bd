"""How every command that runs a bundle opens it: one place, so that none forgets a demand."""

from pathlib import Path
from typing import TYPE_CHECKING

from dfedge.cli.console import warn

if TYPE_CHECKING:
    from dfedge.device.care import Care
    from dfedge.device.session import Session


def open_session(
    bundle: Path,
    runtime: str | None,
    state: Path | None,
    initial: bool,
    signer: Path | None,
    min_version: int | None,
    care: "Care | None" = None,
    *,
    read_only: bool = False,
    threads: int = 1,
) -> "Session":
    """`dfedge.device.session.Session.open`; what it had to skip goes to stderr."""
    from dfedge.device.session import Session

    session = Session.open(
        bundle, runtime, state, initial, read_only=read_only, require_signature=signer,
        care=care, min_version=min_version, threads=threads,
    )  # fmt: skip
    warn([*session.notes, *session.store.notes])
    return session
