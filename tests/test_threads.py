"""One session in many threads: what it answers and learns is what one thread alone could have."""

import random
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from test_device import digits, job
from trials.threads import at_once, compare, samples

from dfedge.bundle import Bundle
from dfedge.device.care import NO_CARE, Care
from dfedge.device.classes import add_class
from dfedge.device.finetune import finetune
from dfedge.device.rates import set_rates
from dfedge.device.runners import Runner, open_runner
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.native.glue import Glue
from dfedge.native.rendering import exactly
from dfedge.runtimes import NATIVE, formats

EVERY = [*formats(), NATIVE]


@pytest.mark.parametrize("runtime", EVERY)
def test_predictions_of_many_threads_are_those_of_one(
    bundle: Bundle, tmp_path: Path, runtime: str
) -> None:
    session = Session.open(bundle, exactly(runtime), tmp_path / "state")
    x, _ = samples(bundle)
    rng = np.random.default_rng(0)
    given = [x[rng.integers(0, len(x), rng.integers(1, 40))] for _ in range(20)]
    scores = [session.scores(part) for part in given]
    seen = [np.concatenate([p[-1] for _, p in session.features(part)]) for part in given]

    def work(number: int) -> bool:
        right = True
        for i in random.Random(number).sample(range(len(given)), len(given)):
            right &= np.array_equal(session.scores(given[i]), scores[i])
            found = np.concatenate([p[-1] for _, p in session.features(given[i])])
            right &= np.array_equal(found, seen[i])
        return right

    assert all(at_once(work))


