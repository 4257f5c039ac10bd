"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.cli.manners import canonical, canonical_target, named
from dfedge.data.shift_forms import IMAGES, SIGNALS, SOUNDS
from dfedge.data.shift_forms import listed as shifts
from dfedge.limits import MAX_COUNT
from dfedge.native.rendering import RENDERED, exactly
from dfedge.plan import MAX_PACE
from dfedge.rules import OF_DEVICES
from dfedge.runtimes import NATIVE, OWN, STOCK, listed

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BundleArg = Annotated[Path, typer.Argument(help="Folder made by dfedge export.")]
RunArg = Annotated[Path, typer.Argument(help="Folder made by dfedge train or adopt.")]
DATA_HELP = (
    "A name (digits, mnist, fashion-mnist, cifar10, cifar100, fsdd, watch, basic-motions, "
    "gestures, vowels), an .npz file with x and y, a .csv table, or a folder with one "
    "subfolder of images or recordings (.wav, .csv) per class; or package:function."
)
Data = Annotated[str, typer.Option(callback=named, help=DATA_HELP)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of downloaded data sets. Default: $DFEDGE_DATA, then the user's cache."
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        callback=canonical,
        help=f"Runtime: {listed((*STOCK, NATIVE))}, or one that a package adds. Default: the first "
        f"that is installed. {' and '.join(RENDERED)} use the native build when available; "
        f"{exactly(RENDERED[0])} uses stock operators.",
    ),
]
Runtimes = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        callback=canonical,
        help=f"Runtime: {listed(OWN)}, or one that a package adds. Repeatable. "
        "Default: all that are installed.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        min=1,
        help="Number of threads. The runtime native shares the samples of a batch among them; "
        "the bits are the same.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", help="Folder of the learned state. Default: the bundle's name with .state."
    ),
]
Initial = Annotated[
    bool,
    typer.Option(
        "--initial", help="Start from the bundle's first state, without what was learned."
    ),
]
Signer = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        envvar="DFEDGE_REQUIRE_SIGNATURE",
        help="Public key (PEM). Refuse a bundle that is not signed with it.",
    ),
]
MinVersion = Annotated[
    int | None,
    typer.Option(
        "--min-version",
        envvar="DFEDGE_MIN_VERSION",
        help="Refuse a bundle with a lower version (see dfedge export --version).",
    ),
]
SHIFT_HELP = f"Change the samples first. Images: {shifts(IMAGES)}. Signals: {shifts(SIGNALS)}. "
SHIFT_HELP += f"Sounds: {shifts(SOUNDS)}."
Shift = Annotated[
    str | None,
    typer.Option(help=SHIFT_HELP),
]
Target = Annotated[
    str,
    typer.Option(
        callback=canonical_target,
        help="Device: a name from dfedge targets list, or the path of a .toml file.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Limit for arena and state together, such as 256KB. Default: what the target "
        "leaves for a model."
    ),
]
DeviceRule = Annotated[
    str | None,
    typer.Option(
        "--rule", help=f"Learning rule on the device: {listed(OF_DEVICES)}. Default: as trained."
    ),
]
TrainLayers = Annotated[
    str, typer.Option(help="Layers that learn: all, or last:N to freeze those below.")
]
SplitName = Annotated[str | None, typer.Option("--split", help="Split of the data to use.")]
Image = Annotated[
    str,
    typer.Option(
        "--image",
        help="Height and width to which images are resized, such as 224x224. Default: the "
        "net's, else the data's.",
    ),
]
Input = Annotated[
    str,
    typer.Option(
        "--input", help="Kind of samples: image, or window for signals. Default: detected."
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        help="Features that the net reads instead of raw samples: spectrum or statistics for "
        "windows, log-mel 49x10 for sounds. Default: as the net's file says.",
    ),
]
Window = Annotated[
    int,
    typer.Option("--window", min=0, help="Length of a signal window in samples; 0: as recorded."),
]
Hop = Annotated[
    int,
    typer.Option(
        "--hop", min=0, help="Samples between the starts of two windows; 0: half a window."
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label",
        help="Column of a table that holds the class. Default: label, class, activity, ...",
    ),
]
LeaveOut = Annotated[
    str,
    typer.Option(
        "--leave-out",
        help="Group whose samples form the test split, such as person:3. Default: random samples.",
    ),
]
Only = Annotated[
    str,
    typer.Option(
        "--only",
        help="Use samples of one group only, such as person:3: finetune learns the earlier "
        "part, evaluate tests the rest.",
    ),
]
Task = Annotated[
    str,
    typer.Option(
        "--task",
        help="classes: tell classes apart. normal: learn from unlabelled samples of normal "
        "operation how far a sample is from them.",
    ),
]
Modes = Annotated[
    int | None,
    typer.Option(
        "--modes",
        help="Number of modes of normal operation. Default: the number of classes if there are"
        " several, else the smallest suitable of 4, 8, 16 and 32.",
    ),
]
FalseAlarms = Annotated[
    float,
    typer.Option("--false-alarms", help="Fraction of normal samples that may raise an alarm."),
]
ImageFit = Annotated[
    str,
    typer.Option(
        "--fit",
        help="How images of other proportions are fitted: crop to the middle (default for "
        "folders), pad with black, or squash.",
    ),
]
Head = Annotated[
    str,
    typer.Option(
        help="Last layer: own; keep (the rows that --classes names like the data); "
        "keep:ROW,ROW,... (one row per class of the data); new (fitted to the data); or "
        "add (a new one after the net's outputs)."
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option("--classes", help="Text file with the names of the net's scores, one per line."),
]
Channels = Annotated[
    str, typer.Option(help="Order of the colour channels in the net's training: rgb or bgr.")
]
Mean = Annotated[
    str,
    typer.Option(
        help="Mean per channel in the net's training, such as 0.49,0.48,0.45. If any number of"
        " --mean or --std exceeds 1, both refer to pixels from 0 to 255. Of signals, in their own"
        " units."
    ),
]
Std = Annotated[str, typer.Option(help="Standard deviation per channel, in the same form.")]
Units = Annotated[
    str,
    typer.Option(
        help="What the net was fed of signals in its training: data (values as they stand in the"
        " data), or codes (each channel's range as 0 to 1)."
    ),
]
OnBadSample = Annotated[
    str,
    typer.Option(help="At a sample that cannot be read or learned: stop, or skip and count it."),
]
NoReplay = Annotated[
    bool,
    typer.Option("--no-replay", help="Do not replay earlier samples; the model may forget."),
]
NoGuard = Annotated[
    bool, typer.Option("--no-guard", help="Do not undo learning, even if it makes the model worse.")
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Let new data replace the old: the device was moved, or the camera was turned.",
    ),
]
Rate = Annotated[
    float,
    typer.Option(
        min=1 / 256, max=256, help="Factor for all learning rates, rounded to a power of two."
    ),
]
Batch = Annotated[int, typer.Option(min=1, help="Samples per step.")]
Pace = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_PACE,
        help="How many times rates may be halved while there is little to learn; 0: constant "
        "rates.",
        show_default="the bundle's: 4",
    ),
]
NoKeep = Annotated[
    bool,
    typer.Option(
        "--no-keep",
        help="Store no samples in the RUN. The export then cannot try learning, and the bundle"
        " has none to replay.",
    ),
]


def seed_option(help: str) -> Any:
    """The option --seed; ``help`` says what it steers."""
    return typer.Option(min=0, max=MAX_COUNT, help=help)
