"""The benchmark: every runtime of a bundle and every rival, one after the other, in one run."""

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec

from dfedge.bench.measure import Timed
from dfedge.bundle import Bundle
from dfedge.device.runners import check_runtimes, installed
from dfedge.errors import DfedgeError, UsageError
from dfedge.progress import Progress

ORT_TRAINING = Path(__file__).with_name("ort_training.py")


class Rival(msgspec.Struct, frozen=True):
    """Whom a bundle is measured beside.

    Attributes:
        kinds: of methods that it has.
        writer: ``module:function`` that writes its model for a plan and a batch, beforehand.
        suffix: of that file.
    """

    kinds: tuple[str, ...]
    writer: str = ""
    suffix: str = ""


RIVALS = {
    "pytorch-bp": Rival(("train", "infer")),
    "executorch-bp": Rival(("train",), "dfedge.bench.rival:write_executorch", ".pte"),
    "ort-training-bp": Rival(("train",), "dfedge.bench.rival:write_onnx", ".onnx"),
    "onnx-int8": Rival(("infer",), "dfedge.bench.int8_onnx:write", ".onnx"),
    "litert-int8": Rival(("infer",), "dfedge.bench.int8_litert:write", ".tflite"),
}
"""Back-propagation of what learns; and yardsticks: the same net in the runtimes' own int8
operators, which infers and learns nothing."""


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


class Measurement(msgspec.Struct, frozen=True):
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
    watch: Progress = lambda *_: None,
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
        Measurement(contender, method.name, count)
        for count in threads
        for method in manifest.methods
        if method.kind in ("train", "infer")
        for contender in [*wanted, *rivals]
        if contender in wanted or method.kind in RIVALS[contender].kinds
    ]
    found: dict[Measurement, Timed] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in rivals:
            watch(f"prepare {name}", 0, len(jobs))
            try:
                _prepare(name, bundle, Path(scratch))
            except Exception as error:  # of torch, ExecuTorch or a quantiser: a finding
                not_run[name] = f"{type(error).__name__}: {error}".splitlines()[0]
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
    for rival in ("executorch-bp", "onnx-int8", "litert-int8"):
        runtime = rival.partition("-")[0]
        if not installed(runtime):
            reasons[rival] = f"not installed; pip install 'dfedge[{runtime}]'"
    return reasons


def _prepare(rival: str, bundle: Bundle, folder: Path) -> None:
    """Write what the rival's measuring process loads."""
    record = RIVALS[rival]
    if not record.writer:
        return
    module, _, name = record.writer.partition(":")
    write = getattr(import_module(module), name)
    for kind in record.kinds:
        for batch in bundle.manifest.batches(kind):
            write(bundle.manifest.plan, batch, _model(rival, f"{kind}_b{batch}", folder))


def _model(rival: str, method: str, folder: Path) -> Path:
    return folder / f"{rival}-{method}{RIVALS[rival].suffix}"


def _measure(
    job: Measurement, bundle: Bundle, scratch: Path, seconds: float, ort_training: Path | None
) -> Timed:
    """In a process of its own."""
    numbers = [str(job.threads), str(seconds)]
    if job.contender == "ort-training-bp":
        model = _model(job.contender, job.method, scratch)
        batch = job.method.partition("_b")[2]
        classes = str(bundle.manifest.plan.classes)
        command = [str(ort_training), str(ORT_TRAINING), str(model), batch, classes, *numbers]
    else:
        rival = RIVALS.get(job.contender)
        made = rival is not None and rival.writer
        model = _model(job.contender, job.method, scratch) if made else bundle.folder
        command = [sys.executable, "-m", "dfedge.bench.measure",
                   job.contender, str(model), job.method, *numbers]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DfedgeError(f"{job.contender} {job.method} failed: {done.stderr.strip()[-400:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Timed)


def _ratios(job: Measurement, found: dict[Measurement, Timed]) -> Iterator[tuple[str, float]]:
    for rival in RIVALS:
        other = found.get(msgspec.structs.replace(job, contender=rival))
        if other is not None and job.contender not in RIVALS:
            yield rival, round(other.ms / found[job].ms, 2)
