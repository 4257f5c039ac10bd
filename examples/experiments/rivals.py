"""Rivals that are run: float back-propagation, int8 (NITI), sparse (MCUNetV3), the head alone.

    OMP_NUM_THREADS=1 python examples/experiments/rivals.py --data-dir .data

Two shifts: digits turned by 90 degrees, and a watch on a person whom the net does not know.  Every
way begins at the same trained net; the rivals' linear head is its last layer's anchors, written as
weights, which gives the same answers.  Every way sees the same samples in the same order, 2,000
presentations.  A rival's rate (NITI: bits of an update; sparse: which tensors) is the best on half
of the training samples, judged on the other half; dfedge's are its defaults.  Three orders.

- ``dfedge``: the exported program's step alone, batch 16 and batch 1; and as ``finetune`` does it.
- ``back-propagation``: float32 SGD, and with a momentum of 0.9 (state twice).  Accumulated one by
  one, or with checkpoints, it is the same function: only bytes and time differ.
- ``int8, as NITI``: `niti.py`, emulated: not timed.
- ``sparse, as MCUNetV3``: biases of some layers and weights of the last ones.  Computed in float,
  its bytes are those of an int8 program that keeps only what it needs: both favour it.
- ``head alone``: float32 on pooled features.

Bytes of a step: dfedge's are what the C interpreter asks for, float back-propagation's the smaller
of two plans (`dfedge.profile.rivals`), int8's and sparse's are computed here; plain-64 at depth 10
and 40 beside them.  Milliseconds are of the processor for 16 samples, all ways in turns in one
process.  Writes results/rivals.json.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from continual_nets import spread
from dated import dated
from niti import IntegerNet
from rivals_bytes import Sparse, bytes_of, schemes
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dfedge.bench.rival import FloatNet
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.picture_shifts import rotate
from dfedge.data.reading import Reading
from dfedge.data.sources import load
from dfedge.data.streams import StreamSource, parse_stream
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.profile.untrained import plan_of

RESULTS, OUT = Path(__file__).parent / "results" / "rivals.json", Path("out/rivals")
PRESENTED, BATCH, SEEDS, TURNS = 2000, 16, (0, 1, 2), 30
RATES, MOMENTUM = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), 0.9
BITS = (-2, -1, 0, 1, 2, 3, 4)
PERSON = "person:3"
NETS: dict[Path, FloatNet] = {}
Pair = tuple[Tensor, Tensor]
"""Codes int8 [N, C, H, W] and labels int64 [N]."""


@dataclass(frozen=True)
class Task:
    """A trained net, what it learns, what judges it, and what it knew: training and test."""

    run: Run
    bundle: Bundle
    new: Split
    test: Split
    past: Split
    known: Split


def run_of(name: str, options: TrainOptions) -> tuple[Run, Bundle]:
    """A trained net and its bundle, made once."""
    folder, made = OUT / name, OUT / f"{name}-bundle"
    run = Run.open(folder) if folder.exists() else train(options, folder)
    how = ExportOptions(("c",), batch=BATCH)
    return run, Bundle.open(made) if made.exists() else export(run, how, made)


def digits(data_dir: Path | None) -> Task:
    """Turned by 90 degrees."""
    run, bundle = run_of("digits", TrainOptions("digits", data_dir, qat=True))
    data = load("digits").splits
    few, test = data["train"].take(np.arange(1000)), data["test"]
    return Task(run, bundle, Split(rotate(few.x, 90), few.y), Split(rotate(test.x, 90), test.y),
                few, test)  # fmt: skip


def watch(data_dir: Path | None) -> Task:
    """A person who was left out of training."""
    reading = Reading(leave_out=PERSON)
    run, bundle = run_of("watch", TrainOptions("watch", data_dir, qat=True, reading=reading))
    plan = run.plan
    source = StreamSource("watch", data_dir, plan.input, reading, plan.cut)
    stream = parse_stream("new-user").make(source, 0)
    (only,) = stream.experiences
    assert stream.past is not None and stream.known is not None
    return Task(run, bundle, only.train, only.test, stream.past, stream.known)


TASKS: dict[str, Callable[[Path | None], Task]] = {
    "digits turned by 90 degrees": digits,
    "watch, an unknown person": watch,
}


def codes(split: Split) -> Pair:
    return torch.from_numpy(to_input(split.x)).permute(0, 3, 1, 2), torch.from_numpy(split.y)


def float_net(task: Task) -> FloatNet:
    """A copy of `_float_net`."""
    if task.run.folder not in NETS:
        NETS[task.run.folder] = _float_net(task)
    return deepcopy(NETS[task.run.folder])


@torch.no_grad()
def _float_net(task: Task) -> FloatNet:
    """The run's net with folded normalisation; its anchors as a linear head, as sharp as fits."""
    plan, given = task.bundle.manifest.plan, task.run.load_net().eval()
    net = FloatNet(plan)
    for layer, unit in zip(net.layers, given.units, strict=True):
        weight, bias = unit.conv(0).folded()
        layer.convs[0].inner.weight.copy_(weight)
        layer.convs[0].inner.bias.copy_(bias)
    channels = plan.layers[-1].ends.channels
    anchors = given.one_pass.anchors[-1].detach()
    anchors = anchors.reshape(len(anchors), -1, channels).transpose(1, 2).flatten(1)
    x, y = codes(task.past)
    p = torch.cat([features(net, part.float() / 128) for part in x[:1000].split(100)])
    scores = 2 * p @ anchors.T - anchors.square().sum(1)
    losses = {s: float(F.cross_entropy(scores * 2.0**s, y[:1000])) for s in range(-8, 9)}
    sharp = 2.0 ** min(losses, key=lambda s: losses[s])
    net.head.weight.copy_(2 * sharp * anchors)
    net.head.bias.copy_(-sharp * anchors.square().sum(1))
    return net


