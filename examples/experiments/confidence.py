"""How far a prediction's confidence can be believed, and what it is worth to be told "unsure".

    pip download --no-deps seglearn aeon -d .data/wheels
    OMP_NUM_THREADS=1 python examples/experiments/confidence.py --data-dir .data

Each set's own net is trained on its training split; the temperature is fitted at export on held-out
training samples (`dfedge.device.confidence`).  Judged are the test samples: before learning, and,
where a shift is named, shifted ones after the device has learned as many presentations of shifted
training samples.  `error` is the expected calibration error in 15 bins of equal width (Guo et al.,
2017).
"""

import json
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from numpy.typing import NDArray

from dfedge.data.dataset import Split
from dfedge.data.shift import parse_shift
from dfedge.data.sources import open_data
from dfedge.device.confidence import probabilities, unsure_below
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "confidence.json"
SEEDS, BINS, PRESENTED, MOST = range(3), 15, 2000, 4000
SETS = {
    "digits": (20, "rotate:45"),
    "fashion-mnist": (1, "invert"),
    "fsdd": (12, "noise:10"),
    "watch": (8, "turn:40"),
    "vowels": (100, ""),
}
"""Epochs of training, and a shift to learn."""


def judged(scores: NDArray[np.int32], y: NDArray[Any], temperature: int) -> dict[str, float | None]:
    """Of scores [N, K] and labels [N]; the accuracy alone where no temperature is known."""
    right = scores.argmax(1) == y
    if not temperature:
        return {"accuracy": float(right.mean())}
    sure = probabilities(scores, temperature).max(1)
    order = np.sort(scores, 1).astype(np.int64)
    unsure = order[:, -1] - order[:, -2] < unsure_below(temperature)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean()
            for b in np.unique(bins)]  # fmt: skip
    return {
        "accuracy": float(right.mean()),
        "confidence": float(sure.mean()),
        "error": float(sum(gaps)),
        "unsure": float(unsure.mean()),
        "accuracy of sure": float(right[~unsure].mean()) if (~unsure).any() else None,
        "accuracy of unsure": float(right[unsure].mean()) if unsure.any() else None,
    }


def rows_of(name: str, seed: int, data_dir: Path) -> list[dict[str, Any]]:
    epochs, shift = SETS[name]
    with TemporaryDirectory() as folder:
        home, settings = Path(folder), {"epochs": epochs, "qat_epochs": max(epochs // 5, 1)}
        run = train(TrainOptions(name, data_dir, seed=seed, qat=True, settings=settings),
                    home / "run")  # fmt: skip
        bundle = export(run, ExportOptions(("onnx",)), home / "bundle")
        session = Session.open(bundle, "native", home / "state")
        temperature, rule = bundle.manifest.temperature, bundle.manifest.input
        data = open_data(name, data_dir).cut(run.plan.seed)
        parts = {part: data.part(part)[1] for part in ("train", "test")}
        some = {part: whole.take(np.random.default_rng(seed).permutation(len(whole))[:MOST])
                for part, whole in parts.items()}  # fmt: skip
        lesson, exam = (some[part].read(rule) for part in ("train", "test"))
        head = {"set": name, "seed": seed, "temperature": temperature}
        rows = [{**head, "data": "own", **judged(session.scores(exam.x), exam.y, temperature)}]
        if shift:
            move = parse_shift(shift, rule)
            exam = Split(move(exam.x), exam.y)
            first = judged(session.scores(exam.x), exam.y, temperature)
            job = FinetuneJob(name, "train", shift, seed, 16, PRESENTED)
            finetune(session, Split(move(lesson.x), lesson.y), job, saving=Saving(0))
            after = judged(session.scores(exam.x), exam.y, temperature)
            rows += [
                {**head, "data": f"{shift}, {when}", **found}
                for when, found in (("before", first), ("after", after))
            ]
    return rows


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the data lie.")] = Path(".data"),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in SETS:
        for seed in SEEDS:
            rows += rows_of(name, seed, data_dir)
            print(rows[-1], flush=True)
    means: dict[str, dict[str, float | None]] = {}
    for group in dict.fromkeys((row["set"], row["data"]) for row in rows):
        own = [row for row in rows if (row["set"], row["data"]) == group]
        facts = [key for key in own[0] if key not in ("set", "seed", "data")]
        known = {key: [row[key] for row in own if row[key] is not None] for key in facts}
        means[", ".join(group)] = {key: mean(v) if v else None for key, v in known.items()}
    RESULTS.write_text(json.dumps({**dated(), "means": means, "rows": rows}, indent=1) + "\n")
    for label, one in means.items():
        print(label, one)


if __name__ == "__main__":
    typer.run(main)
