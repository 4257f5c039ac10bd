"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.data.shift_forms import IMAGES, SIGNALS, SOUNDS
from dfedge.data.shift_forms import listed as shifts
from dfedge.limits import MAX_COUNT
from dfedge.native.rendering import RENDERED, exactly
from dfedge.plan import MAX_PACE
from dfedge.rules import OF_DEVICES
from dfedge.runtimes import NATIVE, OWN, STOCK, listed

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
BundleArg = Annotated[Path, typer.Argument(help="The folder made by dfedge export.")]
RunArg = Annotated[Path, typer.Argument(help="The folder made by dfedge train.")]
DATA_HELP = (
    "digits, mnist, fashion-mnist, cifar10, cifar100, fsdd, watch, basic-motions, gestures, "
    "vowels, a file .npz with x and y, a table .csv, or a folder by class of images or of "
    "recordings .wav or .csv."
)
Data = Annotated[str, typer.Option(help=DATA_HELP)]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where downloaded sets lie; else $DFEDGE_DATA, else the user's cache."),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        help=f"{listed((*STOCK, NATIVE))}, or one that a package adds; default: the first that is "
        f"installed. Of {' and '.join(RENDERED)} the native rendering runs where it can; "
        f"{exactly(RENDERED[0])} keeps to the other."
    ),
]
Runtimes = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        help=f"{listed(OWN)}, or one that a package adds; repeat it for several; "
        "default: all here.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option("--state", help="Where learning lives; default: the bundle's name with .state."),
]
Initial = Annotated[
    bool, typer.Option("--initial", help="Ignore what was learned: the bundle's own state.")
]
Signer = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        envvar="DFEDGE_REQUIRE_SIGNATURE",
        help="A public key (PEM): refuse a bundle that it did not sign.",
    ),
]
MinVersion = Annotated[
    int | None,
    typer.Option(
        "--min-version",
        envvar="DFEDGE_MIN_VERSION",
        help="Refuse a bundle of a lower version (dfedge export --version).",
    ),
]
SHIFT_HELP = f"Change the samples first: {shifts(IMAGES)}; of signals {shifts(SIGNALS)}; of "
SHIFT_HELP += f"sounds {shifts(SOUNDS)}."
Shift = Annotated[
    str | None,
    typer.Option(help=SHIFT_HELP),
]
Target = Annotated[
    str, typer.Option(help="The device: a name from dfedge targets list, or a path .toml.")
]
Budget = Annotated[
    str | None,
    typer.Option(help="Arena and state together, as 256KB; what the target leaves a model."),
]
DeviceRule = Annotated[
    str | None,
    typer.Option("--rule", help=f"On the device: {listed(OF_DEVICES)}; as trained."),
]
TrainLayers = Annotated[str, typer.Option(help="all, or last:N: the layers below are frozen.")]
SplitName = Annotated[str | None, typer.Option("--split", help="Which split of the data.")]
Image = Annotated[
    str,
    typer.Option(
        "--image",
        help="Height and width at which images are read, as 224x224; default: the net's own, "
        "else the data's.",
    ),
]
Input = Annotated[
    str,
    typer.Option(
        "--input", help="What the samples are: image or window (signals); default: as they look."
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        help="What a net is fed instead of samples as they are: of windows spectrum or statistics, "
        "of sounds log-mel 49x10; default: as the net's file says.",
    ),
]
Window = Annotated[
    int, typer.Option("--window", min=0, help="Samples of a window of signals; 0: as recorded.")
]
Hop = Annotated[
    int,
    typer.Option(
        "--hop", min=0, help="Samples from one window's start to the next; 0: half a window."
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label",
        help="Column of a table that names the class; default: label, class, activity, ...",
    ),
]
LeaveOut = Annotated[
    str,
    typer.Option(
        "--leave-out", help="Whose samples are the test split, as person:3; default: drawn ones."
    ),
]
Only = Annotated[
    str,
    typer.Option(
        "--only",
        help="Whose samples alone, as person:3: finetune learns the first part of them in time, "
        "evaluate tests the rest.",
    ),
]
Task = Annotated[
    str,
    typer.Option(
        "--task",
        help="classes, to tell them apart; or normal: DATA are of normal operation alone, need no "
        "labels, and the net learns how far a sample is from them.",
    ),
]
Modes = Annotated[
    int | None,
    typer.Option(
        "--modes",
        help="Of normal operation, to be found; default: the data's classes where they have "
        "several, else the fewest of 4, 8, 16 and 32 that suit.",
    ),
]
FalseAlarms = Annotated[
    float,
    typer.Option(
        "--false-alarms", help="Of normal samples, the fraction that may be taken for none."
    ),
]
ImageFit = Annotated[
    str,
    typer.Option(
        "--fit",
        help="How images of other proportions are read: crop, the middle (the default of pictures "
        "in a folder); pad, with black beside them; or squash.",
    ),
]
Head = Annotated[
    str,
    typer.Option(
        help="The last layer: own; keep, its rows that --classes names as the data do; "
        "keep:ROW,ROW,..., one for each class of the data; new, fitted to the data; or add, a new "
        "one over what the net gives."
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option("--classes", help="A file that names the net's scores, one a line."),
]
Channels = Annotated[
    str, typer.Option(help="Order of the channels that the net was trained on: rgb or bgr.")
]
Mean = Annotated[
    str,
    typer.Option(
        help="Of the images that the net was trained on: 0.49,0.48,0.45; where a number of --mean "
        "or --std is above 1, both are of pixels from 0 to 255."
    ),
]
Std = Annotated[str, typer.Option(help="Their standard deviation, likewise.")]
OnBadSample = Annotated[
    str, typer.Option(help="stop, or skip and count, at a sample that cannot be read or learned.")
]
NoReplay = Annotated[
    bool,
    typer.Option("--no-replay", help="Learn what is new alone; what was known may be forgotten."),
]
NoGuard = Annotated[
    bool, typer.Option("--no-guard", help="Take nothing back, whatever learning does to the model.")
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="What was known may go: the device has moved, the camera was turned."
    ),
]
Rate = Annotated[
    float,
    typer.Option(min=1 / 256, max=256, help="Factor of all rates, to the nearest power of two."),
]
Batch = Annotated[int, typer.Option(min=1, help="Samples a step.")]
Pace = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_PACE,
        help="How many times the rates may halve while there is little to learn; 0: constant.",
        show_default="the bundle's: 4",
    ),
]
NoKeep = Annotated[
    bool,
    typer.Option(
        "--no-keep",
        help="Keep no samples in the RUN: learning is then not tried at export, and the bundle "
        "brings none along.",
    ),
]


def seed_option(of: str) -> Any:
    """The option --seed; ``of`` says what it steers."""
    return typer.Option(min=0, max=MAX_COUNT, help=of)
