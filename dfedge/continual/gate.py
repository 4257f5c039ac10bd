"""The margin gate: a sample that the whole net keeps its margin on is not learned.

With y the label, k* the strongest live wrong class and D_l the squared distance of their anchors in
layer l, a sample passes where

    16 (score_k* - score_y) + sum_l margin_l D_l 2^score_shift_l > 0        over the counted layers,

the sum over layers of what the program asks of each layer alone (`dfedge.int8`).  Inside the
program every layer still keeps its own gate.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.device.session import Session

UNIT = 16
"""Of a margin (`dfedge.int8.ops.values.MARGIN_UNIT`)."""
REFRESH = 16
"""Steps between two looks at the anchors."""


class Gate:
    """Which samples of a batch violate the margin."""

    def __init__(self, session: Session) -> None:
        self.session, self.age = session, REFRESH
        classes = session.bundle.manifest.plan.classes
        self.margins = np.zeros((classes, classes), np.int64)

    def passes(self, scores: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The violating samples, bool [B], by scores [B, K] and rows [B]."""
        if self.age >= REFRESH:
            self.margins, self.age = self._measure(), 0
        self.age += 1
        each = np.arange(len(rows))
        rivals = scores.astype(np.int64)
        own = rivals[each, rows]
        rivals[each, rows] = np.iinfo(np.int64).min
        best = rivals.argmax(1)
        return UNIT * (rivals[each, best] - own) + self.margins[rows, best] > 0

    def refresh(self) -> None:
        """Look again before the next batch: a class was added, or a state taken back."""
        self.age = REFRESH

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """What a checkpoint keeps."""
        return {"margins": self.margins, "age": np.array(self.age, np.int64)}

    def restore(self, arrays: dict[str, NDArray[np.int64]]) -> None:
        """Take `arrays` back."""
        self.margins, self.age = arrays["margins"], int(arrays["age"])

    def _measure(self) -> NDArray[np.int64]:
        """The margin of every pair of classes, int64 [K, K]."""
        plan, state = self.session.bundle.manifest.plan, self.session.runner.get_state()
        total = np.zeros((plan.classes, plan.classes), np.int64)
        for i, layer in enumerate(plan.layers):
            if layer.counted:
                a = state[f"layer{i}.anchors"].astype(np.int64)
                squares = (a * a).sum(1)
                apart = squares[:, None] + squares - 2 * a @ a.T
                total += layer.margin * apart << layer.score_shift
        return total
