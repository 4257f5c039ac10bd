"""What `continual.py` and `continual_rivals.py` share: nets, and a run from the bundle's state.

Nets are trained and exported to format ``c`` the first time, under out/continual-figures, and run
in the ``native`` runtime: the fastest, and the others end in the same bytes (``continual.py
same-bits``).  ``--small`` trains them for two epochs on 6,000 images, under out/continual-small.
"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from dfedge.bundle import Bundle
from dfedge.continual.result import result_of
from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import care_of
from dfedge.data.dataset import Labels, Split
from dfedge.data.sources import load
from dfedge.data.streams import Stream, StreamSource
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, calibrate_run, train

T = TypeVar("T")
RUNTIME = "native"
FEW = 6000
"""Images that a net learns from where it is small, or one of ten."""


@dataclass(frozen=True)
class Given:
    """What the command was told."""

    data_dir: Path | None
    seeds: int
    small: bool

    @property
    def out(self) -> Path:
        """Where nets are kept."""
        return Path("out/continual-small" if self.small else "out/continual-figures")

    @property
    def results(self) -> Path:
        """Where figures are written."""
        return self.out / "results" if self.small else Path(__file__).parent / "results/continual"

    def size(self, whole: T, small: T) -> T:
        """A size of an experiment."""
        return small if self.small else whole


def bundle_of(given: Given, name: str, options: TrainOptions, **how: Any) -> Bundle:
    """A net's bundle, made once; ``how`` goes to `ExportOptions`."""
    folder = given.out / f"{name}-bundle"
    if folder.exists():
        return Bundle.open(folder)
    run = train(options, given.out / name)
    calibrate_run(run, "pow2-mse")
    return export(run, ExportOptions(**{"formats": ("c",), **how}), folder)


def mnist_net(given: Given) -> Bundle:
    """In every format: `same-bits` compares the runtimes."""
    options = options_for(given, "mnist", "mnist")
    return bundle_of(given, "mnist", options, formats=("onnx", "executorch"))


def clothes_net(given: Given, few: bool = False) -> Bundle:
    """A trunk that never saw a digit: Fashion-MNIST; ten spare rows, the last layer learns.

    Args:
        few: learned from 6,000 images.
    """
    options = options_for(given, "fashion-mnist", "latent", few)
    name = "latent-few" if few else "latent"
    return bundle_of(given, name, options, train_layers="last:1", spare_classes=10)


def options_for(given: Given, data: str, net: str, few: bool = False) -> TrainOptions:
    """The net's own training, or a short one."""
    if not (given.small or few):
        return TrainOptions(data, given.data_dir, net, qat=True)
    found = load(data, given.data_dir)
    return short(given, f"few-{data}", net, found.splits["train"], found.classes)


def net_without(given: Given, left_out: int) -> Bundle:
    """An MNIST net that learned nine classes, with a spare row for the tenth."""
    split = load("mnist", given.data_dir).splits["train"]
    kept = split.take(np.flatnonzero(split.y != left_out))
    names = tuple(str(k) for k in range(10) if k != left_out)
    nine = Split(kept.x, renumbered(kept.y, left_out))
    options = short(given, f"without-{left_out}", "mnist", nine, names)
    return bundle_of(given, f"without-{left_out}", options, spare_classes=1)


def renumbered(y: Labels, left_out: int) -> Labels:
    """Nine classes as their net numbers them, the one that was left out as the tenth."""
    return np.where(y == left_out, 9, y - (y > left_out))


def short(
    given: Given, name: str, net: str, split: Split, classes: tuple[str, ...]
) -> TrainOptions:
    """Training on a file of the split's first images."""
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{name}.npz"
    np.savez(path, x=split.x[:FEW], y=split.y[:FEW], classes=np.array(classes))
    epochs = given.size({"epochs": 4, "qat_epochs": 1}, {"epochs": 1, "qat_epochs": 1})
    return TrainOptions(str(path), None, net, qat=True, settings=epochs)


def heard_on_host(given: Given, who: str, stream: Stream) -> str:
    """A folder of features: the other speakers' training takes with all that a stream brings."""
    folder = given.out / f"{who}-heard"
    parts = [load(f"fsdd-without-{who}", given.data_dir).splits["train"]]
    parts += [experience.train for experience in stream.experiences]
    for name, splits in (("train", parts), ("test", [stream.experiences[0].test])):
        x, y = (np.concatenate([getattr(one, of) for one in splits]) for of in ("x", "y"))
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            path = folder / name / str(label) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)
    return str(folder)


def opened(bundle: Bundle, runtime: str = RUNTIME) -> Session:
    """At the bundle's own state; nothing is saved."""
    return Session.open(bundle, runtime, initial=True, read_only=True)


def learned(
    bundle: Bundle, settings: StreamSettings, given: Given, runtime: str = RUNTIME
) -> dict[str, Any]:
    """One run from the bundle's own state; what was found."""
    stream = settings.make_stream(
        StreamSource(settings.data, given.data_dir, bundle.manifest.input)
    )
    with tempfile.TemporaryDirectory() as state:
        session = Session.open(bundle, runtime, state, care=care_of(settings.strategy))
        run = StreamRun(session, stream, settings)
        for _ in run.moments():
            pass
        found = result_of(run)
    del found["state"], found["classes"]
    found["frozen_last_500"] = frozen(bundle, stream)
    print(settings.stream, settings.strategy, runtime, f"seed {settings.seed}:",
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
    return evaluate(opened(bundle), Split(x, y)).accuracy


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, spread and all of them."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "deviation": deviation, "all": values}
