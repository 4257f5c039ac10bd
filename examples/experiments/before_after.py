"""What a change did to the time of a step and to its memory: two checkouts, measured in one run.

    git worktree add out/before COMMIT
    OMP_NUM_THREADS=1 python examples/experiments/before_after.py out/before

Each checkout makes the same nets in a process of its own.  Then both take turns: a call is repeated
for a third of a second of one thread's processor time on one side, then on the other, `ROUNDS`
times; the ratio is the median of the rounds'.  Arenas and states are what the manifests say.
Writes results/before_after/COMMIT.json, named after the earlier one.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "before_after"
ROUNDS, SECONDS = 15, 0.3
TRAINED = {"digits": ("digits", ""), "plain": ("noise", "plain")}
ADOPTED = {"mobilenet_v2_035": 128, "mobilenet_v3_small": 96}
RUNTIMES = ("native", "onnx")
CALLS = (("train", 1), ("train", 16), ("infer", 1))
PLAIN = "\n".join(["[train]", "epochs = 1", "qat_epochs = 1", "shift = 0",
                   *['[[block]]\nkind = "conv"\nchannels = 64'] * 4])  # fmt: skip


class Side:
    """One checkout's process."""

    def __init__(self, root: Path, work: Path) -> None:
        paths = [str(root), str(HERE.parent.parent / "tests"), str(HERE)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", str(work)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ask(self, *words: Any) -> Any:
        """Send one request and wait for its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(words), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended at {words}")
        return json.loads(line)


def room(*names: str) -> Any:
    """A module of dfedge by its name now, or by what an earlier commit called it."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"dfedge.{name}")
    raise ModuleNotFoundError(names[0])


def bundle_of(name: str, batch: int, folder: Path) -> Any:
    """The net's bundle with programs for `RUNTIMES`, made once."""
    import numpy as np

    from dfedge.bundle import Bundle
    from dfedge.learn.run import Run
    from dfedge.learn.train import TrainOptions, train

    exporter = room("exporters.write", "export.write")
    out = folder / f"{name}-{batch}"
    if out.exists():
        return Bundle.open(out)
    run = folder / f"{name}-run"
    side = ADOPTED.get(name, 32)
    numbers = np.random.default_rng(0)
    noise = folder / f"noise-{side}.npz"
    if not noise.exists():
        x = numbers.integers(0, 256, (80, side, side, 3), np.uint8)
        np.savez(noise, x=x, y=np.arange(80) % 10)
    if name in ADOPTED and not run.exists():
        rooms = room("adoption.adopt", "adopt.adopt")
        rooms.adopt(rooms.AdoptOptions(f"before_after:{name}", str(noise), learn="head"), run)
    elif not run.exists():
        data, net = TRAINED[name]
        given = {"net": str(folder / f"{net}.toml")} if net else {"settings": {"epochs": 1}}
        (folder / "plain.toml").write_text(PLAIN)
        train(TrainOptions(str(noise) if data == "noise" else data, qat=True, **given), run)
    options: dict[str, Any] = {"batch": batch}
    if "trial" in exporter.ExportOptions.__dataclass_fields__:
        options["trial"] = False
    exporter.export(Run.open(run), exporter.ExportOptions(("c", "onnx"), **options), out)
    return Bundle.open(out)


def mobilenet_v2_035() -> Any:
    """torchvision's, at random weights."""
    return _random("mobilenet_v2_035")


def mobilenet_v3_small() -> Any:
    """The same: with hard swish, and gates."""
    return _random("mobilenet_v3_small")


def _random(name: str) -> Any:
    import torchvision_nets

    torchvision_nets.SIDE = ADOPTED[name]
    return torchvision_nets.net(name)


def memory_of(name: str, folder: Path) -> Any:
    """Batch -> format -> method -> arena and state."""
    found: dict[int, Any] = {}
    for batch in (1, 16):
        formats = bundle_of(name, batch, folder).manifest.formats
        found[batch] = {
            format: {method: [plan.arena_bytes, plan.state_bytes]
                     for method, plan in record.memory.items()}
            for format, record in formats.items()
        }  # fmt: skip
    return found


def timed(session: Any, call: str, batch: int) -> float:
    """Processor seconds of a call."""
    import numpy as np

    shape = session.bundle.manifest.plan.input_shape
    q = np.random.default_rng(1).integers(0, 128, (batch, *shape), np.int8)
    y = np.arange(batch, dtype=np.int32) % 10
    given = (q, y) if call == "train" else (q,)
    act = session.learn_input if call == "train" else session.scores_of_input
    act(*given)
    begin, count = time.process_time(), 0
    while time.process_time() - begin < SECONDS:
        act(*given)
        count += 1
    return (time.process_time() - begin) / count


def worker(folder: Path) -> None:
    """Answer requests: ["made", net] or ["time", net, runtime, call, batch]."""
    import torch

    from dfedge.device.session import Session

    torch.set_num_threads(1)
    out, sys.stdout = sys.stdout, sys.stderr
    sessions: dict[Any, Any] = {}
    for line in sys.stdin:
        kind, name, *rest = json.loads(line)
        if kind == "made":
            answer: Any = memory_of(name, folder)
        else:
            runtime, call, batch = rest
            key = (name, runtime, batch)
            if key not in sessions:
                state = folder / f"state-{name}-{runtime}-{batch}"
                sessions[key] = Session.open(bundle_of(name, batch, folder), runtime, state)
            answer = timed(sessions[key], call, batch)
        print(json.dumps(answer), file=out, flush=True)


def compared(sides: list[Side], name: str) -> dict[str, Any]:
    """Every call of a net on every runtime, in turns."""
    found = {}
    for runtime in RUNTIMES:
        for call, batch in CALLS:
            rounds = [
                [side.ask("time", name, runtime, call, batch) for side in sides]
                for _ in range(ROUNDS)
            ]
            old, new = (median(times) for times in zip(*rounds, strict=True))
            ratio = median(b / a for a, b in rounds)
            key = f"{name} {runtime} {call} {batch}"
            found[key] = {"before": old, "after": new, "ratio": round(ratio, 3)}
            print(f"{key:38} {1e3 * old:8.3f} ms -> {1e3 * new:8.3f}: x {ratio:.3f}", flush=True)
    return found


def differing(name: str, before: Any, after: Any) -> None:
    """Say where arena or state differ."""
    for batch, formats in before.items():
        for format, methods in formats.items():
            for method, old in methods.items():
                new = after[batch].get(format, {}).get(method, old)
                if new != old:
                    print(f"{name} {format} {method}: arena, state {old} -> {new}")


def main(
    before: Annotated[Path | None, typer.Argument(help="The earlier checkout.")] = None,
    nets: Annotated[str, typer.Option(help="By commas.")] = ",".join([*TRAINED, *ADOPTED]),
    work: Annotated[Path | None, typer.Option("--worker", hidden=True)] = None,
) -> None:
    if work is not None:
        worker(work)
        return
    from dated import dated

    assert before is not None
    command = ["git", "-C", str(before), "rev-parse", "--short", "HEAD"]
    commit = subprocess.check_output(command, text=True).strip()
    sides = []
    for root, folder in ((before, commit), (HERE.parent.parent, dated()["commit"])):
        place = Path("out/before_after") / folder
        place.mkdir(parents=True, exist_ok=True)
        sides.append(Side(root.resolve(), place))
    found: dict[str, Any] = dated() | {"before": commit, "memory": {}, "seconds": {}}
    for name in nets.split(","):
        both = [side.ask("made", name) for side in sides]
        found["memory"][name] = dict(zip(("before", "after"), both, strict=True))
        found["seconds"] |= compared(sides, name)
        differing(name, *both)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{commit}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
