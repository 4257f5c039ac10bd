"""results/adopt.json as a picture: what a shift costs, what each choice wins back, what is kept.

python examples/experiments/adopt_picture.py      # writes examples/pictures/adopt.svg
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

from dfedge.page import figure, save

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results/adopt.json", HERE.parent / "pictures/adopt.svg"
NETS = {"resnet8": "resnet8", "mobilenet_v2": "MobileNetV2-0.35"}
SHIFTS = {"cast and noise": "colour cast, noise", "blur": "blur", "rotate 30": "turned by 30°"}
KEPT, WIDTH = "#555555", 0.27
SIDES = {"dfedge": "#4c72b0", "replace": "#8fb0d8", "bp": "#dd8452"}
"""Whose bars, and their colours."""


def percent(rows: list[dict[str, float]], what: str) -> float:
    return 100 * mean(row[what] for row in rows)


def draw(axes: Any, found: dict[str, Any], shift: str) -> None:
    """One shift: three bars a choice; a line where it began, dots for the original images."""
    choices = [name.removeprefix(f"{shift}, ") for name in found if name.startswith(f"{shift}, ")]
    for place, learn in enumerate(choices):
        row = found[f"{shift}, {learn}"]
        for side, (way, colour) in enumerate(SIDES.items()):
            rows, at = row[way], place + (side - 1) * WIDTH
            axes.bar(at, percent(rows, "shifted"), WIDTH, color=colour)
            axes.plot(at, percent(rows, "original"), "o", color=KEPT, markersize=4)
        before = percent(row["dfedge"], "shifted before")
        axes.plot(
            [place - 1.5 * WIDTH, place + 1.5 * WIDTH], [before, before], color="black", linewidth=1
        )
    axes.set_xticks(range(len(choices)), choices)
    axes.set_title(SHIFTS[shift], fontsize="medium")
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    results = json.loads(RESULTS.read_text())
    picture = figure(11, 6)
    rows = picture.subplots(len(NETS), len(SHIFTS), sharey=True)
    for row, net in zip(rows, NETS, strict=True):
        for axes, shift in zip(row, SHIFTS, strict=True):
            draw(axes, results[net], shift)
        row[0].set_ylabel(f"{NETS[net]}: % of the test images")
    picture.suptitle(
        "1,000 labelled samples of a shift: dfedge in int8 (blue; light: --replace), "
        "back-propagation of the same part in float (orange);\n"
        "line: shifted images before; dots: the original images afterwards",
        fontsize="medium",
    )
    save(picture, PICTURE)


if __name__ == "__main__":
    main()
