"""A machine that wears out: learned without labels, its drift followed, its fault found.

    python examples/machine.py [OUT] [EPOCHS]

A sensor of three axes sits on a machine that runs at one of three speeds.  A net learns what is
normal from windows of its readings; nobody says which speed a window is of.  On the device the
machine warms up: readings drift so far that the net would call all of them unusual, had it not
followed.  Then a bearing breaks.
"""

import sys
from pathlib import Path

import numpy as np

from dfedge.data.modes import NormalWish
from dfedge.data.reading import Reading
from dfedge.device.follow import follow
from dfedge.device.normal import judge
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

LENGTH, SPEEDS = 128, (6.0, 9.0, 15.0)
FAULTS = ("imbalance", "bearing", "loose", "stuck")


def readings(rng: np.random.Generator, count: int, fault: str = "") -> np.ndarray:
    """Windows [count, 128, 3] of a machine, normal or with a fault."""
    time, found = np.arange(LENGTH) / LENGTH, []
    for _ in range(count):
        turns = SPEEDS[rng.integers(3)] * rng.uniform(0.97, 1.03)
        angle, load = 2 * np.pi * (turns * time + rng.random()), rng.uniform(0.7, 1.3)
        radial = load * (rng.uniform(1.4, 2.0) if fault == "imbalance" else 1.0)
        axes = [
            radial * np.sin(angle),
            0.6 * load * np.cos(angle) + 0.3 * np.sin(2 * angle),
            0.2 * load * np.sin(3 * angle),
        ]
        x = np.stack(axes, 1)
        if fault == "bearing":  # a ball rolls over a pit: it rings, 3.57 times a turn
            gap = LENGTH / (turns * 3.57)
            hits = np.zeros(LENGTH)
            hits[np.arange(rng.random() * gap, LENGTH, gap).astype(int)] = 1
            ring = np.exp(-np.arange(12) / 3) * np.cos(1.9 * np.arange(12))
            x += np.outer(np.convolve(hits, ring)[:LENGTH], [0.8, 1.0, 0.5]) * rng.uniform(0.5, 1.2)
        if fault == "loose":  # a bolt: it beats at half the speed
            x[:, 1] += rng.uniform(0.3, 0.6) * np.sin(angle / 2)
        if fault == "stuck":  # one axis of the sensor
            x[:, rng.integers(3)] = x[0, 0]
        found.append(x + rng.normal(0, 0.12, x.shape))
    return np.stack(found)


def drifted(x: np.ndarray, at: np.ndarray | float) -> np.ndarray:
    """Windows after so much (0 to 1) of the drift: louder by a fifth, and off its zero."""
    part = np.reshape(at, (-1, 1, 1))
    return x * (1 + 0.2 * part) + 0.3 * part * np.array([1.0, 0.5, -1.0])


def main(out: Path, epochs: int, count: int = 900, stream: int = 5000) -> None:
    rng = np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "normal.npz", x=readings(rng, count))
    wish = NormalWish(false_alarms=0.01)
    settings = {"epochs": epochs, "qat_epochs": 3}
    options = TrainOptions(
        str(out / "normal.npz"), qat=True, settings=settings, normal=wish, reading=Reading("window")
    )
    run = train(options, out / "run")
    bundle = export(run, ExportOptions(("c",)), out / "bundle")

    # From here on nothing needs torch: this is what runs on the device.
    session = Session.open(bundle, state=out / "state", initial=True)

    def alarms(x: np.ndarray) -> float:
        return float((~judge(session, session.input(x)).normal).mean())

    new, broken = readings(rng, 400), readings(rng, 400, "bearing")
    print(f"at first: {alarms(new):.1%} of normal windows, {alarms(broken):.1%} of broken ones")
    print(f"drifted, not followed: {alarms(drifted(new, 1)):.1%} of normal windows")
    warming = drifted(readings(rng, stream), np.linspace(0, 1, stream))
    found = follow(session, session.input(warming))
    print(f"while it drifts: {(~found.judged.normal).mean():.1%} of normal windows")
    new, broken = drifted(new, 1), drifted(broken, 1)
    print(f"drifted, followed: {alarms(new):.1%} of normal windows, {alarms(broken):.1%} of broken")
    session.save()


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "out/machine"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 12,
    )
