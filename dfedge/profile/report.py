"""A bundle's memory: planned at export, measured here, and what back-propagation would need."""

import subprocess
import sys
from importlib.util import find_spec

import msgspec

from dfedge.bundle import Bundle
from dfedge.device.runners import check_runtimes, installed
from dfedge.errors import DfedgeError
from dfedge.footprint import Footprint
from dfedge.native.rendering import by_interpreter
from dfedge.profile.measure import Measured
from dfedge.profile.rival import BackpropPlan
from dfedge.progress import Progress
from dfedge.target import load_target


class Need(msgspec.Struct, frozen=True):
    """One method in one rendering.

    Attributes:
        arena_bytes: temporaries, inputs and outputs, as planned.
        state_bytes: what lives between calls.
        lower_bound_bytes: the most that is alive at once; the arena cannot be smaller.
        stored_activation_bytes: what earlier layers keep for learning.
        program_bytes: of the file with the program.
        measured_peak_bytes: resident memory that a process of its own used beyond the bare runtime.
        layer_bytes: the most alive while each layer is at work.
    """

    arena_bytes: int
    state_bytes: int
    lower_bound_bytes: int
    stored_activation_bytes: int
    program_bytes: int = 0
    measured_peak_bytes: int | None = None
    layer_bytes: dict[str, int] = {}


class Rendering(msgspec.Struct, frozen=True):
    """All methods in one rendering.

    Attributes:
        planned: nothing of it has been run; the figures are computed.
        source: who made the plan.
    """

    planned: bool
    source: str
    methods: dict[str, Need]


class MemoryReport(msgspec.Struct, frozen=True):
    """Everything that ``dfedge profile`` tells.

    Attributes:
        rendering: the one whose figures ``methods`` and the ratios are.
        renderings: the stock rendering's by format, and ``native``.
        rivals: back-propagation at the largest training batch: bp, bp_checkpoint, bp_accumulated
            (batch 1 and a gradient beside every weight), bp_int8_ideal.
        rivals_by_batch: the same for every training batch.
        not_computed: why rivals are missing, or nothing.
        ratio_to_bp: arena and state of training over bp's, at the largest batch.
        ratio_to_inference: arena of training over that of inference, at the largest batch.
        measured: per runtime and method, on this computer.
    """

    bundle_sha256: str
    net: str
    feedback: str
    target: str
    target_ram_bytes: int
    allowed_bytes: int
    rendering: str
    methods: dict[str, Need]
    renderings: dict[str, Rendering]
    rivals: dict[str, BackpropPlan]
    rivals_by_batch: dict[str, dict[str, BackpropPlan]]
    not_computed: str
    ratio_to_bp: float | None
    ratio_to_inference: float | None
    measured: list[Measured]


def profile(
    bundle: Bundle,
    runtimes: list[str] | None = None,
    target: str | None = None,
    calls: int = 30,
    watch: Progress = lambda *_: None,
    rivals: bool = True,
) -> MemoryReport:
    """Collect the plans, measure every method of the wanted (else all installed) runtimes, compare.

    Raises:
        UsageError: an unknown runtime or target.
        DfedgeError: a measuring process that failed.
    """
    manifest = bundle.manifest
    name = target or manifest.target
    device = load_target(name)
    check_runtimes(bundle, runtimes or [])
    wanted = runtimes or [runtime for runtime in manifest.formats if installed(runtime)]
    measured = measure(bundle, wanted, [m.name for m in manifest.methods], calls, watch)
    renderings = {f: _stock(bundle, f, measured) for f in manifest.formats}
    by_batch: dict[str, dict[str, BackpropPlan]] = {}
    batches = manifest.batches("train")
    host = find_spec("torch") is not None
    if host and rivals:
        from dfedge.profile.compare import native, rivals_of

        renderings["native"] = native(manifest.plan, [(m.kind, m.batch) for m in manifest.methods])
        for i, batch in enumerate(batches):
            watch(f"plan back-propagation at batch {batch}", i, len(batches))
            by_batch[str(batch)] = rivals_of(manifest.plan, batch)
    first = _first(renderings)
    allowed = device.allowed_bytes if target else manifest.budget_bytes or device.allowed_bytes
    return summary(
        MemoryReport(
            bundle_sha256=bundle.sha256,
            net=manifest.net,
            feedback=manifest.plan.feedback,
            target=name,
            target_ram_bytes=device.ram_bytes,
            allowed_bytes=allowed,
            rendering=words(first, renderings[first]),
            methods=renderings[first].methods,
            renderings=renderings,
            rivals={},
            rivals_by_batch=by_batch,
            not_computed="" if host else "rivals and the native plan need torch",
            ratio_to_bp=None,
            ratio_to_inference=None,
            measured=measured,
        )
    )


