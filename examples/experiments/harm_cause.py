"""Why learning on the device did harm: how far one batch moves weights, and how far the function.

    python examples/experiments/harm_cause.py --data-dir .data

For nets of five kinds of data, layer by layer, with 16 misjudged samples and the rate that dfedge
had until the move of the function was measured (a weight moves by 0.16 units, root mean square, for
one misjudged sample; the shift at most 20):

    weights     how far the batch moves a weight, in units of its own root mean square
    features    how far it moves other samples' features, in units of the distance of two anchors
    coherent    that, over what sixteen times a single sample's move would be if all pushed one way
    stayed      fraction of weights at an end of their range after 100 such steps

Then accuracy on held-out samples after 2, 20, 100 and 400 steps on the net's own training data at
batch 16, without replay and guard: at those rates and the pace of then, which follows the error
itself; at the measured rates with that pace; and at the measured rates with the pace that follows
what the error exceeds the usual one by.  `violate` is the fraction of own training samples that
violate a layer's margin.  Writes results/harm_cause.json.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import commit
from harm_data import parts
from numpy.typing import NDArray

from dfedge.compile.rates import _inputs, _rms, _told, _unit, anchor_shift
from dfedge.compile.step import train as step
from dfedge.compile.units import errors
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.order import shuffled
from dfedge.exporters.write import lowered
from dfedge.int8 import ops
from dfedge.learn.train import TrainOptions, train
from dfedge.native.program import NativeProgram
from dfedge.native.table import make_table
from dfedge.plan import Plan

RESULTS = Path(__file__).parent / "results" / "harm_cause.json"
OUT = Path("out/harm/cause")
BLOCKS = {
    "digits": ((32, False), (64, True), (64, True)),
    "mnist": ((16, True), (32, True), (48, True)),
    "photos32": ((16, True), (32, True), (48, True)),
    "watch": ((16, True), (32, True), (48, False)),
    "segment": ((32, None), (32, None)),
}
EPOCHS = {"segment": 60, "digits": 20}
SHIFT = {"watch": "person:1", "segment": "columns:0"}
MOVE, LARGEST, ANCHORS = 0.16, 20, 7
MARKS = (2, 20, 100, 400)
State = dict[str, torch.Tensor]


def net_of(kind: str) -> str:
    """A net file: convolutions, or dense layers where the samples are vectors."""
    blocks = "".join(
        f"[[block]]\nchannels = {channels}\n"
        + ('kind = "linear"\n' if pool is None else f"pool = {str(pool).lower()}\n")
        for channels, pool in BLOCKS[kind]
    )
    cells = 1 if kind in ("watch", "segment") else 2
    epochs = EPOCHS.get(kind, 8)
    return f"anchors = {cells}\n[train]\nepochs = {epochs}\nqat_epochs = 2\n{blocks}"


def lower(kind: str, data_dir: Path) -> tuple[Plan, State, Split, Split]:
    """The integer step of a net, its own training data and held-out samples of the same kind."""
    data, folder = parts(kind, 0, SHIFT.get(kind, "rotate:30"), data_dir), OUT / kind
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data.npz", x=data.train.x, y=data.train.y)
    (folder / "net.toml").write_text(net_of(kind))
    options = TrainOptions(str(folder / "data.npz"), net=str(folder / "net.toml"), qat=True)
    plan, state = lowered(train(options, folder / "run"))
    return plan, state, data.train, data.held


def measured(plan: Plan, state: State, own: Split) -> list[dict[str, Any]]:
    """Each convolution's row at the rate of then."""
    index = shuffled(len(own), 0, 0, 32)
    x = torch.from_numpy(to_input(own.x[index]))
    y = torch.from_numpy(own.y[index].astype(np.int32))
    wrong = (y + 1) % int(state["live"].sum())
    watched = _inputs(plan, state, x[16:])
    pushes: dict[int, dict[int, torch.Tensor]] = {16: {}, 1: {}}
    ends: dict[int, Any] = {}

    def keep(size: int) -> Any:
        def move(plan: Plan, state: State, _: State, i: int, trace: Any, e: torch.Tensor) -> None:
            at = errors(state, i, plan.layers[i], trace, e, False)
            for j, conv in enumerate(plan.layers[i].convs):
                pushes[size][plan.number(i, j)] = ops.correlation(
                    trace.inputs[j], at[j], conv.geometry
                )
                ends[plan.number(i, j)] = (i, j)

        return move

    for size in (16, 1):
        step(plan, state, x[:size], wrong[:size], keep(size))
    rows = []
    for number, (i, j) in ends.items():
        name, layer = f"layer{i}.conv{j}.weight", plan.layers[i]
        one = max(_rms(pushes[1][number].double()), 1.0)
        wanted = round(math.log2(max(one / MOVE, 1.0)))
        shift = min(wanted, LARGEST)
        before = _told(plan, state, i, watched[i])
        moves = {}
        for size in (16, 1):
            moved = state[name] - ops.scaled_round(
                pushes[size][number], torch.tensor(shift), state["phase"]
            )
            new = moved.clamp(-127, 127).to(torch.int8)
            told = _told(plan, state | {name: new}, i, watched[i])
            moves[size] = _rms(told - before) / _unit(layer, before)
            if size == 16:
                weights = _rms((new - state[name].int()).double()) / _rms(state[name].double())
        rows.append(
            {
                "layer": name.removesuffix(".weight"),
                "shift_of_then": shift,
                "shift_wanted_then": wanted,
                "shift_measured": int(state["weight_shift"][number]),
                "weights": round(weights, 4),
                "features": round(moves[16], 3),
                "coherent": round(moves[16] / max(16 * moves[1], 1e-9), 2),
            }
        )
    return rows


