"""The measuring process: ``python -m dfedge.profile.measure BUNDLE RUNTIME METHOD CALLS``.

Opens the bundle in one runtime, calls one method, and prints one JSON object.
"""

import resource
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path

import msgspec

from dfedge.bundle import Bundle
from dfedge.device.replay import golden_call
from dfedge.device.runners import open_runner
from dfedge.runtimes import runtime as record_of


class Measured(msgspec.Struct, frozen=True):
    """One method in one runtime.

    Attributes:
        before_bytes: peak resident memory once interpreter and runtime are imported.
        peak_bytes: peak resident memory after the calls.
        median_ms: time of one call.
    """

    runtime: str
    method: str
    before_bytes: int
    peak_bytes: int
    median_ms: float


def peak_resident_bytes() -> int:
    """This process's peak resident memory.

    On Linux from the kernel's account of this program image: getrusage would still count the parent
    that it was forked from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(folder: Path, runtime: str, method: str, calls: int) -> Measured:
    """Call the method on golden inputs."""
    bundle = Bundle.open(folder)
    import_module(record_of(runtime).runner.split(":")[0])
    before = peak_resident_bytes()
    runner = open_runner(bundle, runtime)
    call = golden_call(bundle, runner, method, 0)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    median = round(statistics.median(times), 3)
    return Measured(runtime, method, before, peak_resident_bytes(), median)


if __name__ == "__main__":
    result = measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
    print(msgspec.json.encode(result).decode())
