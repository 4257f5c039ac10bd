"""Who may be inside a session: threads that only read it, side by side, or one that changes it.

They enter in the order in which they came: a camera that predicts without a pause keeps nobody
waiting who teaches, nor the other way round.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LockGuard:
    """One way through a lock, for ``with``."""

    enter: Callable[[], None]
    leave: Callable[[], None]

    def __enter__(self) -> None:
        self.enter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A thread in the queue: its turn comes when the lock is released."""

    thread: int
    alone: bool
    turn: threading.Lock = field(default_factory=threading.Lock)


class SharedLock:
    """A lock of two kinds; a thread may pass again through the door that it came by.

    Attributes:
        alone: nobody else is inside.  Within it ``shared`` may be entered too.
        shared: others that share may be inside.  Within it ``alone`` raises RuntimeError: two
            threads would wait for each other.

    Args:
        side_by_side: False lets nobody share: ``shared`` is ``alone``.
    """

    def __init__(self, side_by_side: bool) -> None:
        self._mutex = threading.RLock()  # not a Lock: a signal's handler may come in meanwhile
        self._queue: deque[Waiting] = deque()
        self._readers: dict[int, int] = {}  # thread -> how often it entered
        self._owner: int | None = None
        self._depth = 0
        self.alone = LockGuard(partial(self._enter, True), self._leave)
        self.shared = (
            LockGuard(partial(self._enter, False), self._leave) if side_by_side else self.alone
        )
        _LOCKS.add(self)

    def _enter(self, alone: bool) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._owner == me:
                self._depth += 1
                return
            if me in self._readers:
                if not alone:
                    self._readers[me] += 1
                    return
                raise RuntimeError("a thread that shares the session cannot have it alone as well")
            if not self._queue and self._may_enter(alone):
                self._let_in(me, alone)
                return
            waiting = Waiting(me, alone)
            waiting.turn.acquire()
            self._queue.append(waiting)
        self._wait(waiting)

    def _may_enter(self, alone: bool) -> bool:
        return self._owner is None and not (alone and self._readers)

    def _let_in(self, thread: int, alone: bool) -> None:
        if alone:
            self._owner, self._depth = thread, 1
        else:
            self._readers[thread] = 1

    def _wait(self, waiting: Waiting) -> None:
        try:
            waiting.turn.acquire()
        except BaseException:  # the user's interrupt: whoever comes next must not wait for us
            with self._mutex:
                if waiting in self._queue:
                    self._queue.remove(waiting)
                    self._admit()
                else:
                    self._leave()
            raise

    def _leave(self) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._owner == me:
                self._depth -= 1
                if self._depth:
                    return
                self._owner = None
            elif self._readers[me] > 1:
                self._readers[me] -= 1
                return
            else:
                del self._readers[me]
            self._admit()

    def _admit(self) -> None:
        """Hand over to whoever waits first, and to those after it who may be inside as well."""
        while self._queue and self._may_enter(self._queue[0].alone):
            first = self._queue.popleft()
            self._let_in(first.thread, first.alone)
            first.turn.release()

    def forget_others(self) -> None:
        """In a forked child, whose only thread is the one that forked, alone inside."""
        self._mutex = threading.RLock()
        self._queue.clear()


class Locked(Protocol):
    """What has a lock: a session."""

    @property
    def lock(self) -> SharedLock:
        """Of the state that it changes."""


L = TypeVar("L", bound=Locked)


def alone(change: Callable[Concatenate[L, P], T]) -> Callable[Concatenate[L, P], T]:
    """Let a function have its first argument, a session, alone: to other threads it is one step."""

    @wraps(change)
    def changed(session: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with session.lock.alone:
            return change(session, *args, **kwargs)

    return changed


# A fork copies a state half-way through a step, and locks whose threads stay behind: so a fork
# waits until it is alone inside every lock.
_LOCKS: WeakSet[SharedLock] = WeakSet()
_FORKING = threading.RLock()
_held: list[SharedLock] = []


def _before_fork() -> None:
    _FORKING.acquire()
    for lock in list(_LOCKS):
        lock.alone.enter()
        _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().alone.leave()
    _FORKING.release()


def _after_fork_in_child() -> None:
    for lock in _held:
        lock.forget_others()
    _after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)
