"""Continual learning on the device, in figures: what the README's tables are made from.

    python examples/experiments/continual.py all --data-dir .data
    python examples/experiments/continual.py drift --seeds 1      # or: guard, speaker, split, ...

Nets are trained and exported under out/continual-figures the first time.  Every experiment runs the
exported int8 program on ONNX Runtime and writes results/continual/NAME.json.  Nothing was chosen
on the figures that are reported but what the docstrings name.
"""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.continual.new_class import learn_class
from dfedge.continual.result import result_of
from dfedge.continual.run import Run
from dfedge.continual.settings import Settings
from dfedge.data.dataset import Split
from dfedge.data.sources import load
from dfedge.data.streams import Source, Stream
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.export.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, calibrate_run, train

RESULTS = Path(__file__).parent / "results" / "continual"
OUT = Path("out/continual-figures")
SPEAKERS = ("george", "jackson", "lucas")


def bundle_of(name: str, options: TrainOptions, how: ExportOptions | None = None) -> Bundle:
    """A net's bundle, made once."""
    folder = OUT / f"{name}-bundle"
    if folder.exists():
        return Bundle.open(folder)
    run = train(options, OUT / name)
    calibrate_run(run, "pow2-mse")
    return export(run, how or ExportOptions(("onnx",)), folder)


def mnist_net(data_dir: Path | None) -> Bundle:
    return bundle_of("mnist", TrainOptions("mnist", data_dir, qat=True))


def clothes_net(data_dir: Path | None) -> Bundle:
    """A trunk that never saw a digit: Fashion-MNIST; ten spare rows, the last layer learns."""
    how = ExportOptions(("onnx",), train_layers="last:1", spare_classes=10)
    return bundle_of("latent", TrainOptions("fashion-mnist", data_dir, "latent", qat=True), how)


def learned(bundle: Bundle, settings: Settings, data_dir: Path | None) -> dict[str, Any]:
    """One run from the bundle's own state; what was found."""
    with tempfile.TemporaryDirectory() as state:
        session = Session.open(bundle, "onnx", state)
        stream = settings.make_stream(Source(settings.data, data_dir, bundle.manifest.image))
        run = Run(session, stream, settings)
        for _ in run.moments():
            pass
        found = result_of(run)
    del found["state"], found["classes"]
    found["frozen_last_500"] = frozen(bundle, stream)
    print(settings.stream, settings.strategy, f"seed {settings.seed}:",
          f"average {found['average_accuracy']:.4f},",
          f"last 500 {found['test_then_train_last_500']:.4f},",
          "known", found["known_accuracy"], flush=True)  # fmt: skip
    return found


def frozen(bundle: Bundle, stream: Stream) -> float | None:
    """Accuracy of the untouched program on the stream's last 500 samples; None: new classes."""
    if stream.fresh:
        return None
    x = np.concatenate([e.train.x for e in stream.experiences])[-500:]
    y = np.concatenate([e.train.y for e in stream.experiences])[-500:]
    with tempfile.TemporaryDirectory() as state:
        return evaluate(Session.open(bundle, "onnx", state), Split(x, y)).accuracy


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, spread and all of them."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "deviation": deviation, "all": values}


