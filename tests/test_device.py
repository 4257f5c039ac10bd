import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device import store
from dfedge.device.care import NO_CARE, Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune, steps
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError
from dfedge.manifest import MANIFEST, seal
from dfedge.native.rendering import exactly
from dfedge.runtimes import formats


def digits(bundle: Bundle, split: str, shift: str | None = "rotate:90") -> Split:
    manifest = bundle.manifest
    return load_split("digits", None, manifest.input, manifest.classes, (split,), shift)[1]


def job(samples: int, seed: int = 0) -> store.FinetuneJob:
    return store.FinetuneJob("digits", "stream", "rotate:90", seed, 16, samples)


@pytest.fixture
def session(bundle: Bundle, tmp_path: Path) -> Session:
    return Session.open(bundle, "onnx", tmp_path / "state")


def test_predict_names_the_class_and_its_lead(session: Session) -> None:
    test = digits(session.bundle, "test", None)
    answers = [session.predict(image) for image in test.x[:50]]
    right = sum(a.label == y for a, y in zip(answers, test.y[:50], strict=True))
    assert right >= 45
    for image, answer in zip(test.x[:50], answers, strict=True):
        scores = session.scores(image[None])[0]
        first, second = sorted(scores.tolist(), reverse=True)[:2]
        assert (answer.score, answer.margin) == (first, first - second)
        assert answer.name == str(answer.label)


def test_predict_takes_any_size_by_the_bundles_rule(session: Session) -> None:
    image = digits(session.bundle, "test", None).x[0]
    large = np.kron(image[..., 0], np.ones((4, 4), np.uint8))
    colour = np.repeat(image, 3, axis=2)
    assert session.predict(colour) == session.predict(image[..., 0])
    assert session.predict(large).label == session.predict(image).label
    with pytest.raises(DfedgeError, match="allowed: 0 to 1"):
        session.predict(image * 1.0)


def test_learn_one_image_moves_it_towards_its_class(session: Session) -> None:
    turned = digits(session.bundle, "stream")
    image, label = turned.x[0], int(turned.y[0])
    for _ in range(30):
        session.learn(image, str(label))
    assert session.predict(image).label == label
    assert session.record.samples - session.record.replayed == 30


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 8, 8, 5), np.uint8), [0, 1], r"of 5 channels.*reads \[N, 8, 8, 1\]"),
        (np.zeros((8,), np.uint8), [0], r"shape \(8,\)"),
        (np.full((1, 8, 8), np.nan), [0], "reaches from nan to nan; allowed: 0 to 1"),
        (np.full((1, 8, 8), 1.5), [0], "reaches from 1.5 to 1.5; allowed: 0 to 1"),
        (np.full((1, 8, 8), -1), [0], "reaches from -1 to -1; allowed: 0 to 255"),
        (np.zeros((1, 8, 8), complex), [0], "holds complex128"),
        (np.zeros((2, 8, 8), np.uint8), [0], r"the labels: int64 \[1\]; allowed: an integer for"),
        (np.zeros((1, 8, 8), np.uint8), [0.5], r"the labels: float64"),
        (np.zeros((2, 8, 8), np.uint8), [3, 10], "reach from 3 to 10; allowed: 0 to 9"),
        (np.zeros((1, 8, 8), np.uint8), [-1], "reach from -1 to -1; allowed: 0 to 9"),
    ],
)
def test_bad_batch_is_one_clear_error_and_the_state_keeps_every_byte(
    session: Session, x: np.ndarray, y: list, message: str
) -> None:
    before = session.digest()
    with pytest.raises(DfedgeError, match=message):
        session.learn_batch(x, np.array(y))
    assert session.digest() == before
    assert session.record.samples == 0


def test_unknown_class_is_refused(session: Session) -> None:
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(UsageError, match="unknown class 'ten'; known: 0, 1"):
        session.learn(image, "ten")
    with pytest.raises(UsageError, match="allowed: a whole number from 0 to 9, or the name of"):
        session.learn(image, 10)


