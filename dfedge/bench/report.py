"""The benchmark: every runtime of a bundle and every rival, one after the other, in one run."""

import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from dfedge.bench.measure import Timed
from dfedge.bundle import LEARNING, Bundle
from dfedge.device.runners import check_runtimes, installed
from dfedge.errors import DfedgeError, UsageError

RIVALS = ("pytorch-bp", "executorch-bp", "ort-training-bp")
ORT_TRAINING = Path(__file__).with_name("ort_training.py")
Watch = Callable[[str, int, int], None]


class Row(msgspec.Struct, frozen=True):
    """One contender at one method.

    Attributes:
        threads: and processor cores that it was given.
        ms: median time of one call.
        per_second: calls (steps or inferences of a whole batch).
        ratios: rival -> how many times as long the rival takes, at the same method and threads.
    """

    contender: str
    method: str
    threads: int
    ms: float
    per_second: float
    ratios: dict[str, float]


class Benchmark(msgspec.Struct, frozen=True):
    """All rows, and why a contender has none."""

    bundle_sha256: str
    net: str
    computer: str
    rows: list[Row]
    not_run: dict[str, str]


class Job(msgspec.Struct, frozen=True):
    """One measurement to make."""

    contender: str
    method: str
    threads: int


def bench(
    bundle: Bundle,
    runtimes: list[str] | None = None,
    threads: tuple[int, ...] = (1, 2),
    seconds: float = 2.0,
    ort_training: Path | None = None,
    watch: Watch = lambda *_: None,
) -> Benchmark:
    """Measure training and inference at every batch size and every number of threads.

    Args:
        ort_training: the Python of an environment with onnxruntime-training 1.19.2, NumPy 1, onnx
            1.16 and torch.

    Raises:
        UsageError: an unknown runtime, or a number of threads below one.
        DfedgeError: a measurement of a runtime that failed; a rival's is told in ``not_run``.
    """
    check_runtimes(bundle, runtimes or [])
    if min(threads) < 1:
        raise UsageError(f"--threads {min(threads)}: allowed: 1 or more")
    manifest = bundle.manifest
    wanted = runtimes or [name for name in manifest.formats if installed(name)]
    not_run = _absent(ort_training)
    rivals = [name for name in RIVALS if name not in not_run]
    jobs = [
        Job(contender, method.name, count)
        for count in threads
        for method in manifest.methods
        if method.kind in ("train", "infer")
        for contender in [*wanted, *rivals]
        if contender in wanted or _has(contender, method.kind)
    ]
    found: dict[Job, Timed] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in rivals:
            watch(f"prepare {name}", 0, len(jobs))
            _prepare(name, bundle, Path(scratch))
        for i, job in enumerate(jobs):
            watch(f"{job.contender} {job.method}, {job.threads} threads", i, len(jobs))
            if job.contender in not_run:
                continue
            try:
                found[job] = _measure(job, bundle, Path(scratch), seconds, ort_training)
            except DfedgeError as error:
                if job.contender not in RIVALS:
                    raise
                not_run[job.contender] = str(error)  # a rival's failure is a finding
    rows = [
        Row(job.contender, job.method, job.threads, round(time.ms, 3), round(1000 / time.ms, 1),
            dict(_ratios(job, found)))
        for job, time in found.items()
    ]  # fmt: skip
    return Benchmark(bundle.sha256, manifest.net, _computer(), rows, not_run)


def _computer() -> str:
    """The processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _absent(ort_training: Path | None) -> dict[str, str]:
    reasons = {}
    if ort_training is None:
        reasons["ort-training-bp"] = "no --ort-training PYTHON was given"
    elif not ort_training.is_file():
        raise UsageError(
            f"--ort-training {ort_training}: no such file; give an environment's bin/python"
        )
    if not installed("executorch"):
        reasons["executorch-bp"] = "not installed; pip install 'dfedge[executorch]'"
    return reasons


def _has(rival: str, kind: str) -> bool:
    """Rivals train; PyTorch also infers."""
    return kind in LEARNING or rival == "pytorch-bp"


def _prepare(rival: str, bundle: Bundle, folder: Path) -> None:
    """Write what the rival's measuring process loads."""
    if rival == "pytorch-bp":
        return
    import torch

    from dfedge.bench.rival import example, write_executorch, write_onnx

    plan = bundle.manifest.plan
    for batch in bundle.manifest.batches("train"):
        path = folder / f"train_b{batch}"
        if rival == "executorch-bp":
            write_executorch(plan, batch, path.with_suffix(".pte"))
            torch.save(example(plan, batch), path.with_suffix(".pt"))
        else:
            write_onnx(plan, batch, path.with_suffix(".onnx"))


def _measure(
    job: Job, bundle: Bundle, scratch: Path, seconds: float, ort_training: Path | None
) -> Timed:
    """In a process of its own."""
    numbers = [str(job.threads), str(seconds)]
    if job.contender == "ort-training-bp":
        model, batch = scratch / f"{job.method}.onnx", job.method.partition("_b")[2]
        classes = str(bundle.manifest.plan.classes)
        command = [str(ort_training), str(ORT_TRAINING), str(model), batch, classes, *numbers]
    else:
        folder = scratch if job.contender == "executorch-bp" else bundle.folder
        command = [sys.executable, "-m", "dfedge.bench.measure",
                   job.contender, str(folder), job.method, *numbers]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DfedgeError(f"{job.contender} {job.method} failed: {done.stderr.strip()[-400:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Timed)


def _ratios(job: Job, found: dict[Job, Timed]) -> Iterator[tuple[str, float]]:
    for rival in RIVALS:
        other = found.get(msgspec.structs.replace(job, contender=rival))
        if other is not None and job.contender not in RIVALS:
            yield rival, round(other.ms / found[job].ms, 2)
