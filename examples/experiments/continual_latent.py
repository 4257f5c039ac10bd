"""Latent replay by the integer program beside latent replay by float back-propagation, equal bytes.

    python examples/experiments/continual.py cifar10 --data-dir .data     # or: cifar100
    python examples/experiments/continual.py speakers --data-dir .data    # or: wearers, of a watch

Split CIFAR-10 on a ResNet-8 that was trained on CIFAR-100 (adopt_nets.py resnet8 --data cifar100
--minutes 5), and split CIFAR-100 on MLPerf Tiny's ResNet-8, which was trained on CIFAR-10
(.data/models/mlperf-tiny, as for tiny_nets.py); both are adopted with ``--learn head`` and ten
scores.  All ways see the same latents of 64 int8, an experience after the other, once.  Replay is
the product's own memory in all, within the same bytes, a balanced one.

- ``balanced``: the exported program's steps, in the native runtime.
- ``placed``: the same memory of what the layers see; anchors are placed among it.
- ``back-propagation``: a float linear layer under cross-entropy, SGD or AdamW, steps of 16 samples
  as ours.  Classes that were not seen yet are left out of the softmax, which helps it.
- ``nearest class mean``, and ``discriminant``, which has a covariance that all classes share
  (streaming LDA): float, exact sums over all samples.
- ``logistic regression`` on all latents: no stream; what a linear layer can reach here.

Each way's settings (`WAYS`) are the best on a stream of other training images, half of them learned
and half judged: one setting after the other, the others kept.  Seeds draw the streams.  Latents are
computed once by the program's own trunk, so milliseconds are without it, but for ``placed``.  A way
that is in results/continual/ is not run again.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from continual_linear import BATCH, Part, Seen, all_at_once, propagated, statistics_of
from continual_nets import RUNTIME, Given, opened
from continual_people import PEOPLE, People
from continual_rivals import summary, trial
from numpy.typing import NDArray

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bundle import Bundle
from dfedge.continual.result import result_of
from dfedge.continual.run import StreamRun
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies import care_of
from dfedge.data.dataset import Split
from dfedge.data.sources import load
from dfedge.data.streams import Stream, StreamSource, parse_stream
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export

BUDGETS, TRIAL_SEED, JUDGED, TEN = (65536, 524288), 99, 1500, 10
MLPERF = ".data/models/mlperf-tiny/pretrainedResnet_quant.tflite"
RATES = [
    *(("SGD", rate) for rate in (0.1, 0.3, 1.0, 3.0)),
    *(("AdamW", rate) for rate in (0.001, 0.003, 0.01, 0.03)),
]
WAYS: dict[str, dict[str, tuple[Any, ...]]] = {
    "balanced": {"pace": (None, 0), "bits": (4, 8), "replayed": (5, 15), "offset": (0, 1, -1)},
    "placed": {"bits": (4, 8)},
    "back-propagation": {"rate": tuple(RATES), "bits": (4, 8), "replayed": (5, 15, 30)},
}
"""What is chosen on the trial stream, at the smaller budget; the first of each begins."""
How = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A stream of new classes, and the trunk that it is learned on.

    Attributes:
        model, trained: the foreign net, and what it was trained on.
        data, each, samples: of the stream: classes, images and test images of an experience.
        budgets: bytes of replay memory; settings are chosen at the first.
        remember: samples of the past of a stream that a memory begins with.
    """

    model: str
    trained: str
    data: str
    classes: int
    each: int
    samples: int
    test: int
    budgets: tuple[int, int] = BUDGETS
    remember: int = 0

    def bundle(self, given: Given) -> Bundle:
        """Adopted on ten of its classes and exported, the first time."""
        folder = given.out / f"split-{self.data}-bundle"
        if folder.exists():
            return Bundle.open(folder)
        found, ten = load(self.trained, given.data_dir), given.out / f"ten-{self.trained}.npz"
        split = found.splits["train"]
        few = split.take(np.flatnonzero(split.y < TEN)[:5000])
        given.out.mkdir(parents=True, exist_ok=True)
        np.savez(ten, x=few.x, y=few.y, classes=np.array(found.classes[:TEN]))
        options = AdoptOptions(self.model, str(ten), learn="head", test_samples=500,
                               head=f"keep:{','.join(map(str, range(TEN)))}")  # fmt: skip
        run = adopt(options, given.out / f"split-{self.data}").run
        return export(run, ExportOptions(("c",), batch=BATCH, spare_classes=self.classes), folder)

    def stream(self, given: Given, samples: int, seed: int) -> Stream:
        """Of so many training images an experience."""
        text = f"class-incremental:each={self.each},samples={samples},test={self.test}"
        return parse_stream(text).make(StreamSource(self.data, given.data_dir), seed)


CASES = {
    "cifar10": Case("adopt_nets:resnet8_cifar100", "cifar100", "cifar10", 10, 2, 1500, 500),
    "cifar100": Case(MLPERF, "cifar10", "cifar100", 100, 10, 1000, 200),
}


def seen_by(session: Session, stream: Stream) -> Seen:
    """What the frozen trunk makes of a stream."""

    def of(split: Any) -> Part:
        chunks = [session.latents(session.input(split.x[i : i + 512]))
                  for i in range(0, len(split), 512)]  # fmt: skip
        return np.concatenate(chunks), split.y

    return Seen(
        [of(e.train) for e in stream.experiences],
        [of(e.test) for e in stream.experiences],
        None if stream.past is None else of(stream.past),
    )


