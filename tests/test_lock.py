"""The lock of a session: who may be inside, in which order."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dfedge.device.lock import LockGuard, SharedLock, Waiting

SOON = 30.0


def waits_for(lock: SharedLock, count: int) -> None:
    """Until so many threads wait."""
    end = time.monotonic() + SOON
    while len(lock._queue) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


def inside(door: LockGuard, note: Callable[[], object]) -> None:
    with door:
        note()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as made:
        yield made


def test_those_who_share_are_inside_together(pool: ThreadPoolExecutor) -> None:
    lock, together = SharedLock(side_by_side=True), threading.Barrier(3)
    for done in [pool.submit(inside, lock.shared, lambda: together.wait(SOON)) for _ in range(3)]:
        done.result(SOON)


def test_where_nothing_runs_side_by_side_nobody_shares() -> None:
    lock = SharedLock(side_by_side=False)
    assert lock.shared is lock.alone


@pytest.mark.parametrize("side_by_side", [True, False])
def test_threads_enter_in_the_order_in_which_they_came(
    pool: ThreadPoolExecutor, side_by_side: bool
) -> None:
    """Also one that shares waits behind one that wants to be alone, though another shares now."""
    lock, order = SharedLock(side_by_side), []
    waiting: list[Future[None]] = []
    with lock.shared:
        for number, door in enumerate([lock.alone, lock.shared, lock.alone]):
            waiting.append(pool.submit(inside, door, lambda n=number: order.append(n)))
            waits_for(lock, number + 1)
        assert not order
    for done in waiting:
        done.result(SOON)
    assert order == [0, 1, 2]


def test_one_that_is_alone_keeps_all_others_out(pool: ThreadPoolExecutor) -> None:
    lock, count, most = SharedLock(side_by_side=True), [0], []

    def work() -> None:
        for number in range(200):
            with lock.shared if number % 3 else lock.alone:
                if number % 3 == 0:
                    now = count[0] = count[0] + 1
                    time.sleep(0)
                    most.append(count[0] == now)

    for done in [pool.submit(work) for _ in range(8)]:
        done.result(SOON)
    assert all(most)
    assert count[0] == 8 * 67


def test_a_thread_may_enter_again_where_it_is_inside(pool: ThreadPoolExecutor) -> None:
    lock = SharedLock(side_by_side=True)
    with lock.alone, lock.shared, lock.alone:
        waiting = pool.submit(inside, lock.shared, lambda: None)
        waits_for(lock, 1)
    waiting.result(SOON)
    with lock.shared:
        waiting = pool.submit(inside, lock.alone, lambda: None)
        waits_for(lock, 1)
        with lock.shared:  # behind nobody: the one who waits, waits for this thread
            assert not waiting.done()
        with pytest.raises(RuntimeError, match="cannot have it alone as well"), lock.alone:
            pass
    waiting.result(SOON)


def test_an_error_inside_leaves_the_lock_open(pool: ThreadPoolExecutor) -> None:
    lock = SharedLock(side_by_side=True)
    for door in (lock.alone, lock.shared):
        with pytest.raises(ValueError, match="wrong"), door:
            raise ValueError("wrong")
    pool.submit(inside, lock.alone, lambda: None).result(SOON)


@pytest.mark.parametrize("admitted", [True, False])
def test_an_interrupted_wait_holds_nobody_up(admitted: bool) -> None:
    """Interrupted while it waits, or just after its turn came."""
    lock = SharedLock(side_by_side=True)

    class Interrupted:
        def acquire(self) -> None:
            if admitted:
                lock._owner, lock._depth = threading.get_ident(), 1
                lock._queue.clear()
            raise KeyboardInterrupt

    waiting = Waiting(threading.get_ident(), alone=True, turn=Interrupted())
    lock._queue.append(waiting)
    with pytest.raises(KeyboardInterrupt):
        lock._wait(waiting)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(inside, lock.alone, lambda: None).result(SOON)
