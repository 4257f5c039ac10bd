"""Adopt a trained MobileNetV2, and teach it a new class and a new camera on the device.

    python examples/experiments/adopt_nets.py mobilenet_v2 --minutes 3.5   # once: trains it, by bp
    python examples/adopt_mobilenet.py                                     # or: … resnet8

With torchvision installed the net may be its own: a function of yours that returns
``torchvision.models.mobilenet_v2(weights="DEFAULT")`` (one line, and one download), with
``--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225`` and data of its thousand classes.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.continual.new_class import learn_class
from dfedge.data.dataset import Split
from dfedge.data.inputs.image import ImageRule
from dfedge.data.sources import load
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export

OUT = Path("out/adopt-mobilenet")
NET = sys.argv[1] if len(sys.argv) > 1 else "mobilenet_v2"
MODEL = f"examples.experiments.adopt_nets:{NET}"
SAMPLES, PASSES, TEST = 300, 4, 500


def camera(x: np.ndarray) -> np.ndarray:
    """The same scenes in other colours."""
    return np.clip(x * np.array([1.15, 0.8, 0.5]) + np.array([20, 0, 25]), 0, 255).astype(np.uint8)


def recognised(session: Session, split: Split) -> float:
    return float((session.scores(split.x).argmax(1) == split.y).mean())


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    found = adopt(AdoptOptions(MODEL, "cifar10", learn="head", test_samples=1000), OUT / "run")
    print(f"float {found.float_accuracy:.3f}, int8 {found.accuracy:.3f}")
    options = ExportOptions(("onnx",), batch=1, spare_classes=1)
    session = Session.open(export(found.run, options, OUT / "bundle"), state=OUT / "state")

    data = load("cifar10").splits
    train = data["train"].take(np.arange(SAMPLES))
    test = data["test"].take(np.arange(TEST))
    seen = Split(camera(test.x), test.y)
    print(f"new camera, before: {recognised(session, seen):.3f}")
    z = session.latents(session.input(camera(train.x)))  # the trunk runs once for each image
    for turn in range(PASSES):
        order = np.random.default_rng(turn).permutation(SAMPLES)
        session.learn_latents(z[order], train.y[order])
    print(f"new camera, after {SAMPLES} samples: {recognised(session, seen):.3f}")

    digits = load("digits", None, ImageRule(32, 32, 3)).splits["train"]
    learn_class(session, "a digit", digits.x[:10])
    right = sum(session.predict(x).name == "a digit" for x in digits.x[100:200])
    print(f"ten digits shown: {right} of 100 others are recognised as 'a digit'")
    print(f"new camera, now: {recognised(session, seen):.3f}")
    session.save()


if __name__ == "__main__":
    main()