class Quick(StreamRun):
    """The same learning from latents that are known; nothing is judged before it is learned.

    Attributes:
        latents: by the bytes of an image.
        often: whether it is judged after every experience, or only at the end.
    """

    latents: dict[bytes, NDArray[np.int8]]
    often = True

    def _see(self, batch: Split) -> None:
        rows = self._rows_of(batch)
        self.progress.samples += len(rows)
        known = np.stack([self.latents[one.tobytes()] for one in batch.x])
        with patch.object(self.session, "latents", lambda _: known):
            self._learn(self.session.input(batch.x), rows)

    def _evaluate(self) -> None:
        if self.often or self.progress.experience + 1 == len(self.stream.experiences):
            super()._evaluate()
        else:
            self.progress.matrix.append([0.0] * len(self.stream.experiences))


def program(bundle: Bundle, stream: Stream, seen: Seen, settings: StreamSettings) -> How:
    """The product, from the bundle's own state."""
    with (
        tempfile.TemporaryDirectory() as state,
        patch("time.perf_counter", time.process_time),
        patch("dfedge.continual.run.PROBES", 1),
    ):
        session = Session.open(bundle, RUNTIME, state, care=care_of(settings.strategy))
        run = Quick(session, stream, settings)
        images = (x for e in stream.experiences for x in e.train.x)
        latents = (z for part, _ in seen.train for z in part)
        run.latents = {x.tobytes(): z for x, z in zip(images, latents, strict=True)}
        run.often = settings.seed != TRIAL_SEED
        for _ in run.moments():
            pass
        found = result_of(run)
    return {"average_accuracy": found["average_accuracy"], "forgetting": found["forgetting"],
            "bytes": found["replay_bytes"], "ms_per_step": found["ms_per_step"]}  # fmt: skip


def chosen(way: dict[str, tuple[Any, ...]], judged: Callable[[How], How]) -> tuple[How, Any]:
    """The best of each setting in turn, from the first of each; and all that was tried."""
    how, tried = {name: values[0] for name, values in way.items()}, []
    best = -1.0
    for name, values in way.items():
        kept = how
        for value in values if best < 0 else values[1:]:
            now = {**kept, name: value}
            found = judged(now)["average_accuracy"]
            tried.append({**now, "accuracy": found})
            print(tried[-1], flush=True)
            if found > best:
                best, how = found, now
    return how, tried


def judged_less(stream: Stream) -> Stream:
    """`trial`, with `JUDGED` samples to judge."""
    halves = trial(stream)
    each = JUDGED // len(halves.experiences)
    parts = [replace(e, test=e.test.take(np.arange(min(each, len(e.test)))))
             for e in halves.experiences]  # fmt: skip
    return replace(halves, experiences=tuple(parts))


def split_by(name: str) -> Callable[[Given], dict[str, Any]]:
    """The experiment of a case."""

    def experiment(given: Given) -> dict[str, Any]:
        case: Case | People = CASES[name] if name in CASES else PEOPLE[name]
        bundle = case.bundle(given)
        samples = given.size(case.samples, 20 * case.each)
        streams = [judged_less(case.stream(given, 2 * samples, TRIAL_SEED))]
        streams += [case.stream(given, samples, seed) for seed in range(given.seeds)]
        seen = [seen_by(opened(bundle), stream) for stream in streams]
        short, *pairs = zip(streams, seen, strict=True)
        path = given.results / f"{name}.json"
        rows: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        rows["samples"] = streams[1].samples
        for way, choices in WAYS.items():
            if way in rows:
                continue
            run = partial(one_run, case, bundle, way)
            how, tried = chosen(
                choices, lambda how, run=run: run(case.budgets[0], TRIAL_SEED, short, how)
            )
            rows[way] = {"settings": how, "tried": tried}
            for budget in case.budgets:
                found = [run(budget, seed, pair, how) for seed, pair in enumerate(pairs)]
                rows[way][str(budget)] = summary(found)
                print(way, budget, rows[way][str(budget)], flush=True)
            path.write_text(json.dumps(rows, indent=1) + "\n")
        for title, shared in (("nearest class mean", False), ("discriminant", True)):
            found = [statistics_of(one, case.classes, shared) for one in seen[1:]]
            rows[title] = summary(found)
            print(title, rows[title], flush=True)
        rows["logistic regression"] = all_at_once(seen[1])
        return rows

    return experiment


def one_run(
    case: Case | People,
    bundle: Bundle,
    way: str,
    budget: int,
    seed: int,
    pair: tuple[Stream, Seen],
    how: How,
) -> How:
    """A way on a stream."""
    kept = {name: value for name, value in how.items() if name != "rate"}
    strategy = "balanced" if "rate" in how else way
    settings = StreamSettings("class-incremental", case.data, strategy, budget, seed=seed,
                              remember=case.remember, **kept)  # fmt: skip
    if "rate" in how:
        return propagated(opened(bundle), pair[1], settings, case.classes, how["rate"])
    return program(bundle, *pair, settings)


def split_runs() -> Iterator[tuple[str, Callable[[Given], dict[str, Any]]]]:
    """Name and experiment of each case."""
    return ((name, split_by(name)) for name in (*CASES, *PEOPLE))
