"""Two foreign nets adopted: int8 against float, the same bits, and a shift learned on the device.

    python examples/experiments/adopt_nets.py resnet8 --minutes 20        # trains it, by bp
    python examples/experiments/adopt.py resnet8 frozen                   # float, int8, each dB
    python examples/experiments/adopt.py resnet8 verify                   # bits, arena and state
    python examples/experiments/adopt.py resnet8 shift                    # 1,000 labelled samples
    python examples/experiments/adopt.py resnet8 table                    # of that, for the docs
    python examples/experiments/adopt.py resnet8 class                    # 10 samples of a new one
    python examples/experiments/adopt.py resnet8 memory                   # arena and state

The same for mobilenet_v2.  A shift is learned from 1,000 labelled samples, 5,000 presentations in
batches of 16: by dfedge's integer step, by default and with `--replace` (in the C interpreter;
every runtime computes the same bytes: `verify`), and by AdamW in float PyTorch on the same part of
the net, at the better of the rates tried, judged on the very test samples: the comparison leans to
back-propagation.  Results: results/adopt.json.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from adopt_nets import MobileNetV2, ResNet8
from filelock import FileLock
from msgspec.structs import replace
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bundle import Bundle
from dfedge.compile.blank import blank
from dfedge.continual.new_class import learn_class
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.picture_shifts import rotate
from dfedge.data.sources import load
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate, recognised
from dfedge.device.finetune import finetune
from dfedge.device.replay import check_golden
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.exporters import planned
from dfedge.exporters.fit import sized
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.program import Method
from dfedge.exporters.write import export
from dfedge.int8.stock.tiled import FLOORS
from dfedge.learn.run import Run
from dfedge.plan import Plan
from dfedge.runtimes import NATIVE

RESULTS, OUT = Path(__file__).parent / "results/adopt.json", Path("out/adopt")
SAMPLES, PASSES, BATCH, TEST = 1000, 5, 16, 1000
CHOICES = {
    "resnet8": ("head", "last:1", "all"),
    "mobilenet_v2": ("head", "last:1", "last:3", "all"),
}
NETS = {"resnet8": ResNet8, "mobilenet_v2": MobileNetV2}
FORMATS = ("onnx", "litert", "executorch")
CARES = {"dfedge": Care(), "replace": Care(replace=True)}
"""By default, and `finetune --replace`, which keeps what is new before what is known."""
RATES = (1e-3, 3e-3)
CLASSES_ADDED = 10
WAYS = {"lost 3": (3, 0), "lost 10": (10, 0), "lost 100": (100, 0), "lost 3, 16 steps": (3, 16)}
"""Of 100 known samples, how many may fall to the new class; then steps of training."""


def keep(net: str, part: str, value: object) -> None:
    with FileLock(OUT / "results.lock"):
        _keep(net, part, value)


def _keep(net: str, part: str, value: object) -> None:
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found.setdefault(net, {})[part] = value
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(net, part, json.dumps(value)[:2000])


def adopted(net: str, learn: str, test: int = TEST) -> Run:
    folder = OUT / f"{net}-{learn.replace(':', '')}"
    if folder.exists():
        return Run.open(folder)
    model = f"examples.experiments.adopt_nets:{net}"
    return adopt(AdoptOptions(model, "cifar10", learn=learn, test_samples=test), folder).run


def frozen(net: str, test: int) -> None:
    folder = OUT / f"{net}-frozen"
    shutil.rmtree(folder, ignore_errors=True)
    model = f"examples.experiments.adopt_nets:{net}"
    found = adopt(AdoptOptions(model, "cifar10", test_samples=test), folder)
    keep(net, "frozen", {
        "test_samples": test, "float": found.float_accuracy, "int8": found.accuracy,
        "counted": found.counted, "dB": {f"{one.name} {one.op}": round(one.snr, 1)
                                         for one in found.losses},
    })  # fmt: skip


def verified(net: str, learn: str, formats: tuple[str, ...]) -> None:
    """Batch 1 and 16 of training in three runtimes: the golden batches, every byte."""
    run, folder = adopted(net, learn), OUT / f"{net}-{learn.replace(':', '')}-bundle"
    bundle = export(run, ExportOptions(formats, batch=1, spare_classes=2), folder,
                    lambda *said: print(*said, flush=True))  # fmt: skip
    keep(net, f"verify {learn}", {
        name: {
            "steps": check_golden(bundle, name),
            **{method: {"arena": plan.arena_bytes, "state": plan.state_bytes}
               for method, plan in record.memory.items()},
        }
        for name, record in bundle.manifest.formats.items()
    } | {"trunk constants": sum(v.nbytes for v in bundle.constants().values())})  # fmt: skip


def cast(x: np.ndarray) -> np.ndarray:
    """A camera of another colour, and noise."""
    noise = np.random.default_rng(5).normal(0, 12, x.shape)
    tinted = x * np.array([1.15, 0.8, 0.5]) + np.array([20, 0, 25]) + noise
    return np.clip(tinted, 0, 255).astype(np.uint8)


def blur(x: np.ndarray) -> np.ndarray:
    """A binomial kernel of five, both ways."""
    kernel = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    planes = torch.from_numpy(x).permute(0, 3, 1, 2).float().reshape(-1, 1, *x.shape[1:3])
    planes = F.pad(planes, (2, 2, 2, 2), mode="replicate")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))
    return planes.round().to(torch.uint8).reshape(-1, 3, *x.shape[1:3]).permute(0, 2, 3, 1).numpy()


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cast and noise": cast, "blur": blur, "rotate 30": lambda x: rotate(x, 30),
}  # fmt: skip


def halves(net: nn.Module, name: str, learn: str) -> tuple[nn.Module, nn.Module]:
    """What is frozen and what learns, of the same part as dfedge's."""
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if name == "resnet8":
        stem, blocks, top = nn.Sequential(net.conv, net.bn, nn.ReLU()), list(net.blocks), net.fc
        cut = {"head": 3, "last:1": 2, "all": 0}[learn]
        low = [stem, *blocks[:cut]] if learn != "all" else []
        high = blocks[cut:] if learn != "all" else [stem, *blocks]
    else:
        layers, top = list(net.features), net.classifier[1]
        cut = {"head": 0, "last:1": 3, "last:3": 4, "all": len(layers)}[learn]
        low, high = layers[: len(layers) - cut], layers[len(layers) - cut :]
    if learn == "head":
        return nn.Sequential(*low, *high, *end).eval(), top
    return nn.Sequential(*low).eval(), nn.Sequential(*high, *end, top)