def _first(renderings: dict[str, Rendering]) -> str:
    """Native where there is a compiler, else ExecuTorch's, else what there is."""
    for name in ("native", "executorch"):
        if name in renderings and not renderings[name].planned:
            return name
    return next(iter(renderings))


def words(name: str, rendering: Rendering) -> str:
    """A rendering's name as reports have it."""
    if name == "native" or by_interpreter(name):
        return name
    return f"stock, {name}{', computed' if rendering.planned else ''}"


def summary(report: MemoryReport) -> MemoryReport:
    """The report with the largest batch's rivals and its ratios."""
    batch = max(
        (int(n.split("_b")[1]) for n in report.methods if n.startswith("train_b")), default=1
    )
    rivals = report.rivals_by_batch.get(str(batch), {})
    train, infer = (report.methods.get(f"{kind}_b{batch}") for kind in ("train", "infer"))
    return msgspec.structs.replace(
        report,
        rivals=rivals,
        ratio_to_bp=ratio(train, rivals["bp"]) if train and rivals else None,
        ratio_to_inference=round(train.arena_bytes / infer.arena_bytes, 4)
        if train and infer
        else None,
    )


def ratio(need: Need, rival: BackpropPlan) -> float:
    """Arena and state over a rival's."""
    ours, theirs = need.arena_bytes + need.state_bytes, rival.arena_bytes + rival.state_bytes
    return round(ours / theirs, 4)


def need(arena: int, state: int, found: Footprint | None, program: int = 0,
         measured: int | None = None) -> Need:  # fmt: skip
    """One method's figures; without a footprint (an older bundle) the bound is the arena."""
    if found is None:
        return Need(arena, state, arena, 0, program, measured)
    bound = min(arena, found.lower_bound_bytes)  # the interpreter reuses what a graph keeps apart
    return Need(arena, state, bound, found.stored_activation_bytes, program,
                measured, found.layer_bytes)  # fmt: skip


def _stock(bundle: Bundle, format: str, measured: list[Measured]) -> Rendering:
    record, footprints = bundle.format(format), bundle.footprints().get(format, {})
    peaks = {(m.runtime, m.method): m.peak_bytes - m.before_bytes for m in measured}
    files = bundle.manifest.files
    methods = {
        name: need(plan.arena_bytes, plan.state_bytes, footprints.get(name),
                   files[record.files[name]].bytes, peaks.get((format, name)))
        for name, plan in record.memory.items()
    }  # fmt: skip
    return Rendering(False, record.memory_source, methods)


def measure(
    bundle: Bundle, runtimes: list[str], methods: list[str], calls: int, watch: Progress
) -> list[Measured]:
    """Measure methods, each in a process of its own.

    Raises:
        DfedgeError: one that failed.
    """
    jobs = [(runtime, method) for runtime in runtimes for method in methods]
    found = []
    for i, (runtime, method) in enumerate(jobs):
        watch(f"measure {runtime} {method}", i, len(jobs))
        found.append(_measure(bundle, runtime, method, calls))
    return found


def _measure(bundle: Bundle, runtime: str, method: str, calls: int) -> Measured:
    """Measure one method in a fresh process."""
    command = [
        sys.executable, "-m", "dfedge.profile.measure",
        str(bundle.folder), runtime, method, str(calls),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DfedgeError(f"measuring {runtime} {method} failed: {done.stderr.strip()[-400:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)
