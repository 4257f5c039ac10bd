"""Latent replay: samples kept as the first learning layer receives them, int8, within a budget.

The layers below are frozen, so a latent never grows stale and is not computed again.  New samples
and replayed ones are mixed and learned in steps of the batch's size.  (Pellegrini et al., arXiv
1912.01100.)  Which sample takes whose place is what `reservoir` and `balanced` differ in.
"""

import numpy as np
from numpy.typing import NDArray

from dfedge.continual.settings import StreamSettings
from dfedge.continual.strategies.strategy import Arrays, Inputs, Rows, Strategy
from dfedge.device.session import Session
from dfedge.errors import DfedgeError

LOST_BITS = 3
"""Of a 7-bit latent that is stored in 4."""


def pack(latents: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """int8 [B, ...] in 0..127 -> bytes [B, n]: as they are, or two values of four bits in each."""
    flat = latents.reshape(len(latents), -1).astype(np.uint8)
    if bits == 8:
        return flat
    short = np.pad(flat >> LOST_BITS, ((0, 0), (0, flat.shape[1] % 2)))
    return short[:, ::2] | short[:, 1::2] << 4


def unpack(stored: NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What `pack` stored; of four bits the middle of their range, and 0 as 0."""
    if bits == 8:
        return stored.astype(np.int8).reshape(len(stored), *shape)
    short = np.stack([stored & 15, stored >> 4], 2).reshape(len(stored), 2 * stored.shape[1])
    middle = (short << LOST_BITS) + (short > 0) * np.uint8(1 << LOST_BITS - 1)
    return middle[:, : int(np.prod(shape))].astype(np.int8).reshape(len(stored), *shape)


class Replay(Strategy):
    """See `dfedge.continual.strategies.Strategy`.

    Its steps give no scores: latents have none of the layers below, and others are among them.

    Attributes:
        latents: bytes [slots, n], as `pack` made them.
        rows: uint8 or uint16 [slots].
        held: slots that are filled.
        seen: samples offered so far, by row, int32 [K].
        instead: what else helps where not one sample fits.
    """

    instead = ", or export with --train-layers last:N for smaller latents"

    def __init__(self, session: Session, settings: StreamSettings) -> None:
        super().__init__(session, settings)
        plan = session.bundle.manifest.plan
        kind = np.uint8 if plan.classes <= 256 else np.uint16
        self.shape, self.bits = self.kept_shape(), settings.bits
        values = int(np.prod(self.shape))
        stored = values if self.bits == 8 else (values + 1) // 2
        each = stored + np.dtype(kind).itemsize
        slots = settings.budget // each
        if not slots:
            raise DfedgeError(
                f"a replay budget of {settings.budget:,} bytes holds no sample: one takes "
                f"{each:,}; give --budget {each} or more{self.instead}"
            )
        self.latents = np.zeros((slots, stored), np.uint8)
        self.rows = np.zeros(slots, kind)
        self.held = 0
        self.seen = np.zeros(plan.classes, np.int32)

    def kept_shape(self) -> tuple[int, ...]:
        """Of what is kept of a sample."""
        return self.session.bundle.manifest.plan.latent_shape

    def kept(self, q: Inputs) -> NDArray[np.int8]:
        """What is kept of samples, [B, *kept_shape], in 0..127."""
        return self.session.latents(q)

    def learn(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """New latents among replayed ones, then the new ones are offered to the memory."""
        new = self.kept(q)
        # Whole batches only, so that every step is one of the larger program.
        count = min(self.settings.replayed, self.held // len(q)) * len(q)
        again = rng.permutation(self.held)[:count]
        z = np.concatenate([new, unpack(self.latents[again], self.bits, self.shape)])
        y = np.concatenate([rows, self.rows[again].astype(np.int64)])
        order = rng.permutation(len(z))
        self.session.learn_latents(z[order], y[order])
        self._offer(new, rows, rng)

    def remember(self, q: Inputs, rows: Rows, rng: np.random.Generator) -> None:
        """Offer samples to the memory."""
        self._offer(self.kept(q), rows, rng)

    def _offer(self, latents: NDArray[np.int8], rows: Rows, rng: np.random.Generator) -> None:
        for latent, row in zip(pack(latents, self.bits), rows, strict=True):
            self.offer(latent, int(row), rng)

    def offer(self, latent: NDArray[np.uint8], row: int, rng: np.random.Generator) -> None:
        """Keep a packed sample, or not."""
        self.seen[row] += 1
        if self.held < len(self.latents):
            slot: int | None = self.held
            self.held += 1
        else:
            slot = self.slot(row, rng)
        if slot is not None:
            self.latents[slot], self.rows[slot] = latent, row

    def slot(self, row: int, rng: np.random.Generator) -> int | None:
        """Whose place a new sample of a row takes in a full memory; None: it is not kept."""
        raise NotImplementedError

    def arrays(self) -> Arrays:
        """The memory."""
        return {"latents": self.latents[: self.held], "rows": self.rows[: self.held],
                "seen": self.seen}  # fmt: skip

    def restore(self, arrays: Arrays) -> None:
        """The memory."""
        self.held = len(arrays["rows"])
        self.latents[: self.held], self.rows[: self.held] = arrays["latents"], arrays["rows"]
        self.seen = arrays["seen"].copy()
