"""Golden batches replayed: every runtime, step by step, against what the export recorded.

All runtimes learn the same batches over and over.  After each step their scores and every tensor of
their state must equal what is expected, byte for byte: what a reference computes (PyTorch, on the
host), else what the bundle recorded of PyTorch's first steps.  Asked at export, by ``dfedge
doctor`` and by ``dfedge verify``.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import LEARNING, Bundle
from dfedge.device.runners import (
    Runner,
    check_runtimes,
    installed,
    open_runner,
    remedy,
    runnable,
)
from dfedge.errors import DfedgeError, UsageError
from dfedge.progress import Progress
from dfedge.state import digest, tensor_digest

REFERENCE = "pytorch"
Arrays = Mapping[str, NDArray[Any]]


class Difference(msgspec.Struct, frozen=True):
    """The first integer of a runtime that is not the expected one.

    Attributes:
        step: 1 is the first training step.
        tensor: of the state, or ``scores``, ``active``, ``infer``, ``featuresI``, ``latent``.
        index, found, expected: None where only a digest of the tensor was recorded.
    """

    runtime: str
    step: int
    tensor: str
    index: list[int] | None = None
    found: int | None = None
    expected: int | None = None

    def __str__(self) -> str:
        """In words."""
        where = f"{self.runtime}, step {self.step}: {self.tensor}"
        if self.index is None:
            return f"{where} differs from what was recorded"
        return f"{where} differs at {self.index}: {self.found}, should be {self.expected}"


class Verification(msgspec.Struct, frozen=True):
    """What was compared.

    Attributes:
        identical: whether every runtime agreed in every step.
        steps: training steps of every runtime that agreed to the end.
        runtimes: name -> SHA-256 of its last state.
        not_run: name -> why.
    """

    identical: bool
    steps: int
    runtimes: dict[str, str]
    not_run: dict[str, str]
    first_difference: Difference | None


def open_runners(
    bundle: Bundle, wanted: list[str] | None
) -> tuple[dict[str, Runner], dict[str, str]]:
    """The wanted runtimes, else all that are installed; and those that are not, with the remedy.

    Raises:
        UsageError: an unknown runtime, or one that the bundle was not exported to.
        DfedgeError: a wanted runtime that is not installed, or one that refuses the program.
    """
    names = wanted or runnable(bundle)
    check_runtimes(bundle, names)
    missing = {}
    for name in [] if wanted else names:
        if not installed(name):
            missing[name] = f"not installed; {remedy(name)}"
    runners = {name: open_runner(bundle, name) for name in names if name not in missing}
    return runners, missing


def replay(
    bundle: Bundle,
    runners: Mapping[str, Runner],
    steps: int | None = None,
    reference: Runner | None = None,
    not_run: dict[str, str] | None = None,
    watch: Progress = lambda *_: None,
) -> Verification:
    """Train ``steps`` golden batches in every runner; None: as many as were recorded.

    The runners are left at the bundle's own state.

    Raises:
        UsageError: more steps than were recorded, and no reference.
    """
    golden = bundle.golden()
    recorded = len(golden["x"])
    steps = recorded if steps is None else steps
    if reference is None and steps > recorded:
        raise UsageError(
            f"--steps {steps}: without torch only the {recorded} recorded steps can be compared; "
            "pip install 'dfedge[train]' for more"
        )
    everyone = {**runners, **({REFERENCE: reference} if reference else {})}
    for runner in everyone.values():
        runner.set_state(bundle.initial_state())
    agreeing, first = dict(runners), None

    def judge(compare: Callable[[str, Runner], Difference | None]) -> None:
        nonlocal first
        for name, runner in list(agreeing.items()):
            difference = compare(name, runner)
            if difference is not None:
                first = first or difference
                del agreeing[name]

    for number in range(steps):
        watch("verify", number, steps)
        x, y = (golden[name][number % recorded] for name in ("x", "y"))
        expected = dict(_learn(reference, x, y)) if reference else {}
        if number < recorded:
            expected["scores"] = golden["scores"][number]

        def one_step(name: str, runner: Runner, number: int = number) -> Difference | None:
            found = _learn(runner, x, y)  # noqa: B023  judged before the loop goes on
            difference = _first(name, number + 1, found, expected)  # noqa: B023
            if difference is None and number < recorded:
                difference = _by_digest(name, number + 1, found, golden["digests"][number], bundle)
            return difference

        judge(one_step)
    last = golden["x"][-1]
    if reference is not None:
        judge(lambda name, runner: _outputs(bundle, name, runner, reference, last, steps))
    elif steps == recorded:
        judge(lambda name, runner: _scores_after(bundle, name, runner, golden, steps))
    watch("verify", steps, steps)
    held = {**agreeing, **({REFERENCE: reference} if reference else {})}
    hashes = {name: digest(runner.get_state()) for name, runner in held.items()}
    for runner in everyone.values():
        runner.set_state(bundle.initial_state())
    return Verification(first is None, steps, hashes, not_run or {}, first)


def golden_call(bundle: Bundle, runner: Runner, name: str, step: int) -> Callable[[], object]:
    """A call of a method on the inputs of one golden step: what is timed and measured.

    Args:
        name: of the method.
        step: 0 is the first; labels of odd steps are moved by one class.
    """
    entry = next(method for method in bundle.manifest.methods if method.name == name)
    golden = bundle.golden()
    x, y = golden["x"][step][: entry.batch], golden["y"][step][: entry.batch]
    if entry.kind == "train_from":
        x = runner.features(x)[-1]
    call = getattr(runner, entry.kind)
    return partial(call, x, y) if entry.kind in LEARNING else partial(call, x)


def check_golden(bundle: Bundle, runtime: str) -> int:
    """Replay what was recorded in one runtime; the number of steps that agreed.

    Raises:
        DfedgeError: the first integer that differs.
    """
    found = replay(bundle, {runtime: open_runner(bundle, runtime)})
    if found.first_difference is not None:
        raise DfedgeError(
            f"{found.first_difference}; this runtime computes other integers: do not train with it"
        )
    return found.steps


def _learn(runner: Runner, x: NDArray[np.int8], y: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    scores, active = runner.train(x, y)
    return {"scores": scores, "active": active, **runner.get_state()}


def _first(runtime: str, step: int, found: Arrays, expected: Arrays) -> Difference | None:
    for tensor, want in expected.items():
        got = found[tensor]
        if not np.array_equal(got, want):
            place = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(got != want)))[: want.ndim]
            return Difference(runtime, step, tensor, list(place), int(got[place]), int(want[place]))
    return None


def _by_digest(
    runtime: str, step: int, found: Arrays, digests: NDArray[np.uint8], bundle: Bundle
) -> Difference | None:
    for tensor, want in zip(bundle.manifest.state_names, digests, strict=True):
        if not np.array_equal(tensor_digest(found[tensor]), want):
            return Difference(runtime, step, tensor)
    return None


def _scores_after(
    bundle: Bundle, runtime: str, runner: Runner, golden: Arrays, step: int
) -> Difference | None:
    """`infer` at every batch size, against what was recorded after the last golden step."""
    x, wanted = golden["x"][-1], golden["infer"]
    for batch in bundle.manifest.batches("infer"):
        starts = range(0, len(x) // batch * batch, batch)
        found = np.concatenate([runner.infer(x[i : i + batch]) for i in starts])
        difference = _first(runtime, step, {"infer": found}, {"infer": wanted[: len(found)]})
        if difference is not None:
            return difference
    return None


def _outputs(
    bundle: Bundle, name: str, runner: Runner, reference: Runner, x: NDArray[np.int8], step: int
) -> Difference | None:
    """Every method at every batch size, after the last step."""
    state = reference.get_state()
    for method in bundle.manifest.methods:
        found, expected = (
            dict(_call(one, method.kind, x[: method.batch])) for one in (runner, reference)
        )
        difference = _first(name, step, found, expected)
        for one in (runner, reference):
            one.set_state(state)
        if difference is not None:
            return difference
    return None


def _call(runner: Runner, kind: str, x: NDArray[np.int8]) -> Iterator[tuple[str, NDArray[Any]]]:
    if kind == "infer":
        yield "infer", runner.infer(x)
    elif kind == "features":
        *seen, latent = runner.features(x)
        yield from ((f"features{i}", p) for i, p in enumerate(seen))
        yield "latent", latent
    else:
        y = np.zeros(len(x), np.int32)
        from_latent = kind == "train_from"
        given = runner.features(x)[-1] if from_latent else x
        scores, active = (runner.train_from if from_latent else runner.train)(given, y)
        yield from {"scores": scores, "active": active, **runner.get_state()}.items()
