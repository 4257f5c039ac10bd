"""A motion is added on the device: ten examples of it, no export, and the old motions stay.

    python examples/gesture.py [OUT] [EPOCHS]

A net learns three of the four motions of a watch in the set basic-motions; where aeon's wheel is
not there (pip download --no-deps aeon -d .data/wheels), motions are drawn instead.  Its bundle
keeps a spare row; the device then learns the fourth from ten recordings.
"""

import sys
from pathlib import Path

import numpy as np

from dfedge.continual.new_class import learn_class
from dfedge.data.reading import Reading
from dfedge.data.recordings import Recording
from dfedge.data.series import basic_motions
from dfedge.data.signals import Signals
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

LEFT_OUT = 0
SAMPLES = 10


def drawn(each: int = 30) -> Signals:
    """Four motions of six channels, which differ in their pace, their axes and their strength."""
    names, parts = ("circle", "nod", "shake", "still"), ("train", "test")
    paces, sizes = (2.0, 1.0, 5.0, 1.0), (2.0, 1.0, 1.5, 0.05)
    rng, time = np.random.default_rng(0), np.arange(100) / 50

    def recording(k: int) -> Recording:
        turn = 2 * np.pi * (paces[k] * rng.uniform(0.9, 1.1) * time + rng.random())
        axes = np.stack([np.sin(turn + (k == 0) * c * np.pi / 3) for c in range(6)], 1)
        size = sizes[k] * rng.uniform(0.8, 1.2) * np.roll([1, 0.6, 0.3, 0.8, 0.2, 0.5], k)
        return Recording(axes * size + rng.normal(0, 0.1, axes.shape), k)

    found = {part: tuple(recording(k) for k in range(4) for _ in range(each)) for part in parts}
    return Signals("drawn motions", names, found)


def main(out: Path, epochs: int) -> None:
    try:
        motions = basic_motions()
    except DfedgeError as error:
        print(f"({error}; motions are drawn)")
        motions = drawn()
    x, y = {}, {}
    for part, recordings in motions.recordings.items():
        x[part] = np.stack([one.x for one in recordings])
        y[part] = np.array([one.label for one in recordings])
    kept = y["train"] != LEFT_OUT
    names = [name for k, name in enumerate(motions.classes) if k != LEFT_OUT]
    labels = y["train"][kept] - (y["train"][kept] > LEFT_OUT)
    out.mkdir(parents=True, exist_ok=True)
    three = out / "three.npz"
    np.savez(three, x=x["train"][kept], y=labels, classes=names)

    options = TrainOptions(
        str(three), net="imu", qat=True, settings={"epochs": epochs}, reading=Reading("window")
    )
    run = train(options, out / "run")
    bundle = export(run, ExportOptions(("onnx",), spare_classes=1), out / "bundle")

    # From here on nothing needs torch: this is what runs on the device.
    session = Session.open(bundle, state=out / "state", initial=True)
    wanted = np.array([motions.classes[k] for k in y["test"]])

    def recognised(part: np.ndarray) -> float:
        answers = [session.predict(window).name for window in x["test"][part]]
        return float(np.mean(np.array(answers) == wanted[part]))

    is_new, new = y["test"] == LEFT_OUT, motions.classes[LEFT_OUT]
    print(f"before: {recognised(~is_new):.1%} of the old motions")
    learn_class(session, new, x["train"][y["train"] == LEFT_OUT][:SAMPLES])
    session.save()
    print(f"after: {recognised(~is_new):.1%} of the old motions")
    print(f"new: {recognised(is_new):.1%} of {new}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/gesture"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 40,
    )
