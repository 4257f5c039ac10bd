"""When to save, and a thread that saves beside the learning: a flush waits and computes nothing.

Saves are handed over one at a time; the next waits for the last.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dfedge.device.store.store import Store, StoredState


@dataclass(frozen=True)
class Saving:
    """Save after every so many steps, or as soon as so many seconds have passed.

    Attributes:
        steps: 0 saves at the end only.
        seconds: None watches no clock.
        clock: seconds from any start; one that goes backwards delays no save.
        stop: asked after every step: True saves and ends the job there.
    """

    steps: int = 50
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    stop: Callable[[], bool] = lambda: False


class Saver:
    """Saves into a store while its owner goes on.

    Args:
        watch: called with the presentations of every save that power can no longer undo.
    """

    def __init__(
        self, store: Store, saving: Saving, watch: Callable[[int], None] = lambda _: None
    ) -> None:
        self.store, self.saving, self.watch = store, saving, watch
        self.last = saving.clock()
        self._begin()

    def _begin(self) -> None:
        self.process = os.getpid()
        self.thread = ThreadPoolExecutor(1, "dfedge-save")
        self.pending: Future[None] | None = None

    def due(self, step: int) -> bool:
        """Whether to save after this step of the job (1 is its first)."""
        if self.saving.steps and step % self.saving.steps == 0:
            return True
        if self.saving.seconds is None:
            return False
        passed = self.saving.clock() - self.last
        return passed < 0 or passed >= self.saving.seconds

    def save(self, stored: StoredState) -> None:
        """Hand a state over; raises what the save before it raised."""
        self.wait()
        self.last = self.saving.clock()
        self.pending = self.thread.submit(self._save, stored)

    def wait(self) -> None:
        """Until what was handed over is on the medium; raises what its save raised."""
        if self.process != os.getpid():  # in a forked child there is no thread
            self._begin()
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread, once it is done."""
        self.thread.shutdown()

    def _save(self, stored: StoredState) -> None:
        self.store.save(stored)
        self.watch(stored.record.samples)
