"""A continual run, live: a Rich view on a terminal; a signal stops it between two steps."""

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dfedge import state
from dfedge.cli.console import err, percent, shown, size
from dfedge.cli.signals import StoppedError, stoppable
from dfedge.continual.run import Moment, StreamRun

BARS = "▁▂▃▄▅▆▇█"


def watch_run(run: StreamRun) -> None:
    """Learn to the end, shown on a terminal (stderr).

    Raises:
        StoppedError: a signal came; what was learned is saved.
    """
    with (
        stoppable() as stopped,
        Live(
            console=err, refresh_per_second=8, transient=True, auto_refresh=err.is_terminal
        ) as live,
    ):
        for moment in run.moments():
            if err.is_terminal:
                live.update(view(run, moment))
            if stopped and not run.progress.finished:
                run.save()
                raise StoppedError(stopped[0], _kept(run))


def _kept(run: StreamRun) -> str:
    """What a stopped run has on the medium."""
    folder, saved, seen = run.session.folder, run.saved, run.progress.samples
    if saved == seen:
        return f"; saved in {folder}"
    if saved:
        return f"; {saved:,} of {seen:,} samples are saved in {folder}, the last that were judged"
    return f"; {folder} is as it was, for the guard has judged nothing yet"


def view(run: StreamRun, moment: Moment) -> Group:
    """What the terminal shows: experiences with their accuracy so far, then the figures."""
    progress, probes = run.progress, run.progress.probes
    learned = run.stream.samples * run.settings.passes
    title = f"{run.settings.stream}, {run.settings.strategy}, {run.session.runtime}"
    table = Table(title=shown(title), title_justify="left")
    for name, side in (("experience", "left"), ("accuracy so far", "left"), ("now", "right"),
                       ("best", "right"), ("forgotten", "right")):  # fmt: skip
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for j, experience in enumerate(run.stream.experiences):
        curve = [probe.accuracy[j] for probe in probes]
        now, best = curve[-1], max(curve)
        style = "bold" if j == moment.experience else "" if j < moment.experience else "dim"
        table.add_row(shown(experience.name), spark(curve), percent(now), percent(best),
                      percent(best - now), style=style)  # fmt: skip
    held = state.size_bytes(run.strategy.arrays())
    lines = [
        f"{progress.samples:,} of {learned:,} samples, {progress.steps:,} steps, "
        f"{progress.skipped:,} batches without one",
        f"recognised before being learned: {percent(moment.accuracy)} of the last 500",
        f"{1000 * progress.seconds / max(progress.steps, 1):.2f} ms a step; state "
        f"{size(run.session.state_bytes)}, replay {size(held)}, guard {size(run.guard_bytes)}, "
        f"{run.rollbacks} rollbacks",
    ]
    bar = ProgressBar(total=learned, completed=progress.samples, width=60)
    return Group(table, bar, *(Text(line) for line in lines))


def spark(curve: list[float], width: int = 24) -> str:
    """A curve of fractions as block characters, its last ``width`` points."""
    return "".join(BARS[min(int(value * len(BARS)), len(BARS) - 1)] for value in curve[-width:])
