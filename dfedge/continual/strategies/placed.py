"""Anchors placed among what is remembered: no weight moves, and replay costs no step.

What the counted layers see of samples is kept as `balanced` keeps latents.  At the end of each
experience the anchors of the remembered classes begin at their means and move down the gradient of
cross-entropy (`dfedge.continual.placing.among`): a softmax regression on features that do not
change, in integers.  Until then a new class stands where its first samples were.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.continual.placing import Seen, among
from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.balanced import Balanced
from dfedge.continual.strategies.replay import unpack
from dfedge.continual.strategies.strategy import Inputs, Rows
from dfedge.device.session import Session


class Placed(Balanced):
    """See `dfedge.continual.strategies.replay`.

    Attributes:
        counted: the layers that have a say in a score.
    """

    instead = ""

    def __init__(self, session: Session, settings: StreamSettings) -> None:
        layers = session.bundle.manifest.plan.layers
        self.counted = {i: layer for i, layer in enumerate(layers) if layer.counted}
        super().__init__(session, settings)

    def kept_shape(self) -> tuple[int, ...]:
        """Features of the counted layers, one after the other."""
        return (sum(layer.features for layer in self.counted.values()),)

    def kept(self, q: Inputs) -> NDArray[np.int8]:
        """What the counted layers see."""
        parts = [[seen[i] for i in self.counted] for _, seen, _ in self.session.seen(q)]
        return np.concatenate([np.concatenate(part, 1) for part in parts])

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Remember them, or not."""
        self.remember(q, rows, rng)

    def end(self) -> None:
        """Place the anchors of the classes that are remembered."""
        if not self.held:
            return
        session, state = self.session, self.session.runner.get_state()
        values = unpack(self.latents[: self.held], self.bits, self.shape)
        ends = np.cumsum([layer.features for layer in self.counted.values()])[:-1]
        parts = dict(zip(self.counted, np.split(values.astype(float), ends, 1), strict=True))
        says = [i for i in parts if state[f"layer{i}.anchors"].any()]
        shifts = {i: self.counted[i].score_shift for i in says}
        seen = Seen({i: parts[i] for i in says}, shifts, self.rows[: self.held].astype(np.int64))
        session.runner.set_state(among(state, seen))
