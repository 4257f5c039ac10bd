"""Integer learning from random weights, on the device side alone: pictures, and motion of a watch.

    OMP_NUM_THREADS=1 python examples/experiments/from_scratch.py --data-dir .data
    python examples/experiments/from_scratch.py --data-dir .data mnist watch    # of these alone

A net that was never trained is exported; its anchors are set to the class means of the first 500
samples, and it then learns all others at batch 16 in the native runtime, so many times as `SETS`
says.  The rates are halved whenever half of what was left is learned.  Where they begin is chosen
on training samples held out, the test split is looked at once a seed.  Writes
results/from_scratch.json; what stands there is not run again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from dated import dated

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device.anchors import set_anchors
from dfedge.device.care import NO_CARE
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, calibrate_run, train

RESULTS = Path(__file__).parent / "results" / "from_scratch.json"
OUT = Path("out/from_scratch")
BATCH, FIRST, TRIED = 16, 500, 16_000
HELD_OUT, SHARE = 5000, 6
"""Samples that choose the rates, at most, and as a share of all."""
RATES = [(weight, anchor) for weight in (-3, -1, 1) for anchor in (-1, 0, 1)]
"""Added to the shifts: -1 doubles the rate."""
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """A data set from scratch.

    Attributes:
        passes: over its training samples.
        channels: of the convolutions; one that is negative is followed by a pool.  The last two
            have a say: on held-out samples of MNIST they were better than all.
        net: by name, where there are no channels.
    """

    passes: int
    channels: tuple[int, ...] = ()
    net: str = ""


SETS = {
    "mnist": Setting(1, (-32, -64, 128, 128)),
    "fashion-mnist": Setting(10, (-32, -64, 128, 128)),
    "watch": Setting(10, net="imu"),
    "cifar10": Setting(10, net="cifar"),
}


def net_of(setting: Setting) -> str:
    """A net's name or file."""
    if setting.net:
        return setting.net
    blocks = [f"[[block]]\nchannels = {abs(c)}\npool = {str(c < 0).lower()}\n"
              for c in setting.channels]  # fmt: skip
    path = OUT / "net.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("anchors = 4\ncounted = 2\n" + "".join(blocks))
    return str(path)


def bundle_of(data: str, seed: int, data_dir: Path | None) -> Bundle:
    where = OUT / f"{data}-{seed}"
    if (where / "bundle").exists():
        return Bundle.open(where / "bundle")
    net = net_of(SETS[data])
    options = TrainOptions(data, data_dir, net=net, seed=seed, settings={"epochs": 0})
    run = train(options, where / "run")
    calibrate_run(run, "pow2-mse")
    return export(run, ExportOptions(("c",), batch=BATCH, trial=False), where / "bundle")


def part(bundle: Bundle, data: str, data_dir: Path | None, name: str) -> Split:
    own = bundle.manifest
    wanted = load_split(data, data_dir, own.input, own.classes, (name,), None, cut=own.cut)
    return wanted[1]


def untrained(bundle: Bundle, stream: Split) -> Session:
    """Anchors are class means; no weight was learned."""
    session = Session.open(bundle, "native", OUT / "state", initial=True, care=NO_CARE)
    set_anchors(session, stream.take(np.arange(FIRST)))
    return session


def learned(bundle: Bundle, stream: Split, rates: tuple[int, int], samples: int) -> Session:
    session = untrained(bundle, stream)
    for name, add in zip(("weight_shift", "anchor_shift"), rates, strict=True):
        session.rates[name] = session.rates[name] + np.int8(add)
    for slower, count in enumerate(halves(samples)):
        finetune(session, stream, FinetuneJob("", "train", "", 0, BATCH, count, slower=slower))
    return session


def halves(samples: int) -> Iterator[int]:
    """Half of them, half of what is left, ...; the sixth part is all that is left then."""
    for _ in range(5):
        count = samples // 2 // BATCH * BATCH
        yield count
        samples -= count
    yield samples


def write(found: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def rates_of(data: str, data_dir: Path | None, found: dict[str, Any]) -> Split:
    """Find what each rate to begin with leads to; the stream is what did not judge it."""
    rows = found[data]["validation"]
    bundle = bundle_of(data, 0, data_dir)
    whole = part(bundle, data, data_dir, "train")
    whole = whole.take(np.random.default_rng(0).permutation(len(whole)))
    held = min(HELD_OUT, len(whole) // SHARE)
    stream, judging = (whole.take(np.arange(held, len(whole))), whole.take(np.arange(held)))
    for rates in RATES:
        name = "weight {:+d}, anchor {:+d}".format(*rates)
        if name not in rows:
            rows[name] = evaluate(learned(bundle, stream, rates, TRIED), judging).accuracy
            print(data, name, rows[name], flush=True)
            write(found)
    return stream


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data_dir: Annotated[Path | None, typer.Option()] = None,
) -> None:
    keep_freed_memory()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for data in names or SETS:
        of = found.setdefault(data, {"validation": {}, "test": {}})
        stream = rates_of(data, data_dir, found)
        best = RATES[int(np.argmax(list(of["validation"].values())))]
        for seed in SEEDS:
            if str(seed) in of["test"]:
                continue
            bundle = bundle_of(data, seed, data_dir)
            test = part(bundle, data, data_dir, "test")
            before = evaluate(untrained(bundle, stream), test).accuracy
            samples = SETS[data].passes * len(stream)
            after = evaluate(learned(bundle, stream, best, samples), test).accuracy
            of["test"][str(seed)] = {"anchors_only": before, "after": after, "rates": best,
                                     "samples": samples, **dated()}  # fmt: skip
            print(data, seed, before, after, flush=True)
            write(found)


if __name__ == "__main__":
    typer.run(main)