@pytest.mark.parametrize("runtime", EVERY)
def test_a_session_of_several_threads_answers_and_learns_the_bytes_of_one(
    bundle: Bundle, tmp_path: Path, runtime: str
) -> None:
    split, found = digits(bundle, "stream"), []
    for threads in (1, 3):
        session = Session.open(bundle, exactly(runtime), tmp_path / str(threads), threads=threads)
        finetune(session, split, job(160))
        x = samples(bundle)[0][:37]
        seen = [np.concatenate(list(parts), 1) for _, parts in session.features(x)]
        found.append(
            (session.digest(), session.scores(x).tobytes(), *map(np.ndarray.tobytes, seen))
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_threads_than_samples_and_a_forked_child_compute_the_same(
    bundle: Bundle, count: int
) -> None:
    one, several = (open_runner(bundle, "native", threads) for threads in (1, 4))
    x = samples(bundle)[0][:count]
    x = np.zeros((count, *bundle.manifest.plan.input_shape), np.int8) + x[0, 0, 0] % 100
    wanted = one.infer(x)
    assert np.array_equal(several.infer(x), wanted)
    with ProcessPoolExecutor(1, get_context("fork"), initializer=_inherit, initargs=[several]) as p:
        assert np.array_equal(p.submit(_infer, x).result(60), wanted)


def _inherit(runner: Runner) -> None:
    globals()["inherited"] = runner


def _infer(x: np.ndarray) -> np.ndarray:
    return inherited.infer(x)  # type: ignore[name-defined, no-any-return] # noqa: F821


@pytest.mark.parametrize("care", [Care(), NO_CARE], ids=["care", "no-care"])
@pytest.mark.parametrize("runtime", EVERY)
def test_mixed_calls_of_many_threads_are_those_of_one_in_some_order(
    bundle: Bundle, tmp_path: Path, runtime: str, care: Care
) -> None:
    """10,000 on each: examples/experiments/threads.py."""
    found = compare(bundle, exactly(runtime), tmp_path, care, 240)
    assert found.answers and found.changes > 240 // 16
    assert found.faults == 0, found


def test_a_job_beside_predictions_ends_in_the_bytes_of_one_alone(
    bundle: Bundle, tmp_path: Path
) -> None:
    """And one beside lessons, saves and a new class loses none of them."""
    split, (x, _) = digits(bundle, "stream"), samples(bundle)
    whole = Session.open(bundle, "native", tmp_path / "whole")
    finetune(whole, split, job(480))
    beside = Session.open(bundle, "native", tmp_path / "beside")

    def predict(number: int) -> int:
        if number == 0:
            return finetune(beside, split, job(480)).samples
        return sum(beside.predict(x[i % len(x)]).score != 0 for i in range(200))

    assert at_once(predict, 4)[0] == 480
    assert beside.digest() == whole.digest()
    assert Session.open(bundle, "native", tmp_path / "beside").digest() == whole.digest()


def test_no_change_of_another_kind_is_lost_beside_lessons(
    spare_bundle: Bundle, tmp_path: Path
) -> None:
    """Rates and classes are read, changed and written back: as one step."""
    session = Session.open(spare_bundle, "native", tmp_path / "state", care=NO_CARE)
    x, y = samples(spare_bundle)

    def work(number: int) -> None:
        for i in range(10):
            if number == 0:
                add_class(session, f"class {i}", x[i : i + 2])
            elif number == 1:
                set_rates(session)
            elif number == 2:
                session.save()
            else:
                session.learn(x[i], int(y[i]))

    at_once(work)
    assert session.record.added == tuple(f"class {i}" for i in range(10))
    assert session.record.steps == session.record.samples == 50
    state = session.runner.get_state()
    assert state["live"].all()
    assert state["phase"] == serial_phase(spare_bundle, 50)
    session.save()
    assert Session.open(spare_bundle, "native", tmp_path / "state").digest() == session.digest()


def serial_phase(bundle: Bundle, steps: int) -> int:
    """The dither's phase after so many steps: a lost step shows in it."""
    runner = open_runner(bundle, "native")
    x = np.zeros((1, *bundle.manifest.plan.input_shape), np.int8)
    for _ in range(steps):
        runner.train(x, np.zeros(1, np.int32))
    return int(runner.get_state()["phase"])


FORKING = """
import os, sys, threading
import numpy as np
from dfedge.device.care import NO_CARE
from dfedge.device.session import Session
from dfedge.errors import ResourceError

bundle, runtime, folder = sys.argv[1:]
session = Session.open(bundle, runtime, folder, care=NO_CARE)
states, over, begun = {session.digest()}, threading.Event(), threading.Event()
x = np.arange(64, dtype=np.uint8).reshape(8, 8)

def learn():
    number = 0
    while not over.is_set():
        with session.lock.alone:
            session.learn(x, number % 10)
            states.add(session.digest())
        number += 1
        begun.set()

teacher = threading.Thread(target=learn)
teacher.start()
begun.wait(60)
found = set()
for _ in range(20):
    give, take = os.pipe()
    child = os.fork()
    if not child:
        os.write(take, session.digest().encode())
        session.predict(x)
        session.learn(x, 3)
        os._exit(0)
    found.add(os.read(give, 64).decode())
    assert os.waitpid(child, 0)[1] == 0
over.set()
teacher.join()
assert found <= states, "a child began half-way through a step"
child = os.fork()
if not child:
    session.learn(x, 3)
    session.save()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
try:
    session.save()
except ResourceError as error:
    print(error)
"""


@pytest.mark.parametrize("runtime", ["native", "onnx-native", "litert", "executorch-native"])
def test_a_forked_child_has_a_whole_session_of_its_own(
    bundle: Bundle, tmp_path: Path, runtime: str
) -> None:
    command = [sys.executable, "-c", FORKING, str(bundle.folder), runtime, str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "another process has saved since it was opened here" in done.stdout


def test_a_fork_while_the_folder_is_held_does_not_hold_it_in_the_child(
    bundle: Bundle, tmp_path: Path
) -> None:
    """The parent learns a job; the child, which left it in the middle, may not save beside it."""
    script = """
import os, sys
from dfedge.device.session import Session
from dfedge.errors import ResourceError
session = Session.open(sys.argv[1], "native", sys.argv[2])
with session.store.writing():
    child = os.fork()
    if not child:
        try:
            session.save()
        except ResourceError as error:
            print(error, flush=True)
    else:
        assert os.waitpid(child, 0)[1] == 0
        session.save()
"""
    command = [sys.executable, "-c", script, str(bundle.folder), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is in use by another process that learns" in done.stdout


def test_a_fork_in_a_job_leaves_the_child_without_it(bundle: Bundle, tmp_path: Path) -> None:
    """The thread that saves stays with the parent; the child is told who holds the folder."""
    script = """
import os, sys
import numpy as np
from dfedge.data.dataset import Split
from dfedge.device.care import NO_CARE
from dfedge.device.finetune import steps
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.errors import ResourceError
session = Session.open(sys.argv[1], "native", sys.argv[2], care=NO_CARE)
split = Split(np.zeros((16, 8, 8, 1), np.uint8), np.zeros(16, np.int64))
try:
    for step in steps(session, split, FinetuneJob("x", "all", "", 0, 16, 160), Saving(2)):
        if step.done == 80:
            child = os.fork()
except ResourceError as error:
    print(error, flush=True)
else:
    assert child and os.waitpid(child, 0)[1] == 0
"""
    command = [sys.executable, "-c", script, str(bundle.folder), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    refusals = "is in use by another process", "another process has saved"  # whichever comes first
    assert done.stdout.count("\n") == 1 and any(said in done.stdout for said in refusals)
    assert Session.open(bundle, "native", tmp_path / "state").record.samples == 160


def test_sessions_may_be_opened_by_many_threads(bundle: Bundle, tmp_path: Path) -> None:
    """In a process of its own, where no library is loaded yet."""
    script = """
import sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from dfedge.device.session import Session
sys.setswitchinterval(1e-5)
begin = threading.Barrier(8)
def open(number):
    begin.wait()
    runtime = ("executorch-native", "onnx-native", "native", "litert")[number % 4]
    return Session.open(sys.argv[1], runtime, f"{sys.argv[2]}/{number}").digest()
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(open, range(8)))))
"""
    command = [sys.executable, "-c", script, str(bundle.folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["1"]), done.stderr[-2000:]


@pytest.mark.parametrize("runtime", EVERY)
def test_sessions_of_one_process_do_not_disturb_each_other(
    bundle: Bundle, tmp_path: Path, runtime: str
) -> None:
    """A thread for each, over the libraries that they share."""
    x, y = samples(bundle)
    sessions = [
        Session.open(bundle, exactly(runtime), tmp_path / str(number), care=NO_CARE)
        for number in range(4)
    ]

    def work(number: int) -> str:
        for i in range(30):
            sessions[number].learn(x[i], int(y[i]))
            sessions[number].predict(x[i])
        return sessions[number].digest()

    assert len(set(at_once(work, 4))) == 1


@pytest.mark.parametrize("runtime", ["onnx-native", "executorch-native"])
def test_every_thread_is_told_why_its_own_call_was_refused(
    bundle: Bundle, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another's is refused for another reason before this one asks."""
    runner, golden = open_runner(bundle, runtime), bundle.golden()
    x, y = golden["x"][0], golden["y"][0]
    here, own, others = threading.current_thread(), Glue.reason, []

    def refused() -> str:
        with pytest.raises(DfedgeError) as error:
            runner.infer(np.full_like(x, -1))
        return str(error.value)

    def reason(self: Glue, runtimes: str) -> DfedgeError:
        if threading.current_thread() is here:
            with ThreadPoolExecutor(1) as pool:
                others.append(pool.submit(refused).result(60))
        return own(self, runtimes)

    monkeypatch.setattr(Glue, "reason", reason)
    with pytest.raises(DfedgeError, match="a label is not a class of the program"):
        runner.train(x, np.full_like(y, 99))
    assert "an input value lies outside" in others[0]


def test_an_older_copy_never_replaces_a_newer_one(bundle: Bundle, tmp_path: Path) -> None:
    """As where a thread is held up between its copy and its save."""
    session = Session.open(bundle, "native", tmp_path / "state", care=NO_CARE)
    x, y = samples(bundle)
    session.learn(x[0], int(y[0]))
    older = session.stored()
    session.learn(x[1], int(y[1]))
    session.save()
    session.store.save(older)
    assert Session.open(bundle, "native", tmp_path / "state").record.samples == 2
    session.learn(x[2], int(y[2]))
    session.save()
    assert Session.open(bundle, "native", tmp_path / "state").digest() == session.digest()
