"""A class is added on the device: ten samples, no export, and the old classes stay.

    python examples/new_class.py [OUT] [EPOCHS]

A net learns nine of the ten embedded digits.  Its bundle keeps a spare row; the device then learns
the tenth from ten images.
"""

import sys
from pathlib import Path

import numpy as np

from dfedge.continual.new_class import learn_class
from dfedge.data.sources import load
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

LEFT_OUT = 7
SAMPLES = 10


def main(out: Path, epochs: int) -> None:
    digits = load("digits")
    known = digits.splits["train"]
    kept = np.flatnonzero(known.y != LEFT_OUT)
    names = [name for k, name in enumerate(digits.classes) if k != LEFT_OUT]
    out.mkdir(parents=True, exist_ok=True)
    nine = out / "nine.npz"
    np.savez(nine, x=known.x[kept], y=known.y[kept] - (known.y[kept] > LEFT_OUT), classes=names)

    options = TrainOptions(str(nine), net="digits", qat=True, settings={"epochs": epochs})
    run = train(options, out / "run")
    bundle = export(run, ExportOptions(("onnx",), spare_classes=1), out / "bundle")

    # From here on nothing needs torch: this is what runs on the device.
    session = Session.open(bundle, state=out / "state", initial=True)
    test = digits.splits["test"]
    wanted = np.array([digits.classes[k] for k in test.y])

    def recognised(part: np.ndarray) -> float:
        answers = [session.predict(image).name for image in test.x[part]]
        return float(np.mean(np.array(answers) == wanted[part]))

    is_new = test.y == LEFT_OUT
    print(f"before: {recognised(~is_new):.1%} of the old classes")
    stream = digits.splits["stream"]
    samples = stream.x[stream.y == LEFT_OUT][:SAMPLES]
    learn_class(session, digits.classes[LEFT_OUT], samples)
    session.save()
    print(f"after: {recognised(~is_new):.1%} of the old classes")
    print(f"new: {recognised(is_new):.1%} of class {digits.classes[LEFT_OUT]}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/new-class"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 40,
    )
