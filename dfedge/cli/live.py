"""``dfedge live``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfedge.cli.answered import answer_record, sureness
from dfedge.cli.console import print_json_line, say, warn
from dfedge.cli.opened import open_session
from dfedge.cli.options import (
    BundleArg,
    Initial,
    Json,
    MinVersion,
    NoGuard,
    NoReplay,
    OnBadSample,
    Replace,
    Runtime,
    Signer,
    State,
)
from dfedge.cli.signals import StoppedError, stoppable

if TYPE_CHECKING:
    from dfedge.device.live import Event, Live


def run(
    bundle: BundleArg,
    source: Annotated[
        str,
        typer.Option(
            help="- (standard input), a file, a named pipe, a serial port such as "
            "/dev/ttyUSB0, or mic (for sound; needs the package sounddevice)."
        ),
    ],
    baud: Annotated[
        int | None,
        typer.Option(
            help="Speed of the serial port, such as 115200.", show_default="as the port is set"
        ),
    ] = None,
    hop: Annotated[
        int,
        typer.Option(
            min=0,
            help="Samples between the starts of two windows; 0: as in training, else half a "
            "window.",
        ),
    ] = 0,
    on_bad_sample: OnBadSample = "skip",
    no_replay: NoReplay = False,
    no_guard: NoGuard = False,
    replace: Replace = False,
    runtime: Runtime = None,
    state: State = None,
    initial: Initial = False,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Classify a live signal window by window, and learn from the labels you type.

    Each line is one sample in time: one number per channel, separated by commas, semicolons or
    blanks. A line with the channels' names sets their order. A window never spans a line that
    cannot be read. For a sound model, a line holds any number of 16-bit samples at 8 kHz;
    utterances overlap by half, or start --hop samples apart.

    The line [bold]l NAME[/] teaches the last window as class NAME, with replay and guard;
    [bold]s[/] saves. If the source is not standard input, these lines are read from there as well.
    The end of the input, Ctrl-C and SIGTERM save. With --json, every event is one JSON line.

    [bold]Example:[/] sensor | dfedge live out/bundle --source -
    """
    from dfedge.data.door import SampleFilter
    from dfedge.data.live.lines import lines
    from dfedge.data.live.ports import commands, opened
    from dfedge.device.care import Care
    from dfedge.device.live import Live

    care, door = Care(not no_replay, not no_guard, replace), SampleFilter(on_bad_sample)
    session = open_session(bundle, runtime, state, initial, signer, min_version, care)
    show = _as_json if json else _in_words
    with (
        Live(session, hop, door) as live,
        opened(source, baud, live.hears) as first,
        stoppable() as stopped,
    ):
        try:
            for one, line in lines(first, commands(source), lambda: bool(stopped)):
                for event in live.line(line) if one == first else live.command(line):
                    show(event)
        finally:  # whatever ended it: what was taught is not lost
            for event in live.save():
                show(event)
        kept = _ended(live, json)
    if stopped:
        raise StoppedError(stopped[0], kept)


def _ended(live: "Live", json: bool) -> str:
    """Tell what there was; in words, what is kept of what was taught."""
    folder, taught = live.session.folder, live.taught
    if json:
        print_json_line(
            {
                "windows": live.windows, "samples": live.samples, "taught": taught,
                "skipped": dict(live.door.skipped), "state": str(folder),
                "state_sha256": live.session.digest(),
            }
        )  # fmt: skip
    warn([f"skipped {count:,} lines: {flaw}" for flaw, count in live.door.skipped.items()])
    return f"; {taught:,} windows taught, saved in {folder}" if taught else "; nothing was taught"


def _in_words(event: "Event") -> None:
    from dfedge.device.live import Answer, Refused, Saved, Taught, Verdict

    if isinstance(event, Answer):
        a = event.prediction
        say(f"{event.window}: {a.name}, {sureness(a)}")
    elif isinstance(event, Verdict):
        say(f"{event.window}: {event.judged.says(0)}")
    elif isinstance(event, Taught):
        say(f"learned window {event.window} as {event.name}")
    elif isinstance(event, Saved):
        say(f"wrote {event.folder} ({event.presentations:,} presentations in all)")
    elif isinstance(event, Refused):
        warn([event.why])
    else:
        say(f"the guard undid {'all' if event.wholly else 'a part'} of what was taught since "
            "it judged last")  # fmt: skip


def _as_json(event: "Event") -> None:
    from dfedge.device.live import Answer, Refused, Saved, Taught, Verdict

    told: dict[str, Any]
    if isinstance(event, Answer):
        told = {"window": event.window, **answer_record(event.prediction)}
    elif isinstance(event, Verdict):
        told = {"window": event.window, **event.judged.row(0)}
    elif isinstance(event, Taught):
        told = {"taught": event.name, "window": event.window}
    elif isinstance(event, Saved):
        told = {"saved": event.presentations}
    elif isinstance(event, Refused):
        told = {"refused": event.why}
    else:
        told = {"taken_back": "all" if event.wholly else "part"}
    print_json_line(told)
