"""How far from normal a sample is: an integer, the same in every runtime and in C.

A bundle that learned what is normal has a mode of normal operation for each class.  With p what a
layer's anchors see and A_k those of mode k,

    distance = min over live k of  sum over the layers that count of  |p - A_k|^2 2^score_shift

which is the sum of |p|^2 of these layers, shifted likewise, less the highest of the scores that
`infer` gives.  So the programs are those of any bundle: p comes from their method `features`.  A
sample is normal up to the manifest's threshold (C: ``dfe_distance`` of `native/src/normal.h`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data.dataset import Labels
from dfedge.data.judged import Judgeable
from dfedge.data.ranking import area_under_curve
from dfedge.device.session import Session
from dfedge.errors import UsageError
from dfedge.manifest import Threshold
from dfedge.plan import Plan

FARTHEST = (1 << 63) - 1
"""Of a mode that is not live."""


def squared(p: NDArray[np.int8], q: NDArray[np.int8]) -> int:
    """Squared distance of two rows int8 [d]."""
    by = p.astype(np.int64) - q
    return int((by * by).sum())


def distances(
    plan: Plan, state: Mapping[str, NDArray[Any]], seen: Sequence[NDArray[np.int8]]
) -> NDArray[np.int64]:
    """Distance to every mode, int64 [B, K], of what anchors see, int8 [B, d] a layer."""
    total = np.zeros((len(seen[0]), plan.classes), np.int64)
    for i, (layer, p) in enumerate(zip(plan.layers, seen, strict=True)):
        if layer.counted:
            p, anchors = p.astype(np.float64), state[f"layer{i}.anchors"].astype(np.float64)
            # Sums of whole numbers below 2^53 are exact, in any order.
            far = (p * p).sum(1)[:, None] - 2 * p @ anchors.T + (anchors * anchors).sum(1)
            total += far.astype(np.int64) << layer.score_shift
    return np.where(state["live"] != 0, total, FARTHEST)


@dataclass(frozen=True)
class NormalDistance:
    """What is said of samples: distance to the nearest mode int64 [N], and that mode int64 [N]."""

    distance: NDArray[np.int64]
    mode: Labels
    threshold: int

    @property
    def normal(self) -> NDArray[np.bool_]:
        """Which are normal."""
        return self.distance <= self.threshold

    def far(self, i: int) -> float:
        """Distance of sample i as a multiple of the farthest that is normal."""
        return self.times(int(self.distance[i]))

    def times(self, squared: int) -> float:
        """How many times as far as the threshold a squared distance is."""
        return math.sqrt(squared / max(self.threshold, 1))

    def says(self, i: int) -> str:
        """Sample i in words."""
        if self.normal[i]:
            return f"normal ({self.far(i):.2f} of the threshold)"
        return f"not normal: {self.far(i):.1f} times as far as the threshold"

    def row(self, i: int) -> dict[str, Any]:
        """Sample i for machines."""
        return {
            "normal": bool(self.normal[i]),
            "distance": int(self.distance[i]),
            "threshold": self.threshold,
            "far": round(self.far(i), 4),
            "mode": int(self.mode[i]),
        }


def threshold_of(bundle: Bundle) -> Threshold:
    """What a bundle says is still normal.

    Raises:
        UsageError: it tells classes apart, and does not know what is normal.
    """
    found = bundle.manifest.normal
    if found is None:
        raise UsageError(
            f"{bundle.folder} was not trained to tell what is normal; train with --task normal, "
            "then export"
        )
    return found


def judge(session: Session, q: NDArray[np.int8]) -> NormalDistance:
    """How far inputs q int8 [N, H, W, C] are from normal, in the state of this moment.

    Raises:
        UsageError: the bundle does not know what is normal.
    """
    threshold = threshold_of(session.bundle).distance
    with session.lock.alone:
        state = session.runner.get_state()
        plan = session.bundle.manifest.plan
        parts = [distances(plan, state, seen) for _, seen, _ in session.seen(q)]
    found = np.concatenate(parts) if parts else np.zeros((0, plan.classes), np.int64)
    return NormalDistance(found.min(1), found.argmin(1), threshold)


@dataclass(frozen=True)
class NormalEvaluation:
    """How well a bundle tells normal samples from others.

    Attributes:
        normal, anomalies: how many samples of each there were.
        false_alarms: of the normal ones, the fraction that was taken for none; None: there was no
            normal one.
        detected: of the anomalies, the fraction that was found; None: none is labelled.
        area: under the curve of the distance (`area_under_curve`); None: one kind is missing.
    """

    normal: int
    anomalies: int
    false_alarms: float | None
    detected: float | None
    area: float | None


CHUNK = 256


def evaluate_normal(
    session: Session, data: Judgeable, watch: Callable[[int, int], None] = lambda *_: None
) -> NormalEvaluation:
    """Judge every sample.

    Raises:
        UsageError: the bundle does not know what is normal.
    """
    threshold, parts = threshold_of(session.bundle).distance, []
    for start in range(0, len(data), CHUNK):
        parts.append(judge(session, session.input(data.x[start : start + CHUNK])).distance)
        watch(min(start + CHUNK, len(data)), len(data))
    far = np.concatenate(parts)
    return evaluation(far[~data.anomalous], far[data.anomalous], threshold)


def evaluation(
    normal: NDArray[np.int64], odd: NDArray[np.int64], threshold: int
) -> NormalEvaluation:
    """Of the distances of normal samples and of anomalies."""
    alarms, found = (float((far > threshold).mean()) if len(far) else None for far in (normal, odd))
    area = area_under_curve(normal, odd) if len(normal) and len(odd) else None
    return NormalEvaluation(len(normal), len(odd), alarms, found, area)
