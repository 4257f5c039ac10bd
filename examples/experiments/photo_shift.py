"""A shift of photos learned by a pretrained net, beside back-propagation of the same part.

    export PYTHONPATH=MODELS/efficientnet_lite_pytorch:examples/experiments
    OMP_NUM_THREADS=1 python examples/experiments/photo_shift.py MODELS DATA

EfficientNet-Lite0 with its ImageNet weights, at 128 x 128 (MODELS and DATA as in pretrained.py),
is adopted on photos of Imagenette's ten classes, with its head or its last two blocks learning.
Then the camera is out of focus, sees another light, or is turned.  500 labelled photos of the shift
are shown three times in batches of 16: to the exported program with the product's defaults, which
replay as many again of what was known, and with `replace`; and to the same part of the float net
by SGD with momentum, from the same weights, without replay.  SGD's rate is the best of five on a
tenth of these photos that it is not shown for that.  Photos of the validation split judge, 50 a
class, as they are and shifted.  Three seeds draw the photos and their order.  Writes
results/photo_shift.json, row by row; a row that is there is not made again.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from dated import dated
from harm import QUIET, job_of, open_session
from pretrained import MEAN, STD
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.blocks import last_blocks, tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph, ForeignNode
from dfedge.adoption.halves import choice
from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import normalised
from dfedge.adoption.observe import real, results
from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.inputs.image import ImageRule
from dfedge.data.shift import parse_shift
from dfedge.data.sources import load
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.exporters.write import ExportOptions, export

RESULTS, WORK = Path(__file__).parent / "results" / "photo_shift.json", Path("out/photo_shift")
SIDE, BATCH, PASSES, SEEDS = 128, 16, 3, 3
OWN, NEW, JUDGED = 60, 50, 50
"""Photos of each class: to adopt with, to learn, to judge by."""
SHIFTS = {"blur": "blur:3", "colour cast": "cast:0.3:0.8:1.6", "turned": "rotate:60"}
LEARN = ("head", "last:2")
CARES = {"default": Care(), "replace": Care(replace=True)}
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
MOMENTUM = 0.9
Row = dict[str, Any]


def drawn(split: Split, seed: int, first: int, count: int) -> Split:
    """Some photos of each class, at the net's size."""
    r = np.random.default_rng(seed)
    orders = [r.permutation(np.flatnonzero(split.y == k)) for k in range(10)]
    few = split.take(np.concatenate([order[first : first + count] for order in orders]))
    return Split(ImageRule(SIDE, SIDE, 3).apply(few.x, "imagenette-64"), few.y)


def moved(split: Split, name: str) -> Split:
    return Split(parse_shift(SHIFTS[name], ImageRule(SIDE, SIDE, 3))(split.x), split.y)


# -- the device ----------------------------------------------------------------------------------


def exported(own: Split, learn: str, seed: int) -> Bundle:
    """The net as a C program that learns."""
    folder = WORK / f"{learn.replace(':', '')}-{seed}"
    if not (folder / "bundle").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        np.savez(folder / "own.npz", x=own.x, y=own.y, classes=np.array(list("0123456789")))
        options = AdoptOptions("pretrained:net", str(folder / "own.npz"), learn=learn, mean=MEAN,
                               std=STD, seed=seed)  # fmt: skip
        export(adopt(options, folder / "run").run, ExportOptions(("c",), batch=BATCH),
               folder / "bundle")  # fmt: skip
    return Bundle.open(folder / "bundle")


def on_device(bundle: Bundle, new: Split, exams: list[Split], seed: int) -> Row:
    """Accuracies on the exams before and after, under each care."""
    found: Row = {}
    for name, care in CARES.items():
        session = open_session(bundle, WORK / "state", care)
        if "before" not in found:
            found["before"] = [evaluate(session, exam).accuracy for exam in exams]
        shown = PASSES * len(new) * (2 if care.replays else 1)
        finetune(session, new, job_of(BATCH, shown, seed), saving=QUIET)
        found[name] = [evaluate(session, exam).accuracy for exam in exams]
    return found


# -- back-propagation ----------------------------------------------------------------------------


class Part(nn.Module):
    """What of a graph lies above an operation; its convolutions learn."""

    def __init__(self, graph: ForeignGraph, start: int) -> None:
        super().__init__()
        self.start, self.nodes = start, graph.nodes[start + 1 :]
        convs = [node for node in self.nodes if node.op == "conv"]
        self.weights = nn.ParameterList(node.weight.detach().clone() for node in convs)
        self.biases = nn.ParameterList(node.bias.detach().clone() for node in convs)

    def forward(self, z: Tensor) -> Tensor:
        """Float [B, C, H, W] of that operation -> scores [B, 10]."""
        values, convs = {self.start: z}, zip(self.weights, self.biases, strict=True)
        for i, node in enumerate(self.nodes, self.start + 1):
            if node.op == "conv":
                weight, bias = next(convs)
                node = ForeignNode(**(vars(node) | {"weight": weight, "bias": bias}))
            values[i] = node.run([values[read] for read in node.reads])
        return values[i].flatten(1)


