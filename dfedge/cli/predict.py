"""``dfedge predict``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli import normal
from dfedge.cli.console import print_json, say, table
from dfedge.cli.opened import open_session
from dfedge.cli.options import BundleArg, Initial, Json, MinVersion, Runtime, Signer, State


def run(
    bundle: BundleArg,
    files: Annotated[list[Path], typer.Argument(help="Images, recordings, or files .npz with x.")],
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Say each input's class, its score and its lead over the runner-up.

    Scores are integers, larger is nearer; only scores of one input can be compared. Of a bundle
    that knows what is normal: whether each input is, or how many times as far as the threshold.

    [bold]Example:[/] dfedge predict out/bundle photo.png
    """
    from dfedge.data.files import read_inputs

    session = open_session(bundle, runtime, state, initial, signer, min_version, read_only=True)
    rule = session.bundle.manifest.input
    inputs = [item for file in files for item in read_inputs(file, rule)]
    if normal.knows_normal(session):
        normal.predict(session, inputs, json)
        return
    answers = [(name, session.predict(image)) for name, image in inputs]
    if json:
        rows = [
            {"file": name, "class": a.name, "label": a.label, "score": a.score, "margin": a.margin}
            for name, a in answers
        ]
        used = session.state_name
        print_json({"runtime": session.runtime, "state": used, "predictions": rows})
        return
    table(
        "",
        ["input", "class", "score", "lead over runner-up"],
        [[name, a.name, f"{a.score:,}", f"{a.margin:,}"] for name, a in answers],
    )
    say(f"state: {session.state_name}; runtime: {session.runtime}")
