"""Random small nets, 200 of them, in every format: all runtimes hold PyTorch's bits.

    python examples/experiments/random_nets.py

160 nets inside the documented limits (up to 4 layers, 16 x 16, 32 channels, 2 to 300 classes, every
kind of block, kernel, stride, rule and form), and 40 drawn around one of the limits.  Writes
results/random_nets.json; a net that is there is not made again.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer
from trials.random_nets import attempt

from dfedge.allocator import keep_freed_memory
from dfedge.runtimes import formats

RESULTS = Path(__file__).parent / "results" / "random_nets.json"


def main(
    inside: int = 160,
    at_limits: int = 40,
    results: Annotated[Path, typer.Option()] = RESULTS,
    part: Annotated[str, typer.Option(help="I/N: every N-th net from the I-th on.")] = "0/1",
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = json.loads(results.read_text()) if results.exists() else {}
    nets = [(f"limit {s}", s, True) for s in range(at_limits)]
    nets += [(f"inside {s}", s, False) for s in range(inside)]
    first, step = map(int, part.split("/"))
    for name, seed, at_limit in nets[first::step]:
        if name in rows:
            continue
        trial = attempt(seed, at_limit, tuple(formats()))
        rows[name] = msgspec.to_builtins(trial)
        results.write_text(json.dumps(rows, indent=0) + "\n")
        print(name, trial.outcome, trial.net, trial.detail[:200], flush=True)
    print(Counter((name.split()[0], row["outcome"]) for name, row in rows.items()))


if __name__ == "__main__":
    typer.run(main)
