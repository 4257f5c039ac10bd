"""A program that learns real data in 256 KB, arena and state together, at batch 1.

    python examples/experiments/budget.py out/mnist mnist c results/budget-mnist-c.json

A trained, calibrated run is exported with ``--budget 256KB --batch 1``, then meets the same images
turned by 90 degrees: accuracy on the turned test split before and after one pass of 2,000
presentations, one at a time, in the exported program.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BUDGET, SHIFT, SAMPLES = "256KB", "rotate:90", 2000


def dfedge(*args: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "dfedge", *map(str, args), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(run: str, data: str, format: str, out: str) -> None:
    turned = ("--data", data, "--shift", SHIFT, "--runtime", format)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        made = dfedge(
            "export", run, "--format", format, "--batch", 1, "--budget", BUDGET, "--out", bundle
        )
        memory = made["formats"][format]["memory"]
        needs = {name: plan["arena_bytes"] + plan["state_bytes"] for name, plan in memory.items()}
        before = dfedge("evaluate", bundle, *turned)["accuracy"]
        upright = dfedge("evaluate", bundle, "--data", data, "--runtime", format)["accuracy"]
        dfedge("finetune", bundle, *turned, "--samples", SAMPLES)
        after = dfedge("evaluate", bundle, *turned)["accuracy"]
    found = {
        "run": run, "data": data, "format": format, "budget_bytes": 256 * 1024,
        "needs_bytes": needs, "arena_and_state": memory, "shift": SHIFT, "samples": SAMPLES,
        "upright": upright, "before": before, "after": after,
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    Path(out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
