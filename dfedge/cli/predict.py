"""``dfedge predict``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dfedge.cli import normal
from dfedge.cli.answered import answer_record, certainty, runners_up, sureness
from dfedge.cli.console import print_json, say, table
from dfedge.cli.opened import open_session
from dfedge.cli.options import BundleArg, Initial, Json, MinVersion, Runtime, Signer, State


def run(
    bundle: BundleArg,
    files: Annotated[
        list[Path], typer.Argument(help="Images, recordings, or .npz and .npy files.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of classes to show per input.")] = 1,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Show each input's class, its probability, and its lead over the runner-up.

    Probabilities are calibrated on held-out samples at export. An answer is unsure if the runner-up
    is at least a third as probable. Scores are integers; compare only scores of the same input. A
    bundle of --task normal tells whether an input is normal, or how far beyond the threshold.

    [bold]Example:[/] dfedge predict out/bundle photo.png --top 3
    """
    from dfedge.data.files import read_inputs
    from dfedge.device.confidence import LEAST

    session = open_session(bundle, runtime, state, initial, signer, min_version, read_only=True)
    rule = session.bundle.manifest.input
    inputs = [item for file in files for item in read_inputs(file, rule)]
    if normal.knows_normal(session):
        normal.predict(session, inputs, json)
        return
    scores = [(name, session.scores(image[None])[0]) for name, image in inputs]
    answers = [(name, session.name(one), runners_up(session, one, top - 1)) for name, one in scores]
    if json:
        rows = [{"file": name, **answer_record(a), "then": then} for name, a, then in answers]
        used = session.state_name
        print_json({"runtime": session.runtime, "state": used, "predictions": rows})
        return
    columns = ["input", "class", "confidence", "lead over runner-up", "then"]
    lines = [
        [name, a.name, "not known" if a.confidence is None else sureness(a), f"{a.margin:,}",
         ", ".join(map(_said, then))]
        for name, a, then in answers
    ]  # fmt: skip
    shown = len(columns) - (top == 1)
    table("", columns[:shown], [line[:shown] for line in lines])
    if any(a.confidence is None for _, a, _ in answers):
        say(f"confidence is not known: it takes {LEAST} samples that were held out of training")
    say(f"state: {session.state_name}; runtime: {session.runtime}")


def _said(other: dict[str, Any]) -> str:
    known = other["confidence"] is not None
    return f"{other['class']} {certainty(other['confidence'])}" if known else str(other["class"])
