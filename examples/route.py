"""The whole route through the Python API: train, export, open, learn.

    python examples/route.py [OUT] [EPOCHS]

Prints how many turned digits are recognised before and after learning on the device.
"""

import sys
from pathlib import Path

from dfedge.data.shift import parse_shift
from dfedge.data.sources import load
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train


def main(out: Path, epochs: int) -> None:
    run = train(TrainOptions(data="digits", qat=True, settings={"epochs": epochs}), out / "run")
    bundle = export(run, ExportOptions(formats=("onnx",)), out / "bundle")

    # From here on nothing needs torch: this is what runs on the device.
    turn = parse_shift("rotate:90", bundle.manifest.input)
    digits = load("digits")
    stream, test = digits.splits["stream"], digits.splits["test"]
    session = Session.open(bundle, initial=True)

    def recognised() -> float:
        answers = [session.predict(image).label for image in turn(test.x)]
        return sum(a == y for a, y in zip(answers, test.y, strict=True)) / len(answers)

    print(f"before: {recognised():.1%} of turned digits")
    for _ in range(2):
        for image, label in zip(turn(stream.x), stream.y, strict=True):
            session.learn(image, int(label))  # one sample at a time, as they come
    session.save()
    print(f"after {session.record.samples} single lessons: {recognised():.1%}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/example"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 40,
    )