def back_propagation(
    name: str, learn: str, x: Tensor, y: Tensor, tests: dict[str, tuple[Tensor, Tensor]],
    rate: float, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Accuracy on every test."""
    torch.manual_seed(seed)
    whole = NETS[name]()
    whole.load_state_dict(torch.load(OUT / f"{name}.pt", weights_only=True))
    low, high = halves(whole, name, learn)
    with torch.no_grad():
        z = torch.cat([low(part) for part in x.split(250)])
    optimiser = torch.optim.AdamW(high.parameters(), rate)
    high.train()
    for _ in range(PASSES):
        order = torch.randperm(len(y))
        for i in range(0, len(y), BATCH):
            index = order[i : i + BATCH]
            if len(index) < 2:
                continue
            loss = F.cross_entropy(high(z[index]), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    high.eval()
    with torch.no_grad():
        return {
            test: float((high(low(tx)).argmax(1) == ty).float().mean())
            for test, (tx, ty) in tests.items()
        } | {"rate": rate}


def local(
    net: str, learn: str, images: np.ndarray, y: np.ndarray,
    tests: dict[str, tuple[np.ndarray, np.ndarray]], seed: int, care: Care,
) -> dict[str, float]:  # fmt: skip
    """dfedge's integer step, in the interpreter: what every runtime computes, byte for byte."""
    run, folder = adopted(net, learn), OUT / f"{net}-{learn.replace(':', '')}-c"
    if not folder.exists():
        export(run, ExportOptions(("c",), batch=BATCH), folder)
    session = Session.open(Bundle.open(folder), NATIVE, OUT / "state", initial=True, care=care)

    def accuracies() -> dict[str, float]:
        return {name: evaluate(session, Split(x, y)).accuracy for name, (x, y) in tests.items()}

    before = accuracies()
    job = FinetuneJob("adopt", "train", "", seed, BATCH, PASSES * len(y))
    finetune(session, Split(images, y), job, saving=Saving(steps=0))
    return {f"{name} before": value for name, value in before.items()} | accuracies()


def shifted(net: str, seeds: int, wanted: list[str], choices: list[str]) -> None:
    data = load("cifar10").splits
    order = np.random.default_rng(0).permutation(len(data["train"]))[:SAMPLES]
    train, test = data["train"].take(order), data["test"].take(np.arange(TEST))
    for name in wanted or list(SHIFTS):
        move = SHIFTS[name]
        moved = move(train.x)
        tests = {"shifted": (move(test.x), test.y), "original": (test.x, test.y)}
        real = {k: (_real(tx), torch.from_numpy(ty)) for k, (tx, ty) in tests.items()}
        for learn in choices or CHOICES[net]:
            start = time.process_time()
            ours = {way: [local(net, learn, moved, train.y, tests, seed, care)
                          for seed in range(seeds)] for way, care in CARES.items()}  # fmt: skip
            middle = time.process_time()
            given = _real(moved), torch.from_numpy(train.y), real
            tried = [[back_propagation(net, learn, *given, rate, seed) for seed in range(seeds)]
                     for rate in RATES]  # fmt: skip
            bp = max(tried, key=lambda rows: mean(row["shifted"] for row in rows))
            keep(net, f"{name}, {learn}", {
                **ours, "bp": bp,
                "cpu_seconds": [round(middle - start), round(time.process_time() - middle)],
            })  # fmt: skip


def table(net: str) -> None:
    """The rows of docs/models.md: means over the orders, % of the test images."""
    found = json.loads(RESULTS.read_text())[net]

    def of(rows: list[dict[str, float]], *what: str) -> list[float]:
        return [100 * mean(row[one] for row in rows) for one in what]

    for key in (f"{shift}, {learn}" for shift in SHIFTS for learn in CHOICES[net]):
        row = found[key]
        started = of(row["dfedge"], "shifted before", "original before")
        sides = [of(row[way], "shifted", "original") for way in (*CARES, "bp")]
        best = sides[-1][0] - max(side[0] for side in sides[:-1])
        cells = " | ".join(f"{new:.1f} ({old:.1f})" for new, old in (started, *sides))
        print(f"| {net}, {key.replace(', ', ' | ')} | {cells} | {best:+.1f} |")


def new_class(net: str) -> None:
    """Ten classes of CIFAR-100, one at a time, each from 10 samples; 100 test images of it."""
    run, folder = adopted(net, "head"), OUT / f"{net}-spare"
    if not folder.exists():
        export(run, ExportOptions(("c",), batch=BATCH, spare_classes=1), folder)
    bundle = Bundle.open(folder)
    known, other = load("cifar10").splits["test"].take(np.arange(2000)), load("cifar100")
    train, test = other.splits["train"], other.splits["test"]

    def opened() -> Session:
        return Session.open(bundle, NATIVE, initial=True, read_only=True, care=NO_CARE)

    before, rows = evaluate(opened(), known).accuracy, {}
    for label in range(CLASSES_ADDED):
        samples = train.x[np.flatnonzero(train.y == label)[:10]]
        new = test.take(np.flatnonzero(test.y == label))
        for way, (lost, steps) in WAYS.items():
            session = opened()
            row = learn_class(session, "new", samples, steps, lost=lost)
            hit = recognised(session, Split(new.x, np.full(len(new), row)))
            rows.setdefault(other.classes[label], {})[way] = {
                "recall": float(hit.mean()), "old_after": evaluate(session, known).accuracy,
            }  # fmt: skip
    means = {
        way: {what: float(np.mean([row[way][what] for row in rows.values()]))
              for what in ("recall", "old_after")}
        for way in WAYS
    }  # fmt: skip
    keep(net, "new class", {"old_before": before, "mean": means, "classes": rows})


def memory(net: str) -> None:
    """Training at batch 1 by the computed plans: on CIFAR-10, and for MobileNetV2 at 128 x 128."""
    keep(net, "memory at 32 x 32", {learn: _sizes(adopted(net, learn)) for learn in CHOICES[net]})
    if net != "mobilenet_v2":
        return
    path, rows = OUT / "large.npz", {}
    few = load("cifar10").splits["train"].take(np.arange(400))
    np.savez(path, x=few.x.repeat(4, 1).repeat(4, 2), y=few.y)
    for learn in CHOICES[net]:  # weights are not trained: sizes do not depend on them
        folder = OUT / f"{net}-128-{learn.replace(':', '')}"
        shutil.rmtree(folder, ignore_errors=True)
        model = f"examples.experiments.adopt_nets:{net}_128"
        found = adopt(AdoptOptions(model, str(path), learn=learn, test_samples=10), folder)
        plan = sized(found.run, ExportOptions(("c",)))
        layers = [_alone(plan, i, name) for i, name in enumerate(found.learned)]
        rows[learn] = _sizes(found.run) | {"layers": layers}
    keep(net, "memory at 128 x 128", rows)


def _sizes(run: Run) -> dict[str, object]:
    """Arena in two formats, state, and the trunk's constants; bytes."""
    plan, method = sized(run, ExportOptions(("c",))), Method("train", 1)
    return {
        "arena": {f: planned.arena(plan, method, f, FLOORS[1]) for f in ("c", "executorch")},
        "state": planned.state_bytes(blank(plan)),
        "constants": sum(value.nbytes for value in run.constants().values()),
    }


def _alone(plan: Plan, number: int, name: str) -> dict[str, object]:
    """What one layer asks the C interpreter for, its input included, and its weights and biases."""
    layer = plan.layers[number]
    first, end = layer.convs[0], layer.ends
    alone = replace(plan, layers=(replace(layer, counted=True),), trunk=None, cut=0)
    given = first.height * first.width * first.in_channels
    own = [f"layer{number}.conv{j}." for j in range(len(layer.convs))]
    return {
        "name": name,
        "output": [end.out_height, end.out_width, end.channels],
        "arena": given + planned.native_arena(alone, Method("train", 1)),
        "state": sum(v.nbytes for k, v in blank(plan).items() if k.startswith(tuple(own))),
    }


def _real(x: np.ndarray) -> Tensor:
    return torch.from_numpy(to_input(x)).permute(0, 3, 1, 2).float() / 128


def _verified(asked: argparse.Namespace) -> None:
    for learn in asked.learn or ["head"]:
        verified(asked.net, learn, tuple(asked.format) or FORMATS)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "frozen": lambda asked: frozen(asked.net, asked.test),
    "verify": _verified,
    "shift": lambda asked: shifted(asked.net, asked.seeds, asked.shift, asked.learn),
    "table": lambda asked: table(asked.net),
    "class": lambda asked: new_class(asked.net),
    "memory": lambda asked: memory(asked.net),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--learn", action="append", default=[])
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shift", action="append", default=[])
    parser.add_argument("--format", action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    PARTS[asked.part](asked)
