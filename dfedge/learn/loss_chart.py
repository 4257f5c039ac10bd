"""Where accuracy is lost, as a picture."""

from typing import Any

from dfedge.learn.explain import Lost
from dfedge.page import figure

LOW = 3
"""Results of the lowest ratios that are marked."""
MOST = 100
"""dB at which a bar is cut off: beyond it a result is exact but for float's own rounding."""
BAR, MARKED = "#4c72b0", "#c44e52"


def losses_figure(losses: list[Lost]) -> Any:
    """A bar for each result, first on top; the ``LOW`` worst are marked.

    Raises:
        DfedgeError: matplotlib is not installed.
    """
    picture = figure(8, 0.9 + 0.24 * len(losses))
    axes = picture.subplots()
    places = range(len(losses))
    worst = sorted(places, key=lambda i: losses[i].snr)[: min(LOW, len(losses) - 1)]
    bars = axes.barh(
        places,
        [min(lost.snr, MOST) for lost in losses],
        color=[MARKED if i in worst else BAR for i in places],
    )
    labels = [f"{lost.snr:.1f}" if lost.snr <= MOST else f"above {MOST}" for lost in losses]
    axes.bar_label(bars, labels, padding=3, fontsize="small")
    axes.set_yticks(places, [lost.name for lost in losses], fontsize="small")
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("signal to noise of the result, integers against float, dB (red: the lowest)")
    axes.spines[["top", "right"]].set_visible(False)
    return picture
