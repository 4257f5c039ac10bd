"""What a frozen trunk makes of a sample is computed once: a second pass begins behind the trunk.

The trunk never changes, so a step from latents ends in the bytes of a step from images, and costs
what the learning layers cost.  Latents are kept in memory only, by the SHA-256 of their inputs,
until `MOST_BYTES` are held.
"""

from collections.abc import Iterator
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device.batches import parts
from dfedge.operations import Convolution
from dfedge.plan import Conv, Plan
from dfedge.trunk import Trunk

MOST_BYTES = 1 << 24
"""Of latents that are kept; later ones are computed anew."""
ENTRY = 250
"""Bytes that Python needs to keep one, beside its values: measured at 1,000 latents of 64 bytes."""
WORTH = 4
"""Times the work of the layers that learn, which see a new sample twice: what the trunk must be."""


class LatentRunner:
    """See `dfedge.device.runners.Runner`; whatever else the inner runner has is reached as its own.

    Attributes:
        inner: what runs.
        held: latents, by the SHA-256 of their input.
    """

    def __init__(self, inner: Any, bundle: Bundle) -> None:
        self.inner = inner
        self.held: dict[bytes, NDArray[np.int8]] = {}
        self._room = MOST_BYTES
        self._sizes = bundle.manifest.batches("features")
        self._where = f"{bundle.folder}: its programs for features"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch: scores [B, K] before it, active samples [L]."""
        found: tuple[NDArray[np.int32], NDArray[np.int32]] = self.inner.train_from(
            self.latents(x), y
        )
        return found

    def latents(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Of inputs [B, H, W, C]: int8 [B, *plan.latent_shape]."""
        x = np.ascontiguousarray(x)
        keys = [sha256(one).digest() for one in x]
        new = [i for i, key in enumerate(keys) if key not in self.held]
        if 1 not in self._sizes and new:
            new = [*range(len(x))]  # a program of this batch alone
        made = {keys[i]: latent for i, latent in zip(new, self._made(x[new]), strict=True)}
        for key, latent in made.items():
            if key not in self.held and self._room >= latent.nbytes + ENTRY:
                self.held[key] = latent.copy()
                self._room -= latent.nbytes + ENTRY
        return np.stack([made[key] if key in made else self.held[key] for key in keys])

    def _made(self, x: NDArray[np.int8]) -> Iterator[NDArray[np.int8]]:
        """Latents of these, one after the other."""
        for part in parts(self._sizes, len(x), self._where):
            yield from self.inner.features(x[part])[-1]


def with_latents(runner: Any, bundle: Bundle) -> Any:
    """The runner, or one that keeps latents where that gives the same bytes and is worth it."""
    manifest, plan = bundle.manifest, bundle.manifest.plan
    frozen, learning = plan.layers[: plan.cut], plan.layers[plan.cut :]
    whole = plan.trunk is not None and not any(layer.counted for layer in frozen)
    has = all(
        set(manifest.batches("train")) <= set(manifest.batches(kind))
        for kind in ("train_from", "features")
    )
    below = trunk_products(plan) + sum(products(conv) for one in frozen for conv in one.convs)
    above = sum(products(conv) for layer in learning for conv in layer.convs)
    return LatentRunner(runner, bundle) if whole and has and below >= WORTH * above else runner


def products(conv: Conv) -> int:
    """Multiply-accumulates of one sample."""
    return prod(conv.output) * conv.taps * (1 if conv.depthwise else conv.in_channels)


def trunk_products(plan: Plan) -> int:
    """Those of the trunk's convolutions."""
    trunk: Trunk | None = plan.trunk
    if trunk is None:
        return 0
    return sum(
        prod(one.shape) * prod(one.kernel) * (trunk.shapes[one.reads[0]][2] // one.group_count)
        for one in trunk.operations
        if isinstance(one, Convolution)
    )
