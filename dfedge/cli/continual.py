"""``dfedge continual``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli import normal
from dfedge.cli.console import print_json, progress, say, table
from dfedge.cli.opened import open_session
from dfedge.cli.options import (
    DataDir,
    Initial,
    Json,
    MinVersion,
    Runtime,
    Signer,
    State,
    Threads,
    seed_option,
)

Preset = Annotated[
    str | None,
    typer.Option(help="Net, stream and strategy by one name: digits, camera, speaker or classes."),
]


HOME = Path("out/continual")


def run(
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder made by dfedge export, unless --preset is given.")
    ] = None,
    preset: Preset = None,
    data: Annotated[
        str | None, typer.Option(help="Name of a data set, an .npz file, or a folder.")
    ] = None,
    data_dir: DataDir = None,
    stream: Annotated[
        str | None,
        typer.Option(
            help="labelled, drift, class-incremental, domain-incremental, new-user or folder. "
            "Settings follow a colon: drift:rotate=45,samples=2000; drift:gain=0.5 for "
            "signals; new-user:who=person:3.",
            show_default="labelled",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Strategy: guarded (replay and guard, like finetune), none, anchors, "
            "reservoir or balanced (latent replay), placed (anchors placed among what is kept).",
            show_default="guarded",
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=0, help="Size of the replay memory in bytes.")
    ] = None,
    replayed: Annotated[
        int | None, typer.Option(min=0, help="Replayed samples per new sample.")
    ] = None,
    remember: Annotated[
        int | None,
        typer.Option(min=0, help="Number of known samples that the replay memory starts with."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="New samples per step.")] = None,
    passes: Annotated[int | None, typer.Option(min=1, help="Passes over each experience.")] = None,
    guard: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Samples held back to judge learning, for all strategies except guarded; 0: none.",
        ),
    ] = None,
    gate: Annotated[
        bool | None, typer.Option(help="Learn only from samples that violate the net's margin.")
    ] = None,
    wrong: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Fraction of labels that are made wrong on purpose."),
    ] = None,
    seed: Annotated[int | None, seed_option("Seed for the stream and the replay.")] = None,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    threads: Threads = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --preset: folder for its net and state.", show_default="out/continual"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Report to write. Default: report.html in the state folder.")
    ] = None,
    json: Json = False,
) -> None:
    """Learn a stream of experiences on the device, and watch accuracy and forgetting.

    By default replay and guard protect earlier knowledge, as in finetune; --strategy none does not.
    A bundle of --task normal follows a slow drift without labels: it learns from normal samples.
    Ctrl-C saves; the same command continues and ends in the same bytes.

    [bold]Example:[/] dfedge continual out/bundle --data digits --stream drift:samples=400
    """
    from dfedge.cli.watch import watch_run
    from dfedge.continual.checkpoint import unfinished
    from dfedge.continual.report import rows, write_report
    from dfedge.continual.result import result_of
    from dfedge.continual.run import StreamRun
    from dfedge.continual.settings import override
    from dfedge.continual.strategies import care_of
    from dfedge.data.streams import StreamSource
    from dfedge.errors import UsageError
    from dfedge.runtimes import NATIVE

    given = {
        "stream": stream, "data": data, "strategy": strategy, "budget": budget,
        "replayed": replayed, "remember": remember, "batch": batch, "passes": passes,
        "guard": guard, "gate": gate, "wrong": wrong, "seed": seed,
    }  # fmt: skip
    if (bundle is None) == (preset is None):
        raise UsageError("give either a BUNDLE or --preset NAME")
    if bundle is not None and out is not None:
        raise UsageError("--out is for --preset; of a BUNDLE --state and --report name the places")
    if preset is not None:
        from dfedge.presets import load_preset, make_bundle

        chosen, runtime = load_preset(preset), runtime or "onnx"
        settings, home = override(chosen.settings, given), (out or HOME) / Path(preset).stem
        format = "c" if runtime == NATIVE else runtime
        with progress() as bar:
            bundle = make_bundle(chosen, home, format, data_dir, bar).folder
        state = state or home / f"state-{runtime}"
        initial = initial or not unfinished(state)  # a preset shows the same thing every time
    else:
        if data is None:
            raise UsageError("a BUNDLE needs --data NAME")
        settings = override(None, given | {"stream": stream or "labelled"})
    assert bundle is not None
    care = care_of(settings.strategy)
    session = open_session(
        bundle, runtime, state, initial, signer, min_version, care, threads=threads
    )
    own = session.bundle.manifest
    if normal.knows_normal(session):
        learned = {"stream", "data"}
        normal.refuse(session, **{k: v is not None for k, v in given.items() if k not in learned})
        wanted = ("stream", "train", "all")
        judged = normal.load(session, settings.data, data_dir, None, None, wanted)
        normal.learn(session, judged, settings.stream, None, json)
        return
    made = settings.make_stream(
        StreamSource(settings.data, data_dir, own.input, own.reading, own.cut)
    )
    running = StreamRun(session, made, settings, resume=not initial)
    if running.resumed and not json:
        say(f"resuming after {running.resumed:,} samples from an earlier call")
    watch_run(running)
    result = result_of(running)
    page = report or session.folder / "report.html"
    write_report(running, result, page)
    if json:
        print_json({**result, "report": str(page)})
        return
    names = result["experiences"]
    table(
        f"{settings.stream}: accuracy in % after each experience (row) on each (column)",
        ["after", *names],
        [[name, *(f"{100 * value:.0f}" for value in row)] for name, row in
         zip(["nothing", *names], result["accuracy_matrix"], strict=True)],
    )  # fmt: skip
    table("what was found", ["what", "value"], [[what, value] for what, value in rows(result)])
    say(f"wrote {session.folder} and {page}")
