"""``dfedge fit --adopt``: which part of a foreign net should learn, found by trying every choice.

Each choice is adopted, exported and learned on a shift of the user's own data, then stands in a row
with what it costs.  The samples come from the training split: a choice made on test images would
flatter itself.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.compile.blank import blank, blank_constants
from dfedge.data.dataset import Split
from dfedge.data.door import SampleFilter
from dfedge.data.inputs import record_of
from dfedge.data.shift import check_shift, parse_shift
from dfedge.data.sources import open_data
from dfedge.device.care import NO_CARE
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.runners import installed
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.budget import needs_bytes
from dfedge.exporters.fit import sized
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.planned import state_bytes
from dfedge.exporters.program import Method
from dfedge.exporters.write import export
from dfedge.learn.run import Run
from dfedge.learn.run_data import open_run_data
from dfedge.progress import Progress
from dfedge.runtimes import NATIVE
from dfedge.target import budget_of, check_runtimes, load_target

PASSES, BATCH, TESTED = 5, 16, 200


@dataclass(frozen=True)
class Question:
    """What is to be decided.

    Attributes:
        learn: choices, as ``dfedge adopt --learn`` takes them.
        shift: what the device will meet: ``rotate:30``, ``invert``.
        samples: labelled samples that it will have, shown `PASSES` times; as many others judge.
        format: whose arena is counted.
    """

    model: AdoptOptions
    learn: tuple[str, ...]
    shift: str
    samples: int
    target: str
    budget: str | None
    format: str


class Choice(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        before, after: accuracy on shifted samples that are never learned.
        original_before, original_after: on the same samples as they were.
        arena_bytes, state_bytes: of training at batch 1, by the computed plan.
        constants_bytes: of the frozen trunk, in flash.
        ms_per_step: of `BATCH` samples, on this machine.
        runtime: that it was tried in.
        fits: arena and state together are within the budget.
        refused: why it cannot be had; all else is zero then.
    """

    learn: str
    before: float = 0.0
    after: float = 0.0
    original_before: float = 0.0
    original_after: float = 0.0
    arena_bytes: int = 0
    state_bytes: int = 0
    constants_bytes: int = 0
    ms_per_step: float = 0.0
    runtime: str = ""
    fits: bool = False
    refused: str = ""


def choices(
    question: Question, scratch: Path, watch: Progress = lambda *_: None
) -> Iterator[Choice]:
    """Try them in order; runs and bundles are made in ``scratch``.

    Raises:
        UsageError, DfedgeError: a model, data, shift or target that cannot be used.
    """
    target = load_target(question.target)
    check_runtimes(target, question.target, [question.format])
    budget = budget_of(target, question.target, question.budget)
    _check_data(question)
    for number, learn in enumerate(question.learn):
        watch(f"try {learn}", number, len(question.learn))
        options = replace(question.model, learn=learn, test_samples=TESTED)
        try:
            run = adopt(options, scratch / f"{number}-run").run
        except UsageError as error:
            if not str(error).startswith("--learn"):
                raise  # no such choice, where the others only cannot be had
            yield Choice(learn, refused=str(error))
            continue
        lesson, exam = _samples(question, run)
        move = parse_shift(question.shift, run.plan.input)
        shifted = Split(move(exam.x), exam.y)
        plan = sized(run, ExportOptions((question.format,), question.target))
        native = installed(NATIVE)
        made = export(run, ExportOptions(("c" if native else "onnx",), batch=BATCH),
                      scratch / f"{number}-bundle")  # fmt: skip
        session = Session.open(made, NATIVE if native else "onnx", scratch / f"{number}-state",
                               care=NO_CARE)  # fmt: skip
        known = [evaluate(session, split).accuracy for split in (shifted, exam)]
        took = _learn(session, Split(move(lesson.x), lesson.y), question)
        now = [evaluate(session, split).accuracy for split in (shifted, exam)]
        whole = needs_bytes(plan, Method("train", 1), question.format, budget)
        state, frozen = state_bytes(blank(plan)), state_bytes(blank_constants(plan))
        yield Choice(
            learn, known[0], now[0], known[1], now[1], whole - state, state, frozen, took,
            session.runtime, whole <= budget.ram_bytes,
        )  # fmt: skip
    watch("try", len(question.learn), len(question.learn))


def _check_data(question: Question) -> None:
    """Before anything is adopted, which takes its time."""
    options = question.model
    door = SampleFilter(options.on_bad_sample)
    found = open_data(options.data, options.data_dir, door=door, reading=options.reading)
    check_shift(question.shift, record_of(found.kind))
    count = len(found.cut(options.seed).part("train")[1])
    if count < 2 * question.samples:
        raise DfedgeError(
            f"--samples {question.samples}: {options.data} has {count} training samples, and "
            f"as many again must judge; at most --samples {count // 2}"
        )


def _samples(question: Question, run: Run) -> tuple[Split, Split]:
    train = open_run_data(run.plan).part("train")[1]
    count, seed = question.samples, question.model.seed + 1
    order = np.random.default_rng(seed).permutation(len(train))[: 2 * count]
    lesson, exam = (train.take(part).read(run.plan.input) for part in np.split(order, [count]))
    return lesson, exam


def _learn(session: Session, lesson: Split, question: Question) -> float:
    job = FinetuneJob(question.model.data, "train", question.shift, 0, BATCH, PASSES * len(lesson))
    start = time.perf_counter()
    done = finetune(session, lesson, job, saving=Saving(0))
    return 1000 * (time.perf_counter() - start) / done.steps


def best(found: list[Choice]) -> Choice | None:
    """Of those that fit, the one that learned the shift best."""
    return max((one for one in found if one.fits), key=lambda one: one.after, default=None)
