"""Flower's SuperNode as a gateway's process: which command it is, and in what environment."""

import shutil
import sys
from pathlib import Path

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError, UsageError

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""In the environment of what starts Flower: no telemetry, and no look for updates."""
SUPERNODE = "flower-supernode"


def supernode(
    bundle: Bundle,
    folder: Path,
    superlink: str,
    devices: int = 1,
    root_certificates: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
) -> list[str]:
    """The command of a SuperNode that is a gateway, for the app of `new_app`.

    Args:
        folder: of `dfedge.fleet.gateway`.
        devices: for how many it waits.

    Raises:
        UsageError: a path that Flower's options cannot say, or TLS both wanted and not.
        DfedgeError: Flower is not installed.
    """
    if insecure and root_certificates:
        raise UsageError("--insecure means no TLS; leave out --root-certificates")
    places = {"bundle": bundle.folder.resolve(), "gateway": folder.resolve()}
    bad = next((path for path in places.values() if set("'\n") & set(str(path))), None)
    if bad is not None:
        raise UsageError(f"{bad}: Flower cannot be told a name with a quote; choose another folder")
    beside = str(Path(sys.executable).parent)
    program = shutil.which(SUPERNODE) or shutil.which(SUPERNODE, path=beside)
    if program is None:
        raise DfedgeError(f"no {SUPERNODE} here; pip install 'dfedge[fleet]'")
    config = " ".join(f"{name}='{path}'" for name, path in places.items()) + f" devices={devices}"
    trust = ["--root-certificates", str(root_certificates)] if root_certificates else []
    known = ["--auth-supernode-private-key", str(key)] if key else []
    return [program, *(["--insecure"] if insecure else trust), *known, "--superlink", superlink,
            "--node-config", config]  # fmt: skip
