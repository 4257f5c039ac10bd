"""Every runtime, step by step, against what the export recorded and against PyTorch.

All runtimes learn the same golden batches over and over.  After each step their scores and every
tensor of their state must equal the reference's, byte for byte: PyTorch's where torch is installed,
else what the bundle recorded of its first steps.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.runners import RUNTIMES, Runner, installed, open_runner
from dfedge.errors import UsageError, unknown_name
from dfedge.state import digest, tensor_digest

REFERENCE = "pytorch"
Watch = Callable[[str, int, int], None]


class Difference(msgspec.Struct, frozen=True):
    """The first integer of a runtime that is not the reference's.

    Attributes:
        step: 1 is the first training step.
        tensor: of the state, or ``scores``, ``active``, ``infer``, ``featuresI``, ``latent``.
        index, found, expected: None where only a digest of the tensor was recorded.
    """

    runtime: str
    step: int
    tensor: str
    index: list[int] | None
    found: int | None
    expected: int | None


class Verification(msgspec.Struct, frozen=True):
    """What was compared.

    Attributes:
        steps: training steps of every runtime that agreed to the end.
        runtimes: name -> SHA-256 of its last state.
        not_run: name -> why.
    """

    identical: bool
    steps: int
    runtimes: dict[str, str]
    not_run: dict[str, str]
    first_difference: Difference | None


def verify(
    bundle: Bundle, steps: int, runtimes: list[str] | None = None, watch: Watch = lambda *_: None
) -> Verification:
    """Replay ``steps`` golden batches.

    Raises:
        UsageError: an unknown runtime; more steps than were recorded where torch is missing.
        DfedgeError: a runtime that is not installed, or refuses the program.
    """
    wanted = runtimes or list(bundle.manifest.formats)
    for name in wanted:
        if name not in RUNTIMES:
            raise unknown_name("runtime", name, list(RUNTIMES))
    missing = [] if runtimes else [name for name in wanted if not installed(name)]
    golden = bundle.golden()
    if find_spec("torch") is None and steps > len(golden["x"]):
        raise UsageError(
            f"--steps {steps}: without torch only the {len(golden['x'])} recorded steps can be "
            "compared; pip install 'dfedge[train]' for more"
        )
    runners = {name: open_runner(bundle, name) for name in wanted if name not in missing}
    first: Difference | None = None
    reference = _reference(bundle)
    for number in range(steps):
        watch("verify", number, steps)
        x, y = (golden[name][number % len(golden["x"])] for name in ("x", "y"))
        recorded = number < len(golden["x"])
        expected = _learn(reference, x, y) if reference else {}
        if recorded:
            expected["scores"] = golden["scores"][number]
        differences = []
        for name, runner in runners.items():
            found = _learn(runner, x, y)
            one = _first(name, number + 1, found, expected)
            if one is None and recorded:
                one = _by_digest(name, number + 1, found, golden["digests"][number], bundle)
            differences += [one] if one else []
        for one in differences:
            first = first or one
            del runners[one.runtime]
    if reference is not None:
        for name, runner in list(runners.items()):
            one = _outputs(bundle, name, runner, reference, golden["x"][-1], steps)
            if one is not None:
                first = first or one
                del runners[name]
    watch("verify", steps, steps)
    hashes = {name: digest(runner.get_state()) for name, runner in runners.items()}
    if reference is not None:
        hashes[REFERENCE] = digest(reference.get_state())
    reasons = dict.fromkeys(missing, "not installed")
    return Verification(first is None, steps, hashes, reasons, first)


def _reference(bundle: Bundle) -> Runner | None:
    if find_spec("torch") is None:
        return None
    from dfedge.verify.reference import TorchRunner

    return TorchRunner(bundle)


def _learn(runner: Runner, x: NDArray[np.int8], y: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    scores, active = runner.train(x, y)
    return {"scores": scores, "active": active, **runner.get_state()}


def _first(
    runtime: str, step: int, found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]
) -> Difference | None:
    for tensor, want in expected.items():
        got = found[tensor]
        if not np.array_equal(got, want):
            index = [int(i[0]) for i in np.nonzero(np.atleast_1d(got != want))][: want.ndim]
            place = tuple(index)
            return Difference(runtime, step, tensor, index, int(got[place]), int(want[place]))
    return None


def _by_digest(
    runtime: str,
    step: int,
    found: dict[str, NDArray[Any]],
    digests: NDArray[np.uint8],
    bundle: Bundle,
) -> Difference | None:
    for tensor, want in zip(bundle.manifest.state_names, digests, strict=True):
        if not np.array_equal(tensor_digest(found[tensor]), want):
            return Difference(runtime, step, tensor, None, None, None)
    return None


def _outputs(
    bundle: Bundle, name: str, runner: Runner, reference: Runner, x: NDArray[np.int8], step: int
) -> Difference | None:
    """`infer`, `features` and `train_from` at every batch size, after the last step."""
    for method in bundle.manifest.methods:
        part = x[: method.batch]
        found, expected = (dict(_call(one, method.kind, part)) for one in (runner, reference))
        difference = _first(name, step, found, expected)
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
