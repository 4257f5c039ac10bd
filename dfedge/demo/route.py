"""The whole route on the embedded digits: train, quantise, export, turn the images, learn on."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data.dataset import Images, Split
from dfedge.data.sources import load_split
from dfedge.device.anchors import set_anchors
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import Step, steps
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.samples import to_samples
from dfedge.learn.train import TrainOptions, quantised_net, train
from dfedge.profile.report import measure
from dfedge.progress import Progress

SHIFT = "rotate:90"
PRESENTATIONS = 2000
BATCH = 16
FORMATS = ("onnx", "executorch", "litert")
"""Those whose runtime is a package: the demo needs no compiler."""
MOVED_ON = Care(replace=True)
"""Upright digits may be forgotten: the camera was turned for good."""
SHOWN = 12


@dataclass(frozen=True)
class ShownImage:
    """One turned test image, uint8 [H, W, C]: its class, and the answers before and after."""

    image: Images
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Demo:
    """What the demo found: the object that ``--json`` prints, and what the report draws."""

    summary: dict[str, Any]
    steps: list[Step]
    bundle: Bundle
    gallery: list[ShownImage]


def run_demo(out: Path, seed: int = 0, watch: Progress = lambda *_: None) -> Demo:
    """Run the route under ``out``; what an earlier, interrupted demo trained there is used.

    Raises:
        DfedgeError: ``out`` holds something else, or a runtime is missing.
    """
    start = time.perf_counter()
    run = train(TrainOptions(data="digits", qat=True, seed=seed), out / "run", watch=watch)
    options = ExportOptions(FORMATS, batch=BATCH, rendering="stock")
    bundle = export(run, options, out / "bundle", watch)
    test, turned = _digits(bundle, "test", None), _digits(bundle, "test", SHIFT)
    stream = _digits(bundle, "stream", SHIFT)
    sessions = {
        name: Session.open(bundle, name, out / f"state-{name}", initial=True, care=MOVED_ON)
        for name in FORMATS
    }
    one = sessions["onnx"]
    upright, before = evaluate(one, test).accuracy, evaluate(one, turned).accuracy
    exact = _scores_equal(run, one, test)
    answers = one.scores(turned.x[:SHOWN]).argmax(1)
    baseline = _anchors_only(one, stream, turned)
    taken, identical = _lockstep(sessions, stream, seed, watch)
    after = {name: evaluate(session, turned).accuracy for name, session in sessions.items()}
    phases = {row["phase"]: row["test_accuracy"] for row in run.metrics() if "test_accuracy" in row}
    summary = {
        "seed": seed,
        "accuracy": {"float": phases["float"], "qat": phases["qat"], "int8": upright},
        "int8_scores_equal_qat": exact,
        "shifted": {
            "kind": SHIFT,
            "before": before,
            "samples": PRESENTATIONS,
            "images": len(stream),
            "anchors_only": baseline,
            "after": after,
            "upright_after": evaluate(one, test).accuracy,
        },
        "state_identical": identical,
        "steps": len(taken),
        "weights_changed": weights_changed(one),
        "memory": {"format": "executorch", "batch": BATCH, **_memory(bundle)},
        "measured": measured_peaks(bundle, watch),
        "paths": {
            "run": str(out / "run"),
            "bundle": str(out / "bundle"),
            "report": str(out / "report.html"),
            **{f"state_{name}": str(session.folder) for name, session in sessions.items()},
        },
        "seconds": round(time.perf_counter() - start, 1),
    }
    return Demo(summary, taken, bundle, _gallery(one, turned, answers))


def _digits(bundle: Bundle, split: str, shift: str | None) -> Split:
    manifest = bundle.manifest
    return load_split("digits", None, manifest.input, manifest.classes, (split,), shift)[1]


def _lockstep(
    sessions: dict[str, Session], stream: Split, seed: int, watch: Progress
) -> tuple[list[Step], bool]:
    """Learn the stream in all runtimes at once, comparing their states after every step."""
    job = FinetuneJob("digits", "stream", SHIFT, seed, BATCH, PRESENTATIONS)
    taken, identical = [], True
    for together in zip(*(steps(s, stream, job) for s in sessions.values()), strict=True):
        identical &= len({session.digest() for session in sessions.values()}) == 1
        taken.append(together[0])
        watch("learn on the device, in all runtimes", together[0].done, PRESENTATIONS)
    return taken, identical


def _anchors_only(session: Session, stream: Split, test: Split) -> float:
    """The baseline that learning must beat: anchors at the new class means, all weights frozen."""
    state = session.runner.get_state()
    set_anchors(session, stream)
    found = evaluate(session, test).accuracy
    session.runner.set_state(state)
    return found


def _scores_equal(run: Run, session: Session, test: Split) -> bool:
    """Whether the exported program's scores are the fake-quantised net's, every one of them."""
    host = quantised_net(run).scores(to_samples(test).x).numpy()
    return bool(np.array_equal(host, session.scores(test.x)))


def weights_changed(session: Session) -> dict[str, float]:
    """Layer -> fraction of its int8 weights that differ from the bundle's."""
    initial, now = session.bundle.initial_state(), session.runner.get_state()
    return {
        name.removesuffix(".weight"): round(float((now[name] != initial[name]).mean()), 4)
        for name in initial
        if name.endswith(".weight")
    }


def _memory(bundle: Bundle) -> dict[str, dict[str, int]]:
    plans = bundle.manifest.formats["executorch"].memory
    return {kind: msgspec.to_builtins(plans[f"{kind}_b{BATCH}"]) for kind in ("train", "infer")}


def measured_peaks(bundle: Bundle, watch: Progress) -> dict[str, dict[str, int]]:
    """Runtime -> method -> peak resident bytes of a process of its own, beyond its imports."""
    peaks: dict[str, dict[str, int]] = {}
    methods = [f"train_b{BATCH}", f"infer_b{BATCH}"]
    for row in measure(bundle, list(FORMATS), methods, 5, watch):
        peaks.setdefault(row.runtime, {})[row.method] = row.peak_bytes - row.before_bytes
    return peaks


def _gallery(session: Session, turned: Split, before: NDArray[np.int64]) -> list[ShownImage]:
    names = session.bundle.manifest.classes
    after = session.scores(turned.x[:SHOWN]).argmax(1)
    return [
        ShownImage(turned.x[i], names[turned.y[i]], names[before[i]], names[after[i]])
        for i in range(SHOWN)
    ]
