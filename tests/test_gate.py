"""The lock of a session: who may be inside, in which order."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dfedge.device.gate import Door, Gate

SOON = 30.0


def waits_for(gate: Gate, count: int) -> None:
    """Until so many threads wait."""
    end = time.monotonic() + SOON
    while len(gate._queue) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


def inside(door: Door, note: Callable[[], object]) -> None:
    with door:
        note()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as made:
        yield made


def test_those_who_share_are_inside_together(pool: ThreadPoolExecutor) -> None:
    gate, together = Gate(side_by_side=True), threading.Barrier(3)
    for done in [pool.submit(inside, gate.shared, lambda: together.wait(SOON)) for _ in range(3)]:
        done.result(SOON)


def test_where_nothing_runs_side_by_side_nobody_shares() -> None:
    gate = Gate(side_by_side=False)
    assert gate.shared is gate.alone


@pytest.mark.parametrize("side_by_side", [True, False])
def test_threads_enter_in_the_order_in_which_they_came(
    pool: ThreadPoolExecutor, side_by_side: bool
) -> None:
    """Also one that shares waits behind one that wants to be alone, though another shares now."""
    gate, order = Gate(side_by_side), []
    waiting: list[Future[None]] = []
    with gate.shared:
        for number, door in enumerate([gate.alone, gate.shared, gate.alone]):
            waiting.append(pool.submit(inside, door, lambda n=number: order.append(n)))
            waits_for(gate, number + 1)
        assert not order
    for done in waiting:
        done.result(SOON)
    assert order == [0, 1, 2]


def test_one_that_is_alone_keeps_all_others_out(pool: ThreadPoolExecutor) -> None:
    gate, count, most = Gate(side_by_side=True), [0], []

    def work() -> None:
        for number in range(200):
            with gate.shared if number % 3 else gate.alone:
                if number % 3 == 0:
                    now = count[0] = count[0] + 1
                    time.sleep(0)
                    most.append(count[0] == now)

    for done in [pool.submit(work) for _ in range(8)]:
        done.result(SOON)
    assert all(most)
    assert count[0] == 8 * 67


def test_a_thread_may_enter_again_where_it_is_inside(pool: ThreadPoolExecutor) -> None:
    gate = Gate(side_by_side=True)
    with gate.alone, gate.shared, gate.alone:
        waiting = pool.submit(inside, gate.shared, lambda: None)
        waits_for(gate, 1)
    waiting.result(SOON)
    with gate.shared:
        waiting = pool.submit(inside, gate.alone, lambda: None)
        waits_for(gate, 1)
        with gate.shared:  # behind nobody: the one who waits, waits for this thread
            assert not waiting.done()
        with pytest.raises(RuntimeError, match="cannot have it alone as well"), gate.alone:
            pass
    waiting.result(SOON)


def test_an_error_inside_leaves_the_gate_open(pool: ThreadPoolExecutor) -> None:
    gate = Gate(side_by_side=True)
    for door in (gate.alone, gate.shared):
        with pytest.raises(ValueError, match="wrong"), door:
            raise ValueError("wrong")
    pool.submit(inside, gate.alone, lambda: None).result(SOON)


@pytest.mark.parametrize("admitted", [True, False])
def test_an_interrupted_wait_holds_nobody_up(admitted: bool) -> None:
    """Interrupted while it waits, or just after its turn came."""
    gate = Gate(side_by_side=True)

    class Interrupted:
        def acquire(self) -> None:
            if admitted:
                gate._owner, gate._depth = threading.get_ident(), 1
                gate._queue.clear()
            raise KeyboardInterrupt

    waiting = gate._queued(threading.get_ident(), alone=True)
    object.__setattr__(waiting, "turn", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        gate._wait(waiting)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(inside, gate.alone, lambda: None).result(SOON)
