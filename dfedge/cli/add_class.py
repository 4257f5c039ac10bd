"""``dfedge add-class``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli import normal
from dfedge.cli.console import print_json, say
from dfedge.cli.opened import open_session
from dfedge.cli.options import (
    BundleArg,
    Initial,
    Json,
    MinVersion,
    Runtime,
    Signer,
    State,
    Threads,
    seed_option,
)


def run(
    bundle: BundleArg,
    name: Annotated[str, typer.Argument(help="Name of the new class.")],
    samples: Annotated[
        list[Path],
        typer.Option(
            help="Samples of the class: a folder, an image, a recording (.wav, .csv), or an "
            ".npz file with x. Repeatable."
        ),
    ],
    steps: Annotated[
        int, typer.Option(min=0, help="Training steps after the anchors are placed.")
    ] = 0,
    lost: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="How many of 100 known samples that only judge may be lost, over all classes that "
            "are added. More: new classes are recognised more often.",
        ),
    ] = 3,
    seed: Annotated[int, seed_option("Seed for the order of presentation.")] = 0,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Teach a new class from a few labelled samples, without another export.

    The class takes one of the rows reserved by dfedge export --spare-classes. Its name is stored in
    the state folder; the bundle does not change. On a device that has learned nothing else the
    anchors of the other classes may move too. In a bundle of --task normal it becomes a new mode
    of normal operation.

    [bold]Example:[/] dfedge add-class out/bundle seven --samples photos/seven --samples one.png
    """
    import numpy as np

    from dfedge.continual.new_class import known_right, learn_class, right
    from dfedge.data.files import read_inputs
    from dfedge.device.classes import spare_rows

    session = open_session(bundle, runtime, state, initial, signer, min_version, threads=threads)
    rule = session.bundle.manifest.input
    x = np.stack([image for path in samples for _, image in read_inputs(path, rule)])
    if normal.knows_normal(session):
        normal.refuse(session, steps=steps)
        normal.add_mode(session, name, x, json)
        return
    before = known_right(session)
    row = learn_class(session, name, x, steps, seed, lost)
    own, after = right(session, x, row), known_right(session)
    session.save()
    name = session.classes[row]
    found = {
        "class": name,
        "row": row,
        "samples": len(x),
        "own_recognised": own,
        "known": before.of,
        "known_recognised": {"before": before.right, "after": after.right},
        "steps": steps,
        "spare_rows": spare_rows(session),
        "classes": list(session.classes),
        "runtime": session.runtime,
        "state": str(session.folder),
        "state_sha256": session.digest(),
    }
    if json:
        print_json(found)
        return
    say(f"'{name}' is class {row}, from {len(x)} sample(s) and {steps} steps on {session.runtime}; "
        f"{found['spare_rows']} spare row(s) left")  # fmt: skip
    say(f"recognised: {own} of its {len(x)} samples; of {before.of} known ones {after.right} "
        f"({before.right} before)")  # fmt: skip
    if 2 * own < len(x):
        say("the net hardly tells it from the others: give more samples, or let more of the known "
            f"fall to it, as --lost {max(2 * lost, 10)}")  # fmt: skip
    say(f"wrote {session.folder}", next_command=f"dfedge predict {bundle} {samples[0]}")
