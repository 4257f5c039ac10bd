"""Against roll-back: the least version of a bundle that its user takes.

A signature says who made a bundle, and an old bundle keeps its good signature.  So the manifest,
which is signed, holds a version that its maker raises with each bundle that is sent out.
"""

import os
from pathlib import Path

from dfedge.errors import DfedgeError, UsageError

REQUIRED = "DFEDGE_MIN_VERSION"
"""The variable that holds the version that every bundle must have at least."""


def required(given: int | None = None) -> int:
    """The least version: what was given, else what `REQUIRED` holds, else 0, which is any.

    Raises:
        UsageError: no whole number of 0 or more.
    """
    where, text = "--min-version", str(given)
    if given is None:
        where, text = REQUIRED, os.environ.get(REQUIRED, "0").strip()
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(
            f"{where} is {text or 'empty'}; allowed: a whole number of 0 or more; leave it out to "
            "take any version"
        )
    return int(text)


def check(folder: Path, version: int, least: int) -> None:
    """Refuse a bundle that is older than is taken.

    Raises:
        DfedgeError: its version is lower.
    """
    if version < least:
        found = f"has version {version}" if version else "has no version"
        raise DfedgeError(
            f"{folder} {found}; required: {least} or more; get a newer one from its maker "
            "(dfedge export --version N)"
        )
