"""The demo for three seeds, their means, and the same turned digits learned by default.

    python examples/experiments/three_seeds.py

The demo lets go of what was known (`replace`).  By default the net keeps it: half of what is
presented is replayed, and the guard judges; as long as the demo, and four times as long.  Writes
results/three_seeds.json beside this file (about five minutes on two cores).
"""

import json
import statistics
from pathlib import Path
from typing import Any

from dated import dated

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.demo.route import BATCH, PRESENTATIONS, SHIFT, run_demo
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)


def by_default(bundle: Bundle, seed: int, presentations: int) -> dict[str, float]:
    """Turned and upright test digits after a run with replay and guard."""
    manifest = bundle.manifest

    def digits(split: str, shift: str | None) -> Any:
        return load_split("digits", None, manifest.input, manifest.classes, (split,), shift)[1]

    session = Session.open(bundle, "onnx", bundle.folder.parent / "state-default", initial=True)
    job = FinetuneJob("digits", "stream", SHIFT, seed, BATCH, presentations)
    finetune(session, digits("stream", SHIFT), job)
    turned, upright = digits("test", SHIFT), digits("test", None)
    return {
        "presentations": presentations,
        "turned": evaluate(session, turned).accuracy,
        "upright": evaluate(session, upright).accuracy,
    }


def main() -> None:
    rows = []
    for seed in SEEDS:
        demo = run_demo(Path("out/three_seeds") / str(seed), seed)
        summary = demo.summary
        summary.pop("paths")
        summary["by_default"] = [
            by_default(demo.bundle, seed, times * PRESENTATIONS) for times in (1, 4)
        ]
        rows.append(summary)
        print(seed, summary["accuracy"], summary["shifted"], summary["state_identical"],
              summary["by_default"], flush=True)  # fmt: skip
    shifted = [row["shifted"] for row in rows]
    mean = {
        "int8": statistics.mean(row["accuracy"]["int8"] for row in rows),
        "float": statistics.mean(row["accuracy"]["float"] for row in rows),
        "before": statistics.mean(s["before"] for s in shifted),
        "anchors_only": statistics.mean(s["anchors_only"] for s in shifted),
        "onnx": statistics.mean(s["after"]["onnx"] for s in shifted),
        "executorch": statistics.mean(s["after"]["executorch"] for s in shifted),
        "litert": statistics.mean(s["after"]["litert"] for s in shifted),
        "upright_after": statistics.mean(s["upright_after"] for s in shifted),
    }
    for i, name in enumerate(("by_default", "by_default, four times as long")):
        of = [row["by_default"][i] for row in rows]
        mean[name] = {
            what: statistics.mean(one[what] for one in of) for what in ("turned", "upright")
        }
    print("mean", mean)
    path = HERE / "results" / "three_seeds.json"
    path.write_text(json.dumps(dated() | {"mean": mean, "seeds": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
