"""A pretrained net made one's own: a last layer from 20 photos a class, a new class from 10.

    export PYTHONPATH=MODELS/efficientnet_lite_pytorch:examples/experiments
    OMP_NUM_THREADS=1 python examples/experiments/personal.py MODELS DATA

EfficientNet-Lite0 with its ImageNet weights, at 128 x 128 (MODELS and DATA as in pretrained.py).
Each of Imagenette's ten classes is left out in turn, with three draws of samples: the net gets a
last layer of the other nine (`--head new`), is exported to C with a spare row, and the program
learns the class left out on the device (`dfedge add-class`).  Beside it, on the same samples, on
the float net's features: class means, and logistic regression made anew of all samples.  Photos
of the validation split judge, 50 a class.  Writes results/personal.json, row by row.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from dated import dated
from numpy.typing import NDArray
from pretrained import MEAN, STD
from sklearn.linear_model import LogisticRegression

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.blocks import tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import normalised
from dfedge.adoption.observe import real
from dfedge.continual.new_class import learn_class
from dfedge.data.inputs import to_input
from dfedge.data.inputs.image import ImageRule
from dfedge.data.sources import load
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export

RESULTS, WORK = Path(__file__).parent / "results" / "personal.json", Path("out/personal")
SIDE, EACH, NEW, JUDGED, DRAWS = 128, 20, 10, 50, 3
CUT = EACH * 5 // 4
"""So that a fifth can be tested where data come in one piece."""


class Photos:
    """Ten classes, at the net's size, with the float net's features."""

    def __init__(self, folder: str) -> None:
        splits = load("imagenette-64", Path(folder)).splits
        graph = fold(normalised(open_model("pretrained:net").graph((SIDE, SIDE, 3)), MEAN, STD))
        self.x: dict[tuple[str, int, int], NDArray[np.uint8]] = {}
        self.f: dict[tuple[str, int, int], NDArray[np.float32]] = {}
        rule, end = ImageRule(SIDE, SIDE, 3), tail_of(graph).features
        for name, counts in (("train", (CUT, NEW)), ("test", (JUDGED,))):
            for k in range(10):
                own = np.flatnonzero(splits[name].y == k)
                for draw in range(DRAWS if name == "train" else 1):
                    few = np.random.default_rng([draw, k]).permutation(own)[: sum(counts)]
                    x = rule.apply(splits[name].x[few], name)
                    self.x[name, k, draw] = x
                    self.f[name, k, draw] = self._features(graph, x, end)

    @staticmethod
    def _features(graph: Any, x: NDArray[np.uint8], end: int) -> NDArray[np.float32]:
        parts = [graph.result(real(torch.from_numpy(to_input(x[i : i + 10]))), end).flatten(1)
                 for i in range(0, len(x), 10)]  # fmt: skip
        return torch.cat(parts).numpy()

    def taken(self, of: dict[Any, Any], classes: list[int], draw: int, count: int) -> Any:
        """The first samples of some classes, one after the other, and their labels."""
        rows = [of["train", k, draw][:count] for k in classes]
        return np.concatenate(rows), np.repeat(np.arange(len(classes)), count)

    def judged(self, of: dict[Any, Any], classes: list[int]) -> Any:
        """Of the validation split."""
        rows = [of["test", k, 0] for k in classes]
        return np.concatenate(rows), np.repeat(np.arange(len(classes)), JUDGED)


def of_means(photos: Photos, old: list[int], new: int, draw: int) -> dict[str, float]:
    """Nearest class mean."""
    f, y = photos.taken(photos.f, old, draw, EACH)
    means = np.stack([f[y == k].mean(0) for k in range(9)])
    added = photos.f["train", new, draw][CUT:].mean(0)
    tests = photos.judged(photos.f, [*old, new])

    def right(centres: NDArray[np.float32]) -> NDArray[np.bool_]:
        far = ((tests[0][:, None] - centres[None]) ** 2).sum(2)
        return np.asarray(far.argmin(1) == tests[1])

    return _facts(right(means), right(np.vstack([means, added])), tests[1])


def of_regression(photos: Photos, old: list[int], new: int, draw: int) -> dict[str, float]:
    """Logistic regression, made anew of the old samples and the new ones."""
    f, y = photos.taken(photos.f, old, draw, EACH)
    added = photos.f["train", new, draw][CUT:]
    tests = photos.judged(photos.f, [*old, new])

    def right(x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        made = LogisticRegression(max_iter=2000).fit(x, labels)
        return np.asarray(made.predict(tests[0]) == tests[1])

    both = np.vstack([f, added]), np.concatenate([y, np.full(NEW, 9)])
    return _facts(right(f, y), right(*both), tests[1])


def of_device(photos: Photos, old: list[int], new: int, draw: int) -> dict[str, float]:
    """The exported program, in integers."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    x, y = photos.taken(photos.x, old, draw, CUT)
    np.savez(WORK / "nine.npz", x=x, y=y, classes=[f"class {k}" for k in old])
    start = time.process_time()
    found = adopt(
        AdoptOptions("pretrained:net", str(WORK / "nine.npz"), mean=MEAN, std=STD, head="new"),
        WORK / "run",
    )
    adopted = time.process_time() - start
    bundle = export(found.run, ExportOptions(("c",), spare_classes=1), WORK / "bundle")
    exported = time.process_time() - start - adopted
    session = Session.open(bundle, "native", WORK / "state")
    rule = session.bundle.manifest.input
    tests = photos.judged(photos.x, [*old, new])

    def right() -> NDArray[np.bool_]:
        answers = [session.predict(one).label for one in rule.apply(tests[0], "test")]
        return np.asarray(np.array(answers) == tests[1])

    before = right()
    learn_class(session, f"class {new}", photos.x["train", new, draw][CUT:])
    return _facts(before, right(), tests[1]) | {
        "adopt_cpu_s": round(adopted, 1), "export_cpu_s": round(exported, 1)
    }  # fmt: skip


def _facts(
    before: NDArray[np.bool_], after: NDArray[np.bool_], y: NDArray[np.int64]
) -> dict[str, float]:
    old = y < 9
    return {"old_before": float(before[old].mean()), "old_after": float(after[old].mean()),
            "recall": float(after[~old].mean())}  # fmt: skip


WAYS = {"device": of_device, "class means": of_means, "logistic regression": of_regression}


def main() -> None:
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    photos = Photos(sys.argv[2])
    for draw in range(DRAWS):
        for new in range(10):
            name = f"class {new}, draw {draw}"
            if name not in rows:
                old = [k for k in range(10) if k != new]
                rows[name] = {way: make(photos, old, new, draw) for way, make in WAYS.items()}
                print(name, rows[name], flush=True)
                means = {
                    way: {fact: round(100 * mean(row[way][fact] for row in rows.values()), 1)
                          for fact in ("old_before", "old_after", "recall")}
                    for way in WAYS
                }  # fmt: skip
                kept = {**dated(), "means": means, "rows": rows}
                RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
