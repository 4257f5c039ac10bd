"""A bundle's memory: what was planned at export, and what a process of its own measured."""

import subprocess
import sys
from collections.abc import Callable

import msgspec

from dfedge.bundle import Bundle
from dfedge.device.runners import check_runtimes, installed
from dfedge.errors import DfedgeError
from dfedge.profile.measure import Measured
from dfedge.target import load_target


class Planned(msgspec.Struct, frozen=True):
    """One method's planned bytes in one format."""

    format: str
    method: str
    arena_bytes: int
    state_bytes: int


class Report(msgspec.Struct, frozen=True):
    """Everything that ``dfedge profile`` tells.

    Attributes:
        sources: format -> who made its plan.
        measured: per runtime and method, on this computer.
    """

    bundle_sha256: str
    target: str
    target_ram_bytes: int
    planned: list[Planned]
    sources: dict[str, str]
    measured: list[Measured]


def profile(
    bundle: Bundle,
    runtimes: list[str] | None = None,
    target: str | None = None,
    calls: int = 30,
    watch: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Collect the plans and measure every method of the wanted (else all installed) runtimes.

    Raises:
        UsageError: an unknown runtime or target.
        DfedgeError: a measuring process that failed.
    """
    manifest = bundle.manifest
    name = target or manifest.target
    device = load_target(name)
    check_runtimes(bundle, runtimes or [])
    wanted = runtimes or [runtime for runtime in manifest.formats if installed(runtime)]
    jobs = [(runtime, method.name) for runtime in wanted for method in manifest.methods]
    measured = []
    for i, (runtime, method) in enumerate(jobs):
        watch(f"measure {runtime} {method}", i, len(jobs))
        measured.append(_measure(bundle, runtime, method, calls))
    planned = [
        Planned(format, method, plan.arena_bytes, plan.state_bytes)
        for format, record in manifest.formats.items()
        for method, plan in sorted(record.memory.items())
    ]
    sources = {format: record.memory_source for format, record in manifest.formats.items()}
    return Report(bundle.sha256, name, device.ram_bytes, planned, sources, measured)


def _measure(bundle: Bundle, runtime: str, method: str, calls: int) -> Measured:
    """Measure one method in a fresh process."""
    command = [
        sys.executable, "-m", "dfedge.profile.measure",
        str(bundle.folder), runtime, method, str(calls),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DfedgeError(f"measuring {runtime} {method} failed: {done.stderr.strip()[-400:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)
