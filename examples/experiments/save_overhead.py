"""What saving every 50 steps costs of the time of a fine-tune, on the MNIST net.

    python examples/experiments/save_overhead.py out/mnist-bundle

Pairs of fine-tunes in turns, one that saves at its end only and one that saves every 50 steps, on
ONNX Runtime at batch 16, one thread; the medians of the pairs' ratios, and their quartiles: of the
time that passed, and of CPU time with the saving thread's (steady on a busy machine).  Beside it,
what one save takes alone.  Writes results/save_overhead.json.
"""

import json
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.device.store.slot import Slot, encode

RESULTS = Path(__file__).parent / "results" / "save_overhead.json"


def main(
    bundle: Path,
    steps: int = 500,
    every: int = 50,
    pairs: int = 15,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    name, images = load_split(
        manifest.data, None, manifest.input, manifest.classes, ("stream", "train"), "rotate:90"
    )
    job = FinetuneJob(manifest.data, name, "rotate:90", 0, 16, steps * 16)

    with tempfile.TemporaryDirectory(dir=bundle.parent) as root:

        def seconds(number: int, save_every: int) -> tuple[float, float]:
            session = Session.open(opened, "onnx", Path(root) / f"{number}-{save_every}")
            start = time.perf_counter(), time.process_time()
            finetune(session, images, job, saving=Saving(save_every))
            return time.perf_counter() - start[0], time.process_time() - start[1]

        seconds(0, every)
        found, ratios = [], []
        for number in range(1, pairs + 1):
            kinds = (0, every) if number % 2 else (every, 0)
            pair = {kind: seconds(number, kind) for kind in kinds}
            found.append(pair[0])
            ratios.append(
                [after / before for before, after in zip(pair[0], pair[every], strict=True)]
            )
            print(ratios[-1], flush=True)
        session = Session.open(opened, "onnx", Path(root) / "alone")
        alone = []
        for _ in range(20):
            start = time.perf_counter()
            session.save()
            alone.append(time.perf_counter() - start)
    passed, cpu = zip(*ratios, strict=True)
    size = len(encode(Slot(1, session.record, session.stored().state)))
    report = {
        "net": manifest.net,
        "steps": steps,
        "save_every": every,
        "pairs": pairs,
        "step_ms": round(1000 * median(passed for passed, _ in found) / steps, 3),
        "step_cpu_ms": round(1000 * median(cpu for _, cpu in found) / steps, 3),
        "ratio": round(median(passed), 4),
        "ratio_quartiles": [round(value, 4) for value in quantiles(passed)],
        "cpu_ratio": round(median(cpu), 4),
        "cpu_ratio_quartiles": [round(value, 4) for value in quantiles(cpu)],
        "one_save_ms": round(1000 * median(alone), 2),
        "slot_bytes": size,
        "bytes_per_step": round(size / every),
    }
    results.write_text(json.dumps(report, indent=2) + "\n")
    print(report)


if __name__ == "__main__":
    typer.run(main)
