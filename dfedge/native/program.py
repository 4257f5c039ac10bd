"""A plan and its state, ready to be called: one block of state, one arena for each kind of call."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.native.layout import block_of
from dfedge.native.library import check, check_layout, load
from dfedge.native.table import Table
from dfedge.plan import Plan

INFER, TRAIN, TRAIN_FROM, FEATURES = range(4)
"""Kinds of calls, as ``dfedge.h`` numbers them."""
CALLS = {"infer": INFER, "train": TRAIN, "features": FEATURES, "train_from": TRAIN_FROM}
"""By kind of method."""


class Program:
    """A net in the C interpreter, at any batch size.

    Attributes:
        plan, table: of the net.
        library: what computes.
        state: uint8, the block that training rewrites in place.
    """

    def __init__(self, plan: Plan, table: Table, library: ctypes.CDLL | None = None) -> None:
        self.plan, self.table = plan, table
        self.library = library or load()
        check_layout(self.library, table)
        self._words = table.words
        check(self.library.dfe_check(self._at(self._words)), lambda: "the native program")
        self.state = np.zeros(table.state_bytes, np.uint8)
        self._arena = np.empty(0, np.uint8)

    def block(self, state: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
        """A state as it lies in memory."""
        return block_of(self.table.tensors, state)

    def write(self, state: dict[str, NDArray[Any]]) -> None:
        """Overwrite the whole state.

        Raises:
            DfedgeError: a value that learning can never reach; the state is as it was.
        """
        self.state[:] = self.checked(state)

    def checked(self, state: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
        """As `block`.

        Raises:
            DfedgeError: a value that learning can never reach.
        """
        new = self.block(state)
        status = self.library.dfe_check_state(self._at(self._words), self._at(new))
        check(status, lambda: "the state")
        return new

    def read(self, block: NDArray[np.uint8] | None = None) -> dict[str, NDArray[Any]]:
        """A copy of the whole state, or of one as `block` gives it."""
        block = self.state if block is None else block
        return {
            name: block[tensor.offset : tensor.offset + tensor.bytes]
            .view(tensor.dtype)
            .reshape(tensor.shape)
            .copy()
            for name, tensor in self.table.tensors.items()
        }

    def arena_bytes(self, call: int, batch: int) -> int:
        """What a call needs beside the state.

        Raises:
            DfedgeError: it cannot be run at this batch size.
        """
        needs: int = self.library.dfe_arena_bytes(self._at(self._words), call, batch)
        check(-min(needs, 0), lambda: f"a call of {batch} samples")
        return needs

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K] of x [B, H, W, C]."""
        (scores,) = self.results(INFER, len(x))
        self._call("dfe_infer", INFER, x, scores)
        return scores

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32], latent: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of images, or of latents: scores before it [B, K], active samples [L]."""
        name, call = ("dfe_step_from", TRAIN_FROM) if latent else ("dfe_step", TRAIN)
        scores, active = self.results(call, len(x))
        labels = np.ascontiguousarray(y, np.int32)
        self._call(name, call, x, labels, scores, active)
        return scores, active

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, [B, d] a layer, then the latent."""
        seen, latent = self.results(FEATURES, len(x))
        self._call("dfe_features", FEATURES, x, seen, latent)
        return [*self.by_layer(seen, len(x)), latent]

    def results(self, call: int, batch: int) -> list[NDArray[Any]]:
        """What a call writes, empty: scores and active samples, or all features and the latent."""
        if call == FEATURES:
            seen = batch * sum(layer.features for layer in self.plan.layers)
            return [np.empty(seen, np.int8), np.empty((batch, *self.plan.latent_shape), np.int8)]
        scores = np.empty((batch, self.plan.classes), np.int32)
        return [scores] if call == INFER else [scores, np.empty(len(self.plan.layers), np.int32)]

    def by_layer(self, seen: NDArray[np.int8], batch: int) -> list[NDArray[np.int8]]:
        """What ``dfe_features`` wrote, [B, d] a layer."""
        ends = np.cumsum([batch * layer.features for layer in self.plan.layers])[:-1]
        return [part.reshape(batch, -1) for part in np.split(seen, ends)]

    def _call(self, name: str, call: int, x: NDArray[np.int8], *rest: NDArray[Any]) -> None:
        x = np.ascontiguousarray(x, np.int8)
        needs = self.arena_bytes(call, len(x))
        if needs > self._arena.nbytes:
            self._arena = np.empty(needs, np.uint8)
        given = [self._at(self._words), self._at(self.state), len(x), self._at(x)]
        given += [self._at(array) for array in rest]
        status = getattr(self.library, name)(*given, self._at(self._arena), self._arena.nbytes)
        check(status, lambda: f"{name} of {len(x)} samples")

    @staticmethod
    def _at(array: NDArray[Any]) -> int:
        return array.ctypes.data