def test_bundle_never_changes_and_learning_is_found_again(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    before = {p: p.read_bytes() for p in bundle.folder.rglob("*") if p.is_file()}
    first = Session.open(bundle, "onnx", folder)
    finetune(first, digits(bundle, "stream"), job(64))
    assert {p: p.read_bytes() for p in bundle.folder.rglob("*") if p.is_file()} == before
    again = Session.open(bundle, "onnx", folder)
    assert again.digest() == first.digest()
    assert again.state_name == f"{folder} (64 presentations learned)"
    ignoring = Session.open(bundle, "onnx", folder, initial=True)
    assert ignoring.digest() == bundle.manifest.state_sha256
    assert ignoring.state_name == "the bundle's own"


def test_state_moves_between_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    finetune(Session.open(bundle, "onnx", tmp_path), digits(bundle, "stream"), job(64))
    test = digits(bundle, "test")
    sessions = [Session.open(bundle, exactly(name), tmp_path) for name in formats()]
    assert len({session.digest() for session in sessions}) == 1
    assert sessions[0].digest() != bundle.manifest.state_sha256
    scores = [session.scores(test.x) for session in sessions]
    assert all(np.array_equal(scores[0], other) for other in scores[1:])


@pytest.mark.parametrize("runtime", formats())
def test_turned_digits_are_learned_on_the_device(
    runtime: str, bundle: Bundle, tmp_path: Path
) -> None:
    session = Session.open(bundle, exactly(runtime), tmp_path, care=Care(replace=True))
    turned = digits(bundle, "test")
    assert evaluate(session, turned).accuracy < 0.3
    outcome = finetune(session, digits(bundle, "stream"), job(2000))
    assert (outcome.samples, outcome.steps) == (2000, 125)
    assert evaluate(session, turned).accuracy > 0.93
    initial, now = bundle.initial_state(), session.runner.get_state()
    for i in range(3):
        assert (now[f"layer{i}.conv0.weight"] != initial[f"layer{i}.conv0.weight"]).mean() > 0.2


def test_all_runtimes_hold_one_state_after_every_step(bundle: Bundle, tmp_path: Path) -> None:
    sessions = [Session.open(bundle, exactly(name), tmp_path / name) for name in formats()]
    stream = digits(bundle, "stream")
    count = 0
    for _ in zip(*(steps(s, stream, job(330)) for s in sessions), strict=True):
        count += 1
        assert len({s.digest() for s in sessions}) == 1
    assert count == 21  # 20 batches of 16, and one step for the last 10
    assert (tmp_path / "onnx" / "slot-a").exists()


def test_rates_slow_down_on_what_is_known_and_not_on_what_is_new(session: Session) -> None:
    session.care = NO_CARE

    def error_after(shift: str | None) -> int:
        session.runner.set_state(session.bundle.initial_state())
        finetune(session, digits(session.bundle, "stream", shift), job(512))
        return int(session.runner.get_state()["error"])

    assert error_after(None) < 1 << 12 < error_after("rotate:90")


def test_a_job_of_pace_zero_learns_at_the_full_rate(session: Session) -> None:
    session.care = NO_CARE
    stream = digits(session.bundle, "stream", None)
    moved = []
    for pace in (None, 0):
        session.runner.set_state(session.bundle.initial_state())
        before = session.runner.get_state()["layer0.conv0.weight"]
        finetune(session, stream, msgspec.structs.replace(job(256), pace=pace))
        after = session.runner.get_state()
        assert int(after["pace"]) == (4 if pace is None else 0)
        moved.append(int((after["layer0.conv0.weight"] != before).sum()))
    assert moved[0] < moved[1]


def test_second_job_goes_on_with_the_stream(bundle: Bundle, tmp_path: Path) -> None:
    def careless(name: str) -> Session:  # a guard also judges at the end of a job
        return Session.open(bundle, "onnx", tmp_path / name, care=NO_CARE)

    stream, whole = digits(bundle, "stream"), careless("a")
    finetune(whole, stream, job(192))
    for samples in (64, 128):
        finetune(careless("b"), stream, job(samples))
    assert careless("b").digest() == whole.digest()


def test_killed_finetune_goes_on_to_the_bytes_of_one_never_stopped(
    bundle: Bundle, tmp_path: Path
) -> None:
    whole = Session.open(bundle, "onnx", tmp_path / "whole")
    finetune(whole, digits(bundle, "stream"), job(8000))
    command = [sys.executable, "-m", "dfedge", "finetune", str(bundle.folder), "--data", "digits",
               "--shift", "rotate:90", "--samples", "8000", "--runtime", "onnx", "--json",
               "--state", str(tmp_path / "killed")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "killed" / "slot-a").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert 0 < answer["resumed"] < 8000
    assert answer["resumed"] + answer["samples"] == 8000
    assert answer["state_sha256"] == whole.digest()
    assert answer["samples_in_all"] == 8000


def test_state_of_another_bundle_is_refused_and_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundle.folder, other)
    elsewhere = msgspec.structs.replace(bundle.manifest, data="elsewhere")
    (other / MANIFEST).write_bytes(seal(elsewhere))
    finetune(Session.open(other, "onnx", tmp_path / "state"), digits(bundle, "stream"), job(16))
    raw = (tmp_path / "state" / "slot-a").read_bytes()
    with pytest.raises(DfedgeError, match=r"belongs to another bundle .*choose another --state"):
        Session.open(bundle, "onnx", tmp_path / "state")
    assert (tmp_path / "state" / "slot-a").read_bytes() == raw


@pytest.mark.parametrize("keep", [0, 7, 300, -1])
def test_damaged_state_is_one_clear_error(session: Session, keep: int) -> None:
    session.save()
    for name in store.SLOTS:
        path = session.folder / name
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DfedgeError, match="cannot be read as a state"):
        Session.open(session.bundle, "onnx", session.folder)


def test_unknown_or_absent_runtime_says_what_to_do(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = "c, executorch, executorch-native, litert, native, onnx, onnx-native"
    with pytest.raises(UsageError, match=f"unknown runtime 'tvm'; known: {known}"):
        Session.open(bundle, "tvm", tmp_path)
    monkeypatch.setattr("dfedge.device.runners.installed", lambda _: False)
    with pytest.raises(DfedgeError, match=r"not installed; pip install 'dfedge\[onnx\]'"):
        Session.open(bundle, "onnx", tmp_path)
    every = ", ".join(formats())
    remedies = r"\[litert\]' or a C compiler [^C]*$"
    with pytest.raises(DfedgeError, match=rf"for {every} is .*{remedies}"):
        Session.open(bundle, None, tmp_path)


def test_default_state_folder_lies_beside_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "mine"
    shutil.copytree(bundle.folder, copy)
    session = Session.open(copy, "onnx")
    session.learn(np.zeros((8, 8), np.uint8), 3)
    session.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.state"]
    assert Session.open(copy, "onnx").record.samples == 2  # one was replayed
