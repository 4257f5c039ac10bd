"""How long a merge takes, and how much memory, of up to 2,000 deltas.

    OMP_NUM_THREADS=1 python examples/experiments/fleet_size.py out/fleet/digits-0/bundle

Deltas as a round of turned digits makes them: half of all values move, by a few steps.  Each merge
runs in a process of its own, from files to files, as ``dfedge fleet merge`` does.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from dated import dated

from dfedge.bundle import Bundle
from dfedge.device.store import StoredState, belonging
from dfedge.fleet.base import read_base, write_base
from dfedge.fleet.difference import difference
from dfedge.fleet.files import read_deltas
from dfedge.fleet.merge import merge
from dfedge.fleet.parts import moved_names
from dfedge.fleet.rules import RULES

RESULTS, WORK = Path(__file__).parent / "results" / "fleet_size.json", Path("out/fleet-size")
COUNTS = (250, 500, 1000, 2000)


def make(bundle: Bundle, count: int) -> None:
    base, record = bundle.initial_state(), belonging(bundle)
    for i in range(count):
        path = WORK / f"{i:04}.delta"
        if path.exists():
            continue
        draw, state = np.random.default_rng(i), dict(base)
        for name in moved_names(base):
            move = np.rint(draw.standard_normal(base[name].shape) * 1.2).astype(np.int64)
            least = 0 if name.endswith(".anchors") else -127
            state[name] = (base[name] + move).clip(least, 127).astype(np.int8)
            if name.endswith(".anchors"):
                state[name][len(bundle.manifest.classes) :] = 0
        own = type(record)(**{**{f: getattr(record, f) for f in record.__struct_fields__},
                              "samples": 128, "steps": 8})  # fmt: skip
        raw = difference(
            bundle, StoredState(state, own), StoredState(base, record), path, device=str(i)
        )
        path.write_bytes(raw)


def one(folder: Path, count: int, rule: str) -> None:
    """In a process of its own: merge and say what it took."""
    bundle, start = Bundle.open(folder), time.perf_counter()
    files = [WORK / f"{i:04}.delta" for i in range(count)]
    found = merge(bundle, read_base(bundle, None), read_deltas(files), rule)
    write_base(found.base, WORK / "next")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = time.perf_counter() - start
    print(json.dumps({"deltas": len(found.taken), "seconds": seconds, "peak_bytes": peak}))


def main(folder: Path) -> None:
    """See the module's text."""
    WORK.mkdir(parents=True, exist_ok=True)
    make(Bundle.open(folder), max(COUNTS))
    rows = []
    for rule in RULES:
        for count in COUNTS:
            command = [sys.executable, __file__, str(folder), str(count), rule]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows.append({"rule": rule, **json.loads(said)})
            print(rows[-1], flush=True)
    size = sum(path.stat().st_size for path in WORK.glob("*.delta"))
    RESULTS.write_text(json.dumps({**dated(), "bytes_of_all": size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else:
        main(Path(sys.argv[1]))
