"""How updates are rounded, and whether int8 weights need int16 masters.

    python examples/experiments/rounding.py

Digits turned by 90 degrees, up to 10,000 steps of 16 (437 images over and over), three nets, at a
constant rate and at rates that follow the error (`dfedge.compile.pace`).  Only the rounding of the
weights' updates differs; each variant stands in for `dfedge.compile.units.update` of the one step.
Writes results/rounding.json (about forty minutes on one core).
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfedge.compile.state import State, conv_name
from dfedge.compile.step import infer
from dfedge.compile.step import train as step
from dfedge.compile.units import Trace, errors
from dfedge.data.inputs import to_input
from dfedge.data.order import shuffled
from dfedge.data.sources import load_split
from dfedge.exporters.write import lowered
from dfedge.int8 import ops
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.plan import Plan

RESULTS = Path(__file__).parent / "results" / "rounding.json"
OUT, SEEDS, STEPS, BATCH = Path("out/rounding"), (0, 1, 2), 10_000, 16
LOOKS = (125, 1000, 10_000)
SHIFT = "rotate:90"

Rounding = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(accumulator int32, shift, phase) -> the weights' move, int32."""


def by_dither(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """The semantics: a lattice over the weights, moved on with every step."""
    return ops.scaled_round(v, shift, phase)


def by_discarded_bits(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """Pseudo-stochastic: the lower half of the discarded bits rounds the upper half."""
    s = int(shift)
    half = s // 2
    size = v.abs().long()
    low = size % (1 << half)
    return (torch.sign(v) * ((size + (low << (s - half))) >> s)).int()


def by_chance(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """Stochastic with independent random numbers: what the dither stands in for."""
    r = torch.randint(1 << int(shift), v.shape, dtype=torch.int64)
    return (torch.sign(v) * ((v.abs().long() + r) >> int(shift))).int()


def to_nearest(v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
    """Halves away from zero."""
    half = (1 << int(shift)) >> 1
    return (torch.sign(v) * ((v.abs().long() + half) >> int(shift))).int()


class Weights8:
    """int8 weights, moved by a rounding; one byte a weight."""

    bytes_per_weight = 1

    def __init__(self, rounding: Rounding) -> None:
        self.rounding = rounding

    def __call__(
        self, plan: Plan, state: State, new: State, i: int, trace: Trace, e: Tensor
    ) -> None:
        """See `dfedge.compile.units.update`; biases are kept."""
        at = errors(state, i, plan.layers[i], trace, e, False)
        for j, conv in enumerate(plan.layers[i].convs):
            name = f"{conv_name(i, j)}.weight"
            v = ops.correlation(trace.inputs[j], at[j], conv.geometry)
            shift = state["weight_shift"][plan.number(i, j)]
            new[name] = self.moved(name, state[name], v, shift, state["phase"])

    def moved(self, name: str, w: Tensor, v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
        """The new weights."""
        return (w - self.rounding(v, shift, phase)).clamp(-127, 127).to(torch.int8)


class Weights16(Weights8):
    """int16 masters whose high byte, rounded, is the weight; two bytes a weight."""

    bytes_per_weight = 2

    def __init__(self) -> None:
        super().__init__(to_nearest)
        self.masters: dict[str, Tensor] = {}

    def moved(self, name: str, w: Tensor, v: Tensor, shift: Tensor, phase: Tensor) -> Tensor:
        """The masters take 256 times finer moves, rounded to nearest."""
        master = self.masters.get(name, w.int() * 256)
        move = self.rounding(v, (shift - 8).clamp(min=0), phase)
        self.masters[name] = (master - move).clamp(-127 * 256, 127 * 256)
        return ((self.masters[name] + 128) >> 8).to(torch.int8)


VARIANTS: dict[str, Callable[[], Weights8]] = {
    "int8, dither": lambda: Weights8(by_dither),
    "int8, discarded bits": lambda: Weights8(by_discarded_bits),
    "int8, random numbers": lambda: Weights8(by_chance),
    "int8, nearest": lambda: Weights8(to_nearest),
    "int16 masters, nearest": Weights16,
}


def go(run: Run, variant: str, constant: bool) -> dict[int, float]:
    """Accuracy on the turned test images at each of `LOOKS`."""
    plan, state = lowered(run)
    torch.manual_seed(0)
    move = VARIANTS[variant]()
    stream, test = (
        load_split("digits", None, run.plan.input, run.plan.classes, (name,), SHIFT)[1]
        for name in ("stream", "test")
    )
    x, seen = torch.from_numpy(to_input(stream.x)), torch.from_numpy(to_input(test.x))
    y = torch.from_numpy(stream.y.astype(np.int32))
    if constant:
        state["pace"] = torch.zeros_like(state["pace"])
    found = {}
    for number in range(STEPS):
        index = torch.from_numpy(shuffled(len(x), 0, number * BATCH, BATCH))
        state, _, _ = step(plan, state, x[index], y[index], move)
        if number + 1 in LOOKS:
            answers = infer(plan, state, seen).argmax(1).numpy()
            found[number + 1] = float(np.mean(answers == test.y))
    return found


def main() -> None:
    torch.set_num_threads(1)
    runs = [train(TrainOptions(qat=True, seed=seed), OUT / f"run{seed}") for seed in SEEDS]
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for constant in (False, True):
        for variant, make in VARIANTS.items():
            name = f"{variant}, {'constant rate' if constant else 'paced'}"
            if name in rows:
                continue
            found = [go(run, variant, constant) for run in runs]
            looks = {
                steps: {
                    "mean": statistics.mean(one[steps] for one in found),
                    "worst": min(one[steps] for one in found),
                }
                for steps in LOOKS
            }
            rows[name] = {"bytes_per_weight": make().bytes_per_weight, "accuracy": looks}
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
            print(name, looks, flush=True)


if __name__ == "__main__":
    main()
