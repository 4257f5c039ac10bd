"""The demo for three seeds, and their means.

    python examples/experiments/three_seeds.py

Writes results/three_seeds.json beside this file (about five minutes on two cores).
"""

import json
import statistics
from pathlib import Path

from dfedge.demo.route import run_demo

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)


def main() -> None:
    rows = []
    for seed in SEEDS:
        summary = run_demo(Path("out/three_seeds") / str(seed), seed).summary
        summary.pop("paths")
        rows.append(summary)
        print(seed, summary["accuracy"], summary["shifted"], summary["state_identical"], flush=True)
    shifted = [row["shifted"] for row in rows]
    mean = {
        "int8": statistics.mean(row["accuracy"]["int8"] for row in rows),
        "float": statistics.mean(row["accuracy"]["float"] for row in rows),
        "before": statistics.mean(s["before"] for s in shifted),
        "anchors_only": statistics.mean(s["anchors_only"] for s in shifted),
        "onnx": statistics.mean(s["after"]["onnx"] for s in shifted),
        "executorch": statistics.mean(s["after"]["executorch"] for s in shifted),
        "litert": statistics.mean(s["after"]["litert"] for s in shifted),
    }
    print("mean", mean)
    path = HERE / "results" / "three_seeds.json"
    path.write_text(json.dumps({"mean": mean, "seeds": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