class Rival:
    """The float net, and where each choice cuts it."""

    def __init__(self) -> None:
        net = open_model("pretrained:net").graph((SIDE, SIDE, 3))
        self.graph = fold(normalised(net, MEAN, STD))
        tail = tail_of(self.graph)
        self.cuts = {}
        for learn in LEARN:
            blocks = choice(learn)[0]
            self.cuts[learn] = (
                last_blocks(self.graph, tail, blocks)[0].reads if blocks else tail.features
            )

    def seen(self, split: Split) -> dict[int, Tensor]:
        """What comes to each cut, float."""
        return results(
            self.graph, set(self.cuts.values()), real(torch.from_numpy(to_input(split.x)))
        )

    def taught(self, learn: str, z: Tensor, y: Tensor, rate: float, seed: int) -> Part:
        """After all passes."""
        torch.manual_seed(seed)
        part = Part(self.graph, self.cuts[learn])
        optimiser = torch.optim.SGD(part.parameters(), rate, MOMENTUM)
        for _ in range(PASSES):
            for index in torch.randperm(len(y)).split(BATCH):
                loss = F.cross_entropy(part(z[index]), y[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return part


@torch.no_grad()
def right(part: Part, z: Tensor, y: Tensor) -> float:
    return float((part(z).argmax(1) == y).float().mean())


def by_descent(
    rival: Rival, learn: str, z: Tensor, y: Tensor, exams: list[tuple[Tensor, Tensor]], seed: int
) -> Row:
    """Accuracies on the exams before, and after at the rate that a tenth of the photos chose."""
    order = np.random.default_rng(seed).permutation(len(y))
    kept, shown = order[: len(y) // 10], order[len(y) // 10 :]
    tried = {
        rate: right(rival.taught(learn, z[shown], y[shown], rate, seed), z[kept], y[kept])
        for rate in RATES
    }
    rate = max(tried, key=lambda one: tried[one])
    start = Part(rival.graph, rival.cuts[learn])
    part = rival.taught(learn, z, y, rate, seed)
    return {"bp_before": [right(start, *exam) for exam in exams],
            "bp": [right(part, *exam) for exam in exams], "rate": rate}  # fmt: skip


# -- all of it -----------------------------------------------------------------------------------


def means(rows: dict[str, Row]) -> dict[str, Row]:
    """Over seeds, in %: on the shifted photos and on the originals, with the least and the most."""
    found: dict[str, Row] = {}
    for shift in SHIFTS:
        for learn in LEARN:
            own = [row for row in rows.values() if (row["shift"], row["learn"]) == (shift, learn)]
            ways = ("before", *CARES, "bp_before", "bp")
            found[f"{shift}, {learn}"] = {
                way: [round(100 * mean(row[way][i] for row in own), 1) for i in (0, 1)]
                for way in ways if own
            } | {"seeds": len(own)}  # fmt: skip
    return found


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    splits = load("imagenette-64", Path(sys.argv[2])).splits
    rival, exam = Rival(), drawn(splits["test"], 0, 0, JUDGED)
    original = rival.seen(exam)
    for seed in range(SEEDS):
        own = drawn(splits["train"], seed, 0, OWN)
        new = drawn(splits["train"], seed, OWN, NEW)
        for shift in SHIFTS:
            wanted = [learn for learn in LEARN if f"{shift}, {learn}, seed {seed}" not in rows]
            if not wanted:
                continue
            lesson, test = moved(new, shift), moved(exam, shift)
            lessons, tests = rival.seen(lesson), rival.seen(test)
            y, labels = torch.from_numpy(new.y), torch.from_numpy(exam.y)
            for learn in wanted:
                start, cut = time.process_time(), rival.cuts[learn]
                row = {"shift": shift, "learn": learn, "seed": seed}
                row |= on_device(exported(own, learn, seed), lesson, [test, exam], seed)
                given = [(tests[cut], labels), (original[cut], labels)]
                row |= by_descent(rival, learn, lessons[cut], y, given, seed)
                row["cpu_s"] = round(time.process_time() - start)
                rows[f"{shift}, {learn}, seed {seed}"] = row
                print(row, flush=True)
                kept = {**dated(), "shifts": SHIFTS, "means": means(rows), "rows": rows}
                RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    for name, found in means(rows).items():
        print(name, found)


if __name__ == "__main__":
    main()