def followed(
    plan: Plan, state: dict[str, NDArray[Any]], own: Split, held: Split
) -> Iterator[tuple[int, float, NativeProgram]]:
    """Steps of batch 16 on own data, and the held-out accuracy after some."""
    program = NativeProgram(plan, make_table(plan, state, {}))
    program.write(state)

    def accuracy() -> float:
        scores = [program.infer(to_input(held.x[i : i + 100])) for i in range(0, len(held), 100)]
        return float((np.concatenate(scores).argmax(1) == held.y).mean())

    yield 0, accuracy(), program
    for number in range(MARKS[-1]):
        index = shuffled(len(own), 0, number * 16, 16)
        program.train(to_input(own.x[index]), own.y[index].astype(np.int32))
        if number + 1 in MARKS:
            yield number + 1, accuracy(), program


def curves(plan: Plan, state: State, own: Split, held: Split, rows: list[Any]) -> dict[str, Any]:
    """Accuracy on the way in the three ways, the weights at an end of their range, violations."""
    then = state | {
        "weight_shift": torch.tensor([r["shift_of_then"] for r in rows], dtype=torch.int8),
        "anchor_shift": torch.full_like(state["anchor_shift"], ANCHORS),
    }
    anchors = torch.full_like(state["anchor_shift"], anchor_shift(16, int(state["live"].sum())))
    now, found = state | {"anchor_shift": anchors}, {}
    first = None
    for name, start in (("then", then), ("measured", now), ("both", now)):
        if name == "both":
            wrong = round((1 - (first or 0.0)) * (1 << 16))
            wrong = torch.tensor(wrong, dtype=torch.int32)
            start = start | {"error": wrong, "usual_error": wrong}
        seen = {}
        for number, accuracy, program in followed(
            plan, {n: v.numpy() for n, v in start.items()}, own, held
        ):
            first = accuracy if first is None else first
            seen[str(number)] = round(accuracy, 4)
            if name == "then" and number == 100:
                after = program.read()
                for row in rows:
                    w = after[f"{row['layer']}.weight"]
                    row["stayed"] = round(float((np.abs(w) == 127).mean()), 4)
        found[name] = seen
    program = NativeProgram(plan, make_table(plan, {n: v.numpy() for n, v in state.items()}, {}))
    program.write({n: v.numpy() for n, v in state.items()})
    _, active = program.train(to_input(own.x[:128]), own.y[:128].astype(np.int32))
    return {"accuracy": found, "violate": [round(int(a) / min(128, len(own)), 3) for a in active]}


def main(data_dir: Annotated[Path, typer.Option()] = Path(".data")) -> None:
    torch.set_num_threads(1)
    result: dict[str, Any] = {"commit": commit(), "kinds": {}}
    for kind in BLOCKS:
        plan, state, own, held = lower(kind, data_dir)
        rows = measured(plan, state, own)
        result["kinds"][kind] = {"layers": rows, **curves(plan, state, own, held, rows)}
        print(kind, json.dumps(result["kinds"][kind], indent=1), flush=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