def features(net: FloatNet, x: Tensor) -> Tensor:
    """What the head receives: float [B, C, H, W] -> [B, features]."""
    for layer in net.layers:
        x = layer(x)
    return x.flatten(1)


def order_of(count: int, seed: int) -> Tensor:
    """The presentations: numbers of samples, each pass in an order of its own."""
    rng = np.random.default_rng(seed)
    passes = [rng.permutation(count) for _ in range(-(-PRESENTED // count))]
    return torch.from_numpy(np.concatenate(passes)[:PRESENTED])


@torch.no_grad()
def accuracy(net: Callable[[Tensor], Tensor], split: Split) -> float:
    x, y = codes(split)
    right = [net(part.float() / 128).argmax(1) == own
             for part, own in zip(x.split(200), y.split(200), strict=True)]  # fmt: skip
    return float(torch.cat(right).float().mean())


Result = tuple[float, float]
"""Accuracy on what is new, and on what was known."""


def propagated(task: Task, new: Split, judged: Split, seed: int, rate: float,
               moving: Sparse | None = None, momentum: float = 0.0) -> Result:  # fmt: skip
    """Float SGD of all, or of some tensors."""
    net = float_net(task)
    wanted = moving.names(net) if moving else {name for name, _ in net.named_parameters()}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in wanted)
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], rate, momentum)
    x, y = codes(new)
    for at in order_of(len(y), seed).split(BATCH):
        loss = F.cross_entropy(net(x[at].float() / 128), y[at])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return accuracy(net, judged), accuracy(net, task.known)


def integers(task: Task, new: Split, judged: Split, seed: int, bits: int) -> Result:
    """NITI."""
    net = IntegerNet(float_net(task), seed)
    x, y = codes(new)
    for at in order_of(len(y), seed).split(BATCH):
        net.step(x[at], y[at], bits)

    def logits(given: Tensor) -> Tensor:
        return net.forward((given * 128).round())[0]

    return accuracy(logits, judged), accuracy(logits, task.known)


def device(task: Task, new: Split, judged: Split, seed: int, how: str) -> Result:
    """The exported program."""
    if how == "finetune":
        state = OUT / "state"
        shutil.rmtree(state, ignore_errors=True)
        session = Session.open(task.bundle, "native", state, initial=True, care=Care())
        finetune(session, new, FinetuneJob("new", "train", "", seed, BATCH, PRESENTED),
                 saving=Saving(0))  # fmt: skip
    else:
        size = int(how)
        session = Session.open(task.bundle, "native", initial=True, read_only=True, care=NO_CARE)
        for at in order_of(len(new), seed).split(size):
            session.learn_batch(new.x[at.numpy()], new.y[at.numpy()])
    return evaluate(session, judged).accuracy, evaluate(session, task.known).accuracy


def ways(task: Task) -> dict[str, tuple[Callable[..., Result], list[dict[str, Any]]]]:
    """Each way, and its choices."""
    at_rates = [{"rate": rate} for rate in RATES]
    head, *others = schemes(task.bundle.manifest.plan)
    return {
        "dfedge, batch 16": (device, [{"how": "16"}]),
        "dfedge, batch 1": (device, [{"how": "1"}]),
        "dfedge, finetune": (device, [{"how": "finetune"}]),
        "back-propagation": (propagated, at_rates),
        "back-propagation, momentum": (propagated, [{**how, "momentum": MOMENTUM}
                                                    for how in at_rates]),
        "int8, as NITI": (integers, [{"bits": bits} for bits in BITS]),
        "sparse, as MCUNetV3": (propagated, [{**how, "moving": one} for one in others
                                             for how in at_rates]),
        "head alone": (propagated, [{**how, "moving": head} for how in at_rates]),
    }  # fmt: skip


