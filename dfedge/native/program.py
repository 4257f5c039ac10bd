"""A plan and its state, ready to be called: one block of state, an arena for each call under way.

Every call says how large its buffers are, so that C never reads or writes outside of one, whatever
a manifest says.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.native.layout import block_of
from dfedge.native.library import Buffer, Buffers, check, check_layout, load
from dfedge.native.table import ProgramTable
from dfedge.native.workers import Workers
from dfedge.plan import Plan

CACHE_LINE = 64
"""Bytes."""
INFER, TRAIN, TRAIN_FROM, FEATURES = range(4)
"""Kinds of calls, as ``dfedge.h`` numbers them."""
CALLS = {"infer": INFER, "train": TRAIN, "features": FEATURES, "train_from": TRAIN_FROM}
"""By kind of method."""
NAMES = {number: name for name, number in CALLS.items()}


class NativeProgram:
    """A net in the C interpreter, at any batch size.

    Several threads may infer and look at features at one time; who learns must be alone.

    Args:
        threads: that share the samples of a call which changes nothing; each has an arena.

    Attributes:
        plan, table: of the net.
        library: what computes.
        state: uint8, the block that training rewrites in place.
        kept: uint8, a trunk's weights once more, packed as the processor takes them; or None.
    """

    def __init__(
        self,
        plan: Plan,
        table: ProgramTable,
        library: ctypes.CDLL | None = None,
        threads: int = 1,
    ) -> None:
        self.plan, self.table = plan, table
        self._workers = Workers(threads)
        self.library = library or load()
        check_layout(self.library, table)
        self._words = table.words
        self._words.flags.writeable = False  # what is checked here stays as it is
        self._needs: dict[tuple[int, int], int] = {}
        check(self.library.dfe_check_sized(_buffer(self._words)), lambda: "the native program")
        self.state = np.zeros(table.state_bytes, np.uint8)
        self.kept = self._packed_trunk()
        self._kept_at = None if self.kept is None else self._at(self.kept)
        self._fixed = _buffer(self._words), _buffer(self.state)
        self._arenas: list[tuple[Buffer, NDArray[np.uint8]]] = []  # that no call has now
        self._largest = 0

    def _packed_trunk(self) -> NDArray[np.uint8] | None:
        if not self.table.frozen.operations or not hasattr(self.library, "dfe_keep"):
            return None
        room = np.zeros(self.library.dfe_kept_bytes(self._at(self._words)) + CACHE_LINE, np.uint8)
        kept = room[-room.ctypes.data % CACHE_LINE :][: room.nbytes - CACHE_LINE]
        self.library.dfe_keep(self._at(self._words), self._at(kept))
        return kept

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
        needs = self._needs.get((call, batch))
        if needs is None:
            found: int = self.library.dfe_arena_bytes(self._at(self._words), call, batch)
            check(-min(found, 0), lambda: f"a call of {batch} samples")
            needs = self._needs[call, batch] = found
        return needs

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K] of x [B, H, W, C]."""
        parts = self._workers.each(self._infer, x)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        (scores,) = self.results(INFER, len(x))
        self._call(INFER, x, None, scores)
        return scores

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32], latent: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch of images, or of latents: scores before it [B, K], active samples [L]."""
        call = TRAIN_FROM if latent else TRAIN
        scores, active = self.results(call, len(x))
        labels = np.ascontiguousarray(y, np.int32)
        self._call(call, x, labels, scores, active)
        return scores, active

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, [B, d] a layer, then the latent."""
        parts = self._workers.each(self._features, x)
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        seen, latent = self.results(FEATURES, len(x))
        self._call(FEATURES, x, None, seen, latent)
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

    def _call(
        self,
        call: int,
        x: NDArray[np.int8],
        y: NDArray[np.int32] | None,
        first: NDArray[Any],
        second: NDArray[Any] | None = None,
    ) -> None:
        """Run a call; ``first`` and ``second`` are overwritten.

        Raises:
            DfedgeError: inputs of another shape than the plan's, or refused by the interpreter.
        """
        wanted = self.plan.latent_shape if call == TRAIN_FROM else self.plan.input_shape
        if x.shape[1:] != tuple(wanted):
            raise DfedgeError(
                f"the native program: inputs [B, {', '.join(map(str, x.shape[1:]))}]; allowed: "
                f"[B, {', '.join(map(str, wanted))}]; export again"
            )
        x = np.ascontiguousarray(x, np.int8)
        arena = self._take_arena(self.arena_bytes(call, len(x)))
        given = Buffers(*self._fixed, *map(_buffer, (x, y, first, second)), arena[0])
        status = self.library.dfe_run_kept(call, len(x), ctypes.byref(given), self._kept_at)
        self._arenas.append(arena)
        check(status, lambda: f"{NAMES[call]} of {len(x)} samples")

    def _take_arena(self, needs: int) -> tuple[Buffer, NDArray[np.uint8]]:
        """One that no other call has; Python takes from a list, and gives back, in one step."""
        self._largest = max(self._largest, needs)  # calls of two kinds take turns in one
        try:
            arena = self._arenas.pop()
        except IndexError:
            pass
        else:
            if arena[1].nbytes >= needs:
                return arena
        room = np.empty(self._largest, np.uint8)
        return _buffer(room), room

    @staticmethod
    def _at(array: NDArray[Any]) -> int:
        return array.ctypes.data


def _buffer(array: NDArray[Any] | None) -> Buffer:
    return Buffer() if array is None else Buffer(array.ctypes.data, array.nbytes)
