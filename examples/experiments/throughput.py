"""Training throughput of the rules as a ratio to back-propagation, in one process, in turns.

    python examples/experiments/throughput.py [cpu|cuda]

Random images; every round times each rule once, the median round counts. Writes
results/throughput-DEVICE.json beside this file (about three minutes on one core).
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch

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


def main() -> None:
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