def measured(task: Task, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Accuracy of every way, its choice made on halves of the training samples."""
    at = np.arange(len(task.new))
    half, other = task.new.take(at[::2]), task.new.take(at[1::2])
    before = Session.open(task.bundle, "native", initial=True, read_only=True)
    rows: dict[str, Any] = {
        "before": [evaluate(before, s).accuracy for s in (task.test, task.known)],
        "float before": [accuracy(float_net(task), s) for s in (task.test, task.known)],
    }
    for name, (way, choices) in ways(task).items():
        tried = [way(task, half, other, 99, **how)[0] for how in choices]
        how = choices[int(np.argmax(tried))]
        found = [way(task, task.new, task.test, seed, **how) for seed in seeds]
        new, known = map(list, zip(*found, strict=True))
        rows[name] = {"chosen": {k: str(v) for k, v in how.items()}, "new": spread(new),
                      "known": spread(known)}  # fmt: skip
        print(name, rows[name], flush=True)
    moving = ways(task)["sparse, as MCUNetV3"][1]
    rows["bytes"] = bytes_of(task.bundle.manifest.plan, next(
        how["moving"] for how in moving
        if str(how["moving"]) == rows["sparse, as MCUNetV3"]["chosen"]["moving"]))  # fmt: skip
    return rows


def timed(task: Task) -> dict[str, float]:
    """Processor milliseconds for 16 samples, the median of turns."""
    x, y = codes(task.new)
    x, y = x[:BATCH].float() / 128, y[:BATCH]
    given = task.new.take(np.arange(BATCH))
    session = Session.open(task.bundle, "native", initial=True, read_only=True, care=NO_CARE)
    q = session.input(given.x)
    head, *others = schemes(task.bundle.manifest.plan)

    def stepper(moving: Sparse | None, size: int, kept: bool = False) -> Callable[[], None]:
        net = float_net(task)
        wanted = moving.names(net) if moving else {name for name, _ in net.named_parameters()}
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name in wanted)
        optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.001)
        stretches = round(math.sqrt(len(net.layers)))
        step = -(-len(net.layers) // stretches)

        def forward(part: Tensor) -> Tensor:
            if not kept:
                return net(part)
            for i in range(0, len(net.layers), step):
                end = min(i + step, len(net.layers))
                part = checkpoint(net, part, i, end, use_reentrant=False)
            return part

        def run() -> None:
            optimiser.zero_grad()
            for part, own in zip(x.split(size), y.split(size), strict=True):
                (F.cross_entropy(forward(part), own) * len(own) / BATCH).backward()
            optimiser.step()

        return run

    def ours(size: int) -> Callable[[], None]:
        def run() -> None:
            for i in range(0, BATCH, size):
                session.learn_input(q[i : i + size], given.y[i : i + size])

        return run

    turns = {
        "dfedge, batch 16": ours(BATCH), "dfedge, batch 1": ours(1),
        "back-propagation": stepper(None, BATCH),
        "back-propagation, accumulated one by one": stepper(None, 1),
        "back-propagation, checkpoints": stepper(None, BATCH, True),
        "sparse, as MCUNetV3": stepper(others[-1], BATCH), "head alone": stepper(head, BATCH),
    }  # fmt: skip
    spent: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(TURNS):
        for name, run in turns.items():
            start = time.process_time()
            run()
            spent[name].append(time.process_time() - start)
    return {name: 1000 * median(found[3:]) for name, found in spent.items()}


def main(
    data_dir: Annotated[Path | None, typer.Option()] = None,
    small: Annotated[bool, typer.Option(help="Digits, one seed.")] = False,
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for name, made in list(TASKS.items())[: 1 if small else None]:
        task = made(data_dir)
        rows[name] = measured(task, SEEDS[:1] if small else SEEDS) | {"ms": timed(task)}
        print(name, json.dumps(rows[name]["bytes"]), rows[name]["ms"], flush=True)
    for depth in () if small else (10, 40):
        plan = plan_of("plain-64", "3x32x32", 10, depth, "df")
        rows[f"plain-64, depth {depth}"] = {"bytes": bytes_of(plan, schemes(plan)[-1])}
        print(rows[f"plain-64, depth {depth}"], flush=True)
    path = OUT / "small.json" if small else RESULTS
    path.write_text(json.dumps({**dated(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
