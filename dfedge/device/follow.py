"""Following a slow drift without labels: a sample that is normal teaches its nearest mode.

Of each such sample, in the order of arrival, with p what a layer's anchors see and A_k the anchors
of the nearest mode, in every layer that counts:

    A_k <- clamp(A_k + R(p - A_k, RATE))

R is the dithered rounding of updates (`dfedge.int8`), by the same places and phase, so that C does
the same to the bit (``dfe_follow``).  Weights stay, so nothing that the net tells apart is lost.

What guards it: a sample beyond the threshold teaches nothing, and a mode moves no farther than
`REACH` times the threshold from where the bundle had it.  A training step of the program would not
follow: it moves what violates a margin, and modes that drift together violate none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dfedge import dither
from dfedge.device.lock import alone
from dfedge.device.normal import NormalDistance, distances, squared, threshold_of
from dfedge.device.session import Session
from dfedge.dither import BITS, GOLDEN, MASK
from dfedge.native.normal import NormalRule, rule_of
from dfedge.plan import Plan
from dfedge.state import State

LATTICE = dither.LATTICE[-2:]
"""Over rows and features."""
MOST = 127


@dataclass(frozen=True)
class Followed:
    """What following made of samples, each judged before it taught.

    Attributes:
        taught: which did, bool [N].
        moved: how many times as far as the threshold that mode is from its place in the bundle
            which has moved most.
    """

    judged: NormalDistance
    taught: NDArray[np.bool_]
    moved: float


class Follower:
    """A state whose anchors follow.

    Attributes:
        state: its anchors and its phase are this object's own.
        first: the bundle's.
    """

    def __init__(self, plan: Plan, rule: NormalRule, first: State, state: State) -> None:
        self.plan, self.rule, self.first = plan, rule, first
        self.counted = [i for i, layer in enumerate(plan.layers) if layer.counted]
        own = [*(f"layer{i}.anchors" for i in self.counted), "phase"]
        self.state: dict[str, NDArray[Any]] = {**state, **{n: np.array(state[n]) for n in own}}

    def moved(self, mode: int) -> int:
        """Squared distance of a mode from its place in the bundle."""
        total = 0
        for i in self.counted:
            here, there = (one[f"layer{i}.anchors"][mode] for one in (self.state, self.first))
            total += squared(here, there) << self.plan.layers[i].score_shift
        return total

    def see(self, seen: list[NDArray[np.int8]]) -> tuple[int, int, bool]:
        """Distance, mode, and whether it taught, of one sample: int8 [1, d] a layer."""
        far = distances(self.plan, self.state, seen)[0]
        mode, distance = int(far.argmin()), int(far.min())
        teaches = distance <= self.rule.threshold and self.moved(mode) <= self.rule.reach
        if teaches:
            phase = int(self.state["phase"])
            for i in self.counted:
                self._move(self.state[f"layer{i}.anchors"][mode], seen[i][0], mode, phase)
            self.state["phase"][...] = phase + GOLDEN & MASK
        return distance, mode, teaches

    def _move(self, anchors: NDArray[np.int8], p: NDArray[np.int8], mode: int, phase: int) -> None:
        by, rate = p.astype(np.int64) - anchors, self.rule.rate
        place = phase + mode * LATTICE[0] + np.arange(len(by)) * LATTICE[1] & MASK
        moved = anchors + np.sign(by) * (np.abs(by) + (place >> BITS - rate) >> rate)
        anchors[:] = np.clip(moved, 0, MOST)


@alone
def follow(
    session: Session, q: NDArray[np.int8], watch: Callable[[int, int], None] = lambda *_: None
) -> Followed:
    """Judge inputs q int8 [N, H, W, C] one after the other; those that are normal teach.

    Nothing is saved.

    Raises:
        UsageError: the bundle does not know what is normal.
    """
    threshold = threshold_of(session.bundle).distance
    session.settle()
    plan, now = session.bundle.manifest.plan, session.runner.get_state()
    first, own = session.bundle.initial_state(), len(session.bundle.manifest.classes)
    for name in (f"layer{i}.anchors" for i in range(len(plan.layers))):
        first[name][own:] = now[name][own:]  # of a mode that was added here: from now on
    follower = Follower(plan, rule_of(threshold), first, now)
    rows = []
    for _, seen, _ in session.seen(q):
        rows += [follower.see([p[b : b + 1] for p in seen]) for b in range(len(seen[0]))]
        watch(len(rows), len(q))
    session.runner.set_state(follower.state)
    far, mode, taught = (np.array([row[i] for row in rows]) for i in range(3))
    record = session.record
    session.record = msgspec.structs.replace(record, samples=record.samples + int(taught.sum()))
    judged = NormalDistance(far.astype(np.int64), mode.astype(np.int64), threshold)
    most = max(follower.moved(k) for k in range(len(session.classes)))
    return Followed(judged, taught.astype(bool), judged.times(most))
