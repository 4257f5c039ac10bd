"""A new speaker: a net that never heard her learns her digits, and keeps the others'.

    python examples/speaker.py [OUT] [SPEAKER] [EPOCHS]

Needs the Free Spoken Digit Dataset under $DFEDGE_DATA.  The memory leaves the host with utterances
of the other speakers; the device replays them among the new ones.
"""

import sys
from pathlib import Path

from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import care_of
from dfedge.data.streams import StreamSource
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train


def main(out: Path, who: str, epochs: int | None) -> None:
    bundle = out / "bundle"
    if not bundle.exists():
        chosen = {"epochs": epochs, "qat_epochs": 1} if epochs else None
        run = train(TrainOptions(f"fsdd-without-{who}", qat=True, settings=chosen), out / "run")
        export(run, ExportOptions(("onnx",)), bundle)

    # From here on nothing needs torch: this is what runs on the device.
    settings = StreamSettings(
        stream=f"new-user:speaker={who},utterances=5+20",
        data="fsdd",
        strategy="balanced",
        budget=1 << 22,
        remember=2000,
        replayed=15,
        passes=8,
        offset=3,
    )
    care = care_of(settings.strategy)
    session = Session.open(bundle, state=out / "state", initial=True, care=care)
    learning = StreamRun(session, settings.make_stream(StreamSource("fsdd")), settings)
    for _ in learning.moments():
        pass
    progress = learning.progress
    for heard, row, others in zip((0, 5, 20), progress.matrix, progress.known, strict=True):
        print(f"after {heard} utterances a digit: {who} {row[0]:.1%}, the others {others:.1%}")
    print(f"{1000 * progress.seconds / progress.steps:.0f} ms a step, state in {session.folder}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/speaker"),
        sys.argv[2] if len(sys.argv) > 2 else "george",
        int(sys.argv[3]) if len(sys.argv) > 3 else None,
    )