def drift(data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """MNIST turns to 90 degrees over 5,000 samples, no replay."""
    bundle, rows = mnist_net(data_dir), {}
    for strategy in ("none", "anchors"):
        found = [
            learned(bundle, Settings("drift:test=500", "mnist", strategy, seed=seed), data_dir)
            for seed in range(seeds)
        ]
        rows[strategy] = {
            "last_500": spread([f["test_then_train_last_500"] for f in found]),
            "frozen_last_500": spread([f["frozen_last_500"] for f in found]),
            "runs": found,
        }
    return rows


def guard(data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """200 steps of wrong labels, and the drift, both with the same guard."""
    bundle, rows = mnist_net(data_dir), {}
    wrong = "drift:rotate=0,samples=3200,experiences=1,test=10000"
    for name, held in (("guarded", 64), ("unguarded", 0)):
        bad, turned = [], []
        for seed in range(seeds):
            settings = Settings(wrong, "mnist", guard=held, wrong=1.0, seed=seed)
            bad.append(learned(bundle, settings, data_dir))
            settings = Settings("drift:test=500", "mnist", guard=held, seed=seed)
            turned.append(learned(bundle, settings, data_dir))
        rows[name] = {
            "wrong_labels_before": bad[0]["known_accuracy"][0],
            "wrong_labels_after": spread([f["known_accuracy"][-1] for f in bad]),
            "drift_last_500": spread([f["test_then_train_last_500"] for f in turned]),
            "drift_frozen_last_500": spread([f["frozen_last_500"] for f in turned]),
            "runs": {"wrong": bad, "drift": turned},
        }
    gains = {
        name: row["drift_last_500"]["mean"] - row["drift_frozen_last_500"]["mean"]
        for name, row in rows.items()
    }
    return {**rows, "drift_gain_kept": gains["guarded"] / gains["unguarded"]}


def speaker(data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """A speaker left out of training, three in turn; 5, then 20 utterances a digit.

    The memory leaves the host with 500 utterances of the other speakers.  How many, and the rate
    (an eighth), were chosen on jackson and george.  ``with_speaker`` is the accuracy, on the same
    test utterances, of a net that was trained with all six: an upper bound, for it saw them.
    """
    everyone, rows = bundle_of("fsdd", TrainOptions("fsdd", data_dir, qat=True)), {}
    for who in SPEAKERS:
        bundle = bundle_of(f"fsdd-{who}", TrainOptions(f"fsdd-without-{who}", data_dir, qat=True))
        settings = [
            Settings(f"new-user:speaker={who},utterances=5+20", "fsdd", "balanced", 1 << 20,
                     replayed=15, remember=500, passes=2, offset=3, seed=seed)
            for seed in range(seeds)
        ]  # fmt: skip
        found = [learned(bundle, one, data_dir) for one in settings]
        test = settings[0].make_stream(Source("fsdd", data_dir)).experiences[0].test
        with tempfile.TemporaryDirectory() as state:
            bound = evaluate(Session.open(everyone, "onnx", state), test).accuracy
        after = spread([f["accuracy_matrix"][2][0] for f in found])
        before = found[0]["accuracy_matrix"][0][0]
        rows[who] = {
            "before": before,
            "after_5": spread([f["accuracy_matrix"][1][0] for f in found]),
            "after_20": after,
            "with_speaker": bound,
            "gap_closed": (after["mean"] - before) / (bound - before),
            "others_before": found[0]["known_accuracy"][0],
            "others_after": spread([f["known_accuracy"][-1] for f in found]),
            "runs": found,
        }
    return rows


def split(data_dir: Path | None, seeds: int, samples: int = 3000) -> dict[str, Any]:
    """Split MNIST on the clothes net: one pass, two classes at a time, 64 KiB of replay at most."""
    bundle, rows = clothes_net(data_dir), {}
    stream = f"class-incremental:each=2,samples={samples}"
    for strategy in ("balanced", "reservoir", "anchors", "none"):
        found = [
            learned(bundle, Settings(stream, "mnist", strategy, 65536, bits=4, replayed=5,
                                     seed=seed), data_dir)
            for seed in range(seeds if strategy == "balanced" else 1)
        ]  # fmt: skip
        rows[strategy] = {
            "average_accuracy": spread([f["average_accuracy"] for f in found]),
            "forgetting": spread([f["forgetting"] for f in found]),
            "replay_bytes": found[0]["replay_bytes"],
            "ms_per_step": found[0]["ms_per_step"],
            "runs": found,
        }
    return rows


def new_class(data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """Each MNIST class left out of training in turn (6,000 images), then added from 10 samples."""
    data, rows = load("mnist", data_dir), []
    train_split, test = data.splits["train"], data.splits["test"]
    for left_out in range(10):
        bundle = bundle_of(f"without-{left_out}", without(left_out, train_split),
                           ExportOptions(("onnx",), spare_classes=1))  # fmt: skip
        old = [k for k in range(10) if k != left_out]
        known = Split(test.x, np.array([old.index(k) if k in old else 9 for k in test.y]))
        is_new = known.y == 9
        row: dict[str, Any] = {"class": left_out}
        for steps in (0, 16):
            with tempfile.TemporaryDirectory() as state:
                session = Session.open(bundle, "onnx", state)
                before = evaluate(session, known.take(np.flatnonzero(~is_new))).accuracy
                own = np.flatnonzero(train_split.y == left_out)[:10]
                learn_class(session, str(left_out), train_split.x[own], steps)
                answers = np.concatenate([session.scores(known.x[i : i + 500]).argmax(1)
                                          for i in range(0, len(known), 500)])  # fmt: skip
            right = answers == known.y
            row[f"steps_{steps}"] = {
                "recall": float(right[is_new].mean()),
                "old_before": before,
                "old_after": float(right[~is_new].mean()),
            }
        print(row, flush=True)
        rows.append(row)
    means = {
        f"steps_{steps}": {
            name: statistics.mean(row[f"steps_{steps}"][name] for row in rows)
            for name in ("recall", "old_before", "old_after")
        }
        for steps in (0, 16)
    }
    return {"mean": means, "classes": rows}


def without(left_out: int, split: Split) -> TrainOptions:
    """Training on a file that holds nine classes."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"without-{left_out}.npz"
    kept = np.flatnonzero(split.y != left_out)[:6_000]
    names = np.array([str(k) for k in range(10) if k != left_out])
    y = split.y[kept] - (split.y[kept] > left_out)
    np.savez(path, x=split.x[kept], y=y, classes=names)
    return TrainOptions(str(path), net="mnist", qat=True, settings={"epochs": 4, "qat_epochs": 1})


def rates(data_dir: Path | None, seeds: int) -> dict[str, Any]:
    """The pace inside the program against constant rates: no user has to choose one."""
    streams = {
        "drift": (mnist_net, Settings("drift:test=100", "mnist")),
        "split": (clothes_net, Settings("class-incremental:each=2,samples=1000,test=400", "mnist",
                                        "balanced", 65536, bits=4, replayed=5)),
    }  # fmt: skip
    rows: dict[str, Any] = {}
    for name, (net, settings) in streams.items():
        bundle, rows[name] = net(data_dir), {}
        variants = {"pace": {}} | {f"constant, shift {o:+d}": {"pace": 0, "offset": o}
                                   for o in (-1, 0, 1, 2)}  # fmt: skip
        for variant, changes in variants.items():
            given = Settings(**{**{f: getattr(settings, f) for f in settings.__struct_fields__},
                                **changes})  # fmt: skip
            found = learned(bundle, given, data_dir)
            rows[name][variant] = {
                "average_accuracy": found["average_accuracy"],
                "last_500": found["test_then_train_last_500"],
            }
    return rows


EXPERIMENTS: dict[str, Callable[[Path | None, int], dict[str, Any]]] = {
    "drift": drift,
    "guard": guard,
    "speaker": speaker,
    "split": split,
    "new-class": new_class,
    "rates": rates,
}


def main(
    which: Annotated[str, typer.Argument(help="all, or one of: " + ", ".join(EXPERIMENTS))],
    data_dir: Annotated[Path | None, typer.Option()] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    keep_freed_memory()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, experiment in EXPERIMENTS.items():
        if which in ("all", name):
            found = experiment(data_dir, seeds)
            (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
