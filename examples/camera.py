"""A camera that tilts: the device follows it, with nothing stored and no label but the stream's.

    python examples/camera.py [OUT] [DATA] [SAMPLES]

DATA is ``mnist`` (its files under $DFEDGE_DATA) or ``digits``, which needs no download.  The images
turn by 90 degrees while they are learned once; a net that stays frozen is shown beside it.
"""

import sys
from pathlib import Path

import numpy as np

from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import care_of
from dfedge.data.streams import StreamSource
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train


def main(out: Path, data: str, samples: int, epochs: int | None) -> None:
    bundle = out / "bundle"
    if not bundle.exists():
        chosen = {"epochs": epochs} if epochs else None
        run = train(TrainOptions(data, qat=True, settings=chosen), out / "run")
        export(run, ExportOptions(("onnx",)), bundle)

    # From here on nothing needs torch: this is what runs on the device.
    stream = f"drift:rotate=90,samples={samples},experiences=5,test=300"
    settings = StreamSettings(stream, data, strategy="none", guard=32)
    care = care_of(settings.strategy)
    session = Session.open(bundle, state=out / "state", initial=True, care=care)
    made = settings.make_stream(StreamSource(data, None, session.bundle.manifest.input))
    frozen = [
        float((session.scores(e.train.x).argmax(1) == e.train.y).mean()) for e in made.experiences
    ]
    learning = StreamRun(session, made, settings)
    for _ in learning.moments():
        pass
    parts = np.array_split(learning.right, len(frozen))
    for experience, still, part in zip(made.experiences, frozen, parts, strict=True):
        print(f"{experience.name} of the way: frozen {still:.1%}, learning {np.mean(part):.1%}")
    print(f"state {session.digest()[:12]} in {session.folder}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/camera"),
        sys.argv[2] if len(sys.argv) > 2 else "digits",
        int(sys.argv[3]) if len(sys.argv) > 3 else 437,
        int(sys.argv[4]) if len(sys.argv) > 4 else None,
    )
