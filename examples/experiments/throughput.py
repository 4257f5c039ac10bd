"""Training throughput of the rules as a ratio to back-propagation, in one process, in turns.

    python examples/experiments/throughput.py [cpu|cuda]
    python examples/experiments/throughput.py --precision

Random images; every round times each rule once, the median round counts. Writes
results/throughput-DEVICE.json beside this file (about three minutes on one core).

`--precision` compares float32 and bfloat16 on the CPU by processor time, which other programs on
the machine do not change, and writes results/throughput-precision.json (half a minute).
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from dated import dated
from msgspec.structs import replace

from dfedge.allocator import keep_freed_memory
from dfedge.learn.net import Net
from dfedge.learn.rules import load_rule
from dfedge.learn.samples import Samples
from dfedge.learn.spec import load_spec
from dfedge.learn.trainer import Trainer

NETS = {"mnist": (28, 28, 1), "ten-slim": (32, 32, 3)}
RULES = ("bp", "df", "df-o", "df-r", "bp-checkpoint")
ROUNDS = 5


def seconds(trainer: Trainer, samples: Samples) -> float:
    """Of one epoch, the device having finished."""
    start = time.perf_counter()
    trainer.epoch(samples, 0, lambda *_: None)
    return time.perf_counter() - start  # the report of an epoch is a synchronisation


def precisions() -> None:
    """Milliseconds of processor time that a step takes, `ten-slim`, batch 128."""
    spec, shape, count = load_spec("ten-slim"), NETS["ten-slim"], 512
    x = torch.randint(0, 128, (count, shape[2], *shape[:2]), dtype=torch.int8)
    samples = Samples(x, torch.randint(0, 10, (count,)))
    took: dict[str, list[float]] = {}
    trainers = {}
    for rule in ("bp", "df-o"):
        for precision in ("float32", "bfloat16"):
            settings = replace(spec.train, precision=precision)
            trainers[f"{rule} {precision}"] = Trainer(
                Net(spec, shape, 10), load_rule(rule), settings, 0, 10
            )
    for _ in range(ROUNDS):  # the first warms up
        for name, trainer in trainers.items():
            start = time.process_time()
            trainer.epoch(samples, 0, lambda *_: None)
            spent = time.process_time() - start
            took.setdefault(name, []).append(1000 * spent * spec.train.batch / count)
    table = {name: round(statistics.median(times[1:])) for name, times in took.items()}
    print(table)
    path = Path(__file__).parent / "results" / "throughput-precision.json"
    path.write_text(json.dumps(table | dated(), indent=2) + "\n")


def main() -> None:
    if sys.argv[1:] == ["--precision"]:
        torch.set_num_threads(1)
        keep_freed_memory()
        precisions()
        return
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    torch.set_num_threads(1)
    count = 1024 if device == "cpu" else 50_000
    table = {}
    for name, shape in NETS.items():
        height, width, colours = shape
        x = torch.randint(0, 128, (count, colours, height, width), dtype=torch.int8, device=device)
        samples = Samples(x, torch.randint(0, 10, (count,), device=device))
        spec = load_spec(name)
        trainers = {}
        for rule in RULES:
            net = Net(spec, shape, 10).to(device)
            trainers[rule] = Trainer(net, load_rule(rule), spec.train, 0, 10)
            seconds(trainers[rule], samples.take(torch.arange(128)))
        took: dict[str, list[float]] = {rule: [] for rule in RULES}
        for _ in range(ROUNDS):
            for rule in RULES:
                took[rule].append(seconds(trainers[rule], samples))
        rate = {rule: count / statistics.median(took[rule]) for rule in RULES}
        table[name] = {
            rule: {
                "images_per_second": round(rate[rule]),
                "ratio_to_bp": round(rate[rule] / rate["bp"], 2),
            }
            for rule in RULES
        }
        print(name, table[name], flush=True)
    path = Path(__file__).parent / "results" / f"throughput-{device}.json"
    path.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
