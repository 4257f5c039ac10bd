"""Motions of two speeds, drawn: recordings .csv of three axes."""

from pathlib import Path

import numpy as np

T, CHANNELS = 24, ("x", "y", "z")
SPEED = {"slow": 3.0, "fast": 7.0}


def wave(name: str, length: int, seed: int) -> np.ndarray:
    """A signal [L, 3] of a class."""
    rng = np.random.default_rng([seed, len(name)])
    time = np.arange(length) / T + rng.random()
    axes = [np.sin(2 * np.pi * SPEED[name] * time / 2 + phase) for phase in (0.0, 1.0, 2.0)]
    return np.stack(axes, 1) * (1 + 0.2 * rng.random()) + rng.normal(0, 0.05, (length, 3))


def write_table(path: Path, x: np.ndarray, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [*columns, *CHANNELS[: x.shape[1]]]
    rows = [
        [*(values[i] for values in columns.values()), *(f"{v:.5f}" for v in row)]
        for i, row in enumerate(x)
    ]
    lines = [names, *rows]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))


def write_motion(folder: Path) -> None:
    """Eight recordings of each class, a folder each."""
    for name in SPEED:
        for number in range(8):
            write_table(folder / name / f"{number}.csv", wave(name, 5 * T, number))
