"""The door of a stream: a sample that cannot be learned stops it, or is skipped and counted.

What a whole array is (its axes, its type) is judged by the rule of its kind of input; here single
samples are judged: values that no sample of that kind has, and labels that no class bears.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import DfedgeError, chosen

Policy = Literal["stop", "skip"]
LOG = logging.getLogger(__name__)


class SampleFilter:
    """What lets samples in.

    Attributes:
        policy: ``stop`` leaves every sample to the checks that raise; ``skip`` takes bad ones out.
        skipped: reason -> samples skipped.

    Raises:
        UsageError: no such policy.
    """

    def __init__(self, policy: str = "stop") -> None:
        known: tuple[Policy, ...] = get_args(Policy)
        self.policy: Policy = chosen("--on-bad-sample", policy, known)
        self.skipped = Counter[str]()

    def refuse(self, error: DfedgeError, reason: str, samples: int = 1) -> None:
        """Tell of samples that came to nothing: raises the error, or counts them."""
        if self.policy == "stop":
            raise error
        self.skipped[reason] += samples

    def refuse_class(self, name: str, known: Iterable[str], where: object, samples: int) -> None:
        """As `refuse`, of samples of a class that a model does not know."""
        error = DfedgeError(
            f"{where}: class '{name}' is unknown to the model; known: {', '.join(known)}"
        )
        self.refuse(error, "label", samples)

    def tell(self) -> None:
        """Log what was skipped."""
        for reason, count in self.skipped.items():
            LOG.info("skipped %d samples: %s", count, reason)

    def sift(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        classes: int,
        where: str,
        unusable: Callable[[NDArray[Any]], NDArray[np.bool_]],
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The samples [N, ...] and labels [N] that can be learned, if the policy is to skip.

        Args:
            unusable: which samples hold a value that none of their kind has
                (`dfedge.data.inputs.InputRule.unusable`).

        Raises:
            DfedgeError: samples of different shapes, which are no array.
        """
        x, y = as_array(x, where), as_array(y, f"labels of {where}")
        if self.policy == "stop" or not x.ndim or y.shape != x.shape[:1]:
            return x, y
        bad = {"value": unusable(x), "label": _bad_labels(y, classes)}
        taken = self.kept(bad)
        return x[taken], y[taken]

    def kept(self, bad: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Which samples are left, bool [N]; the others are counted, each once.

        Args:
            bad: reason -> the samples that it is of, bool [N].
        """
        taken = np.ones(len(next(iter(bad.values()))), bool)
        for reason, here in bad.items():
            self.skipped[reason] += int((here & taken).sum())
            taken &= ~here
        self.skipped = +self.skipped
        return taken


def as_array(values: Any, where: str) -> NDArray[Any]:
    """Whatever was given, as an array.

    Raises:
        DfedgeError: parts of different shapes.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DfedgeError(f"{where}: no array ({error}); all must have one shape") from error


def _bad_labels(y: NDArray[Any], classes: int) -> NDArray[np.bool_]:
    if not np.issubdtype(y.dtype, np.integer):
        return np.zeros(len(y), bool)
    return (y < 0) | (y >= classes)
