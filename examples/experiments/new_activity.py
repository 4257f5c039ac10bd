"""A new activity from ten windows: one class left out in turn, added on the device.

    pip download --no-deps seglearn aeon -d .data/wheels
    OMP_NUM_THREADS=1 python examples/experiments/new_activity.py --data-dir .data

Data: ``watch`` (seven exercises of ten people; the last fifth of every recording is the exam) and
``basic-motions`` (four; its own splits).  The net ``imu`` learns the other classes on the host, and
is exported with a spare row.  Of the class left out ten windows of the training part are drawn,
three times, and added as ``dfedge add-class`` does, without steps.  Judged are all windows of the
exam.

Yardsticks, in float, on the same features of all counted layers: the nearest class mean; logistic
regression of the samples that the bundle brings and the ten; a discriminant with the covariance
that the known classes share, of all their training windows, whose new class has the bias that lets
as many of the bundle's samples fall as the device allows (`LOST`).  And, for what the features
could tell, logistic regression of every training window, of the new class too.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from dfedge.continual.new_class import learn_class
from dfedge.continual.placing import LOST
from dfedge.data import series, watch
from dfedge.data.dataset import Labels, Split
from dfedge.data.signals import Signals
from dfedge.data.sources import OWN, DataSource, open_data
from dfedge.device.known import known_samples
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "new_activity.json"
EPOCHS = {"watch": 12, "basic-motions": 200}
NEW, DRAWS, OTHERS = 10, 3, 0.8
SHRINK = 0.003
"""Of the covariance, towards its mean variance: the best of 0.003, 0.03, 0.1 on the exam of
`watch`, so this yardstick is flattered."""

Floats = NDArray[np.float64]


def split(data_dir: Path | None, name: str) -> Signals:
    """A named set with a train and a test part."""
    if name == "basic-motions":
        return series.basic_motions(data_dir)
    whole = watch.load(data_dir)
    cut = [(one, int(len(one.x) * OTHERS)) for one in whole.recordings["all"]]
    parts = {
        "train": tuple(replace(one, x=one.x[:at]) for one, at in cut),
        "test": tuple(replace(one, x=one.x[at:]) for one, at in cut),
    }
    return replace(whole, recordings=parts)


def without(data_dir: Path | None, name: str, left_out: str) -> Signals:
    """The set of all other classes, numbered anew."""
    whole, k = split(data_dir, name), int(left_out)
    kept = [number for number in range(len(whole.classes)) if number != k]
    parts = {
        part: tuple(
            replace(one, label=kept.index(one.label)) for one in recordings if one.label != k
        )
        for part, recordings in whole.recordings.items()
    }
    return replace(whole, classes=tuple(whole.classes[i] for i in kept), recordings=parts)


def features(session: Session, q: NDArray[np.int8]) -> Floats:
    """What all counted layers see, weighted as in the score: [N, features]."""
    layers = session.bundle.manifest.plan.layers
    parts = [seen for _, seen, _ in session.seen(q)]
    return np.concatenate(
        [np.concatenate([part[i] for part in parts]) * 2.0 ** (layer.score_shift / 2)
         for i, layer in enumerate(layers) if layer.counted], 1
    )  # fmt: skip


def means_of(x: Floats, y: NDArray[np.int64], ten: Floats) -> Floats:
    """Of each class, the new one last."""
    return np.stack([x[y == k].mean(0) for k in range(y.max() + 1)] + [ten.mean(0)])


def nearest(means: Floats, metric: Floats, x: Floats) -> Floats:
    """Scores [N, K]: 2 x.W.m - m.W.m."""
    return np.asarray(2 * x @ metric @ means.T - (means @ metric * means).sum(1))


def yardsticks(
    session: Session, trained: Split, old: Split, new: Split, all_new: NDArray[Any], ten: Labels
) -> dict[str, dict[str, float]]:
    """Accuracy on the old, and recall, of other rules on the same features.

    Args:
        all_new: training windows of the new class.
        ten: which of them are known.
    """
    known, y = known_samples(session.bundle)
    x, exam, fresh, many, every = (
        features(session, q)
        for q in (known, *(session.input(s) for s in (old.x, new.x, all_new, trained.x)))
    )
    lessons = many[ten]
    last, found = int(y.max()) + 1, {}

    def note(rule: str, of_old: Floats, of_new: Floats) -> None:
        found[rule] = {"old after": float((of_old.argmax(1) == old.y).mean()),
                       "recall": float((of_new.argmax(1) == last).mean())}  # fmt: skip

    plain = np.eye(x.shape[1])
    means = means_of(x, y, lessons)
    note("class means", nearest(means, plain, exam), nearest(means, plain, fresh))

    unit = x.std(0).mean()
    for name, others, of, its in (
        ("logistic regression", x, y, lessons),
        ("logistic regression, all windows", every, trained.y, many),
    ):
        both, labels = np.vstack([others, its]) / unit, np.append(of, np.full(len(its), last))
        rule = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced").fit(both, labels)
        note(name, *(rule.decision_function(part / unit) for part in (exam, fresh)))

    means = means_of(every, trained.y, lessons)
    shared = np.cov((every - means[trained.y]).T)
    shared += SHRINK * np.trace(shared) / len(shared) * plain
    metric = np.linalg.inv(shared)
    seen, of_old, of_new = (nearest(means, metric, part) for part in (x, exam, fresh))
    right = seen[:, :last].argmax(1) == y
    lead = np.sort((seen[:, last] - seen[:, :last].max(1))[right])
    for scores in (of_old, of_new):
        scores[:, last] -= lead[-1 - LOST * len(lead) // 100]
    note("shared covariance", of_old, of_new)
    return found


def rows_of(name: str, k: int, data_dir: Path) -> list[dict[str, Any]]:
    mine = f"{name}-without-{k}"
    OWN[mine] = DataSource("new_activity:without", "imu", (name, str(k)))
    OWN[f"{name}-cut"] = DataSource("new_activity:split", "imu", (name,))
    found = []
    with TemporaryDirectory() as folder:
        home, epochs = Path(folder), EPOCHS[name]
        settings = {"epochs": epochs, "qat_epochs": max(epochs // 5, 2)}
        run = train(TrainOptions(mine, data_dir, qat=True, settings=settings), home / "run")
        options = ExportOptions(("onnx",), spare_classes=1, trial=False)
        bundle = export(run, options, home / "bundle")
        rule = bundle.manifest.input
        whole = {p: one.read(rule) for p, one in open_data(f"{name}-cut", data_dir).parts.items()}
        others = {p: one.read(rule) for p, one in open_data(mine, data_dir).parts.items()}
        old = others["test"]
        new = whole["test"].take(np.flatnonzero(whole["test"].y == k))
        lessons = whole["train"].x[whole["train"].y == k]
        for draw in range(DRAWS):
            session = Session.open(bundle, "native", home / f"state-{draw}", initial=True)

            def right(asked: Split, number: int | None = None, at: Session = session) -> float:
                y = asked.y if number is None else number
                return float((at.scores(asked.x).argmax(1) == y).mean())

            before = right(old)
            ten = np.random.default_rng(draw).permutation(len(lessons))[:NEW]
            beside = yardsticks(session, others["train"], old, new, lessons, ten)
            row = learn_class(session, f"new {k}", lessons[ten])
            found.append({"set": name, "class": k, "draw": draw, "exam": len(new),
                          "old before": before, "old after": right(old),
                          "recall": right(new, row), "beside": beside})  # fmt: skip
    return found


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the wheels lie.")] = Path(".data"),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in EPOCHS:
        for k in range(len(split(data_dir, name).classes)):
            rows += rows_of(name, k, data_dir)
            print(rows[-1], flush=True)
    facts = ("old before", "old after", "recall")
    means = {
        name: {fact: mean(r[fact] for r in rows if r["set"] == name) for fact in facts}
        for name in EPOCHS
    }
    for name, of in means.items():
        mine = [r["beside"] for r in rows if r["set"] == name]
        for rule in mine[0]:
            of |= {f"{fact}, {rule}": mean(r[rule][fact] for r in mine) for fact in facts[1:]}
    RESULTS.write_text(json.dumps({**dated(), "means": means, "rows": rows}, indent=1) + "\n")
    print(means)


if __name__ == "__main__":
    typer.run(main)
