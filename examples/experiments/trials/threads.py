"""One session, many threads: what it answers and learns is what one thread alone could have.

Threads predict, learn, save and digest at once.  The changes are logged in the order in which they
happened, and one thread repeats them in another session.  Both must end in the same state, every
answer must have been right at some moment of its call, and every state on the medium must be one
that was there.
"""

import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.device import store
from dfedge.device.care import Care
from dfedge.device.session import Session
from dfedge.state import digest

THREADS = 8
IMAGES = 6
"""Predicted in a call."""
WAIT_S = 7200
"""For a thread: a deadlock ends in an error."""
Images = NDArray[np.uint8]


@dataclass
class Log:
    """What was done to a session in the order in which it was done, and what was seen between.

    Attributes:
        changes: what `Session.learn_batch` was given; of a save nothing.
        seen: first and last number of changes between which scores were asked for, and the scores.
        saved: digests of states that were found on the medium after a save.
    """

    changes: list[tuple[Any, ...]] = field(default_factory=list)
    seen: list[tuple[int, int, NDArray[np.int32]]] = field(default_factory=list)
    saved: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Compared:
    """What became of mixed calls.

    Attributes:
        answers, changes: how many predictions and changes there were.
        wrong: answers that were right at no moment of their calls.
        same_state: one thread that makes the same changes ends in the same state and record.
        strange: states on the medium that one thread never had.
    """

    answers: int
    changes: int
    wrong: int
    same_state: bool
    strange: int

    @property
    def faults(self) -> int:
        """Of all kinds."""
        return self.wrong + self.strange + (not self.same_state)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What every thread gives; all begin at one moment, the interpreter changes threads often."""
    begin, interval = threading.Barrier(threads), sys.getswitchinterval()

    def one(number: int) -> Any:
        begin.wait(60)
        return work(number)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return [done.result(WAIT_S) for done in [pool.submit(one, n) for n in range(threads)]]
    finally:
        sys.setswitchinterval(interval)


def samples(bundle: Bundle) -> tuple[Images, NDArray[np.int64]]:
    """Images uint8 [n, H, W, C] that the bundle knows, and their rows."""
    x, y = bundle.known()["judge.x"], bundle.known()["judge.y"]
    images: Images = np.left_shift(x.astype(np.uint8), 1)[:64]
    return images, np.asarray(y[:64], np.int64)


def compare(bundle: Bundle, runtime: str, folder: Path, care: Care, calls: int) -> Compared:
    """Make mixed calls and repeat their changes, in two sessions below ``folder``."""
    log, (x, y) = Log(), samples(bundle)
    session = _watched(Session.open(bundle, runtime, folder / "many", care=care), log)
    _mix(session, log, x, y, calls)
    alone = Session.open(bundle, runtime, folder / "one", care=care)
    answers, saved = [alone.scores(x[:IMAGES])], set()
    for given in log.changes:
        if given:
            alone.learn_batch(*given)
        else:
            alone.save()
            saved.add(alone.digest())
        answers.append(alone.scores(x[:IMAGES]))
    wrong = sum(
        not any(np.array_equal(scores, one) for one in answers[first : last + 1])
        for first, last, scores in log.seen
    )
    same = session.digest() == alone.digest() and session.record == alone.record
    return Compared(len(log.seen), len(log.changes), wrong, same, len(log.saved - saved))


def _watched(session: Session, log: Log) -> Session:
    """Log what changes the session where it happens: other threads are kept out there."""
    learn, judged = session.learn_batch, session._judged

    def learn_batch(*given: Any) -> Any:
        with session.lock.alone:
            lesson = learn(*given)
            log.changes.append(given)
        return lesson

    def save() -> Any:
        with session.lock.alone:
            stored = judged()
            log.changes.append(())
        return stored

    vars(session).update(learn_batch=learn_batch, _judged=save)
    return session


def _mix(session: Session, log: Log, x: Images, y: NDArray[np.int64], calls: int) -> None:
    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(calls // THREADS):
            throw, i = dice.random(), dice.randrange(len(x))
            if throw < 0.6:
                first = len(log.changes)
                scores = session.scores(x[:IMAGES])
                log.seen.append((first, len(log.changes), scores))
            elif throw < 0.94:
                session.learn(x[i], int(y[i]))
            elif throw < 0.96:
                session.save()
                kept = store.Store(session.folder, read_only=True).load(session.bundle)
                assert kept is not None
                log.saved.add(digest(kept.state))
            else:
                session.digest()

    at_once(work)
