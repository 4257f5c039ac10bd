"""A class from a few samples: where its anchors come to stand, and what that costs the others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT

from dfedge.bundle import Bundle
from dfedge.continual.new_class import judging, learn_class
from dfedge.data.dataset import Images, Split
from dfedge.data.sources import load
from dfedge.device.care import Care
from dfedge.device.classes import add_class, retire
from dfedge.device.evaluate import recognised
from dfedge.device.finetune import finetune
from dfedge.device.known import judging_samples
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Remembered, Store
from dfedge.device.store.remembered import MOST
from dfedge.device.store.transfer import bring_in, take_out
from dfedge.errors import DfedgeError
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train


def opened(bundle: Bundle, runtime: str = "native") -> Session:
    return Session.open(bundle, runtime, initial=True, read_only=True)


def turned_threes(split: str) -> Images:
    """A class that the net does not know."""
    data = load("digits").splits[split]
    return np.rot90(data.x[data.y == 3], axes=(1, 2)).copy()


LEFT_OUT = 8


def nine_and_one(split: str) -> tuple[Split, Split]:
    """The digits but eight, numbered from 0 to 8, and the eights, numbered 9."""
    data = load("digits").splits[split]
    y = np.where(data.y == LEFT_OUT, 9, data.y - (data.y > LEFT_OUT))
    both = Split(data.x, y)
    return both.take(np.flatnonzero(y < 9)), both.take(np.flatnonzero(y == 9))


@pytest.fixture(scope="module")
def nine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A net that has never seen an eight, with a row to spare."""
    folder, (nine, _) = tmp_path_factory.mktemp("nine"), nine_and_one("train")
    names = [name for k, name in enumerate(load("digits").classes) if k != LEFT_OUT]
    np.savez(folder / "nine.npz", x=nine.x, y=nine.y, classes=np.array(names))
    options = TrainOptions(str(folder / "nine.npz"), net="digits", qat=True, settings=SHORT)
    run = train(options, folder / "run")
    return export(run, ExportOptions(("c",), spare_classes=1), folder / "bundle")


def test_placed_class_is_recognised_and_costs_the_others_little(nine_bundle: Bundle) -> None:
    """Means alone cost a third of what was known: that is what placing is for."""
    (known, new), (_, own) = nine_and_one("test"), nine_and_one("stream")
    before = recognised(opened(nine_bundle), known).mean()
    kept, recall = {}, {}
    for name, way in (("means", add_class), ("placed", learn_class)):
        session = opened(nine_bundle)
        assert way(session, "8", own.x[:10]) == 9
        kept[name] = recognised(session, known).mean()
        recall[name] = recognised(session, new).mean()
    assert kept["means"] < before - 0.2
    assert kept["placed"] >= before - 0.03
    assert recall["placed"] >= 0.85


@pytest.mark.parametrize("lost", [0, 5, 100])
def test_no_more_of_the_known_fall_to_it_than_is_allowed(lost: int, spare_bundle: Bundle) -> None:
    """Its samples are a known class's own: nothing can tell them apart."""
    session, (judge, rows) = opened(spare_bundle), judging_samples(spare_bundle)
    right = np.count_nonzero(session.scores_of_input(judge).argmax(1) == rows)
    alike = 2 * judge[rows == 3].astype(np.uint8)
    assert np.array_equal(session.input(alike), judge[rows == 3])
    learn_class(session, "another three", alike, lost=lost)
    gone = right - np.count_nonzero(session.scores_of_input(judge).argmax(1) == rows)
    assert gone * 100 <= lost * right
    assert gone > 0 or lost < 100


def noisy(split: str, seed: int) -> Split:
    """Digits that a net of theirs learns by heart, and hardly recognises where they are new."""
    data, rng = load("digits").splits[split], np.random.default_rng(seed)
    noise = rng.integers(0, 256, data.x.shape)
    return Split((0.4 * data.x + 0.6 * noise).astype(np.uint8), data.y)


KNOWN = 6


@pytest.fixture(scope="module", params=[True, False], ids=["keep", "no-keep"])
def by_heart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A net of the first noisy digits; without samples of its own, golden ones take their place."""
    folder, data = tmp_path_factory.mktemp("heart"), noisy("train", 0)
    known = data.take(np.flatnonzero(data.y < KNOWN))
    classes = np.array([str(k) for k in range(KNOWN)])
    np.savez(folder / "own.npz", x=known.x, y=known.y, classes=classes)
    (folder / "net.toml").write_text(BY_HEART)
    options = TrainOptions(
        str(folder / "own.npz"), net=str(folder / "net.toml"), qat=True, keep=request.param
    )
    run = train(options, folder / "run")
    spare = ExportOptions(("c",), spare_classes=10 - KNOWN, trial=False)
    return export(run, spare, folder / "bundle")


BY_HEART = """anchors = 1
[train]
epochs = 15
qat_epochs = 2
shift = 0
flip = false
[[block]]
kind = "linear"
channels = 48
[[block]]
kind = "linear"
channels = 48
"""


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("lost", [0, 3, 10])
def test_what_is_lost_is_counted_where_nothing_was_trained_on(
    lost: int, learned: bool, by_heart: Bundle
) -> None:
    """The samples that a net was trained on stay recognised whatever comes; others do not."""
    session, data = opened(by_heart), noisy("stream", 1)
    if learned:
        session.learn_with_care(session.input(data.x[:8]), np.minimum(data.y[:8], KNOWN - 1))
        session.settle()
    judge, rows = judging(by_heart)
    before = np.count_nonzero(session.scores_of_input(judge).argmax(1) == rows)
    for number in range(KNOWN, 10):
        learn_class(session, str(number), data.x[data.y == number][:10], lost=lost)
        after = np.count_nonzero(session.scores_of_input(judge).argmax(1) == rows)
        assert (before - after) * 100 <= lost * before, number


@pytest.mark.parametrize("runtime", ["onnx", "native"])
def test_anchors_alone_move_and_alike_in_every_runtime(runtime: str, spare_bundle: Bundle) -> None:
    """Those of all classes, as nothing was learned here before."""
    session, x = opened(spare_bundle, runtime), turned_threes("stream")[:5]
    before = session.runner.get_state()
    row = learn_class(session, "turned", x)
    after = session.runner.get_state()
    for name, value in after.items():
        same = value == before[name]
        if name.endswith("anchors"):
            assert not same.all(axis=tuple(range(1, value.ndim)))[: row + 1].any(), name
        elif name == "live":
            assert np.flatnonzero(~same).tolist() == [row]
        else:
            assert same.all(), name
    assert session.digest() == learned_natively(spare_bundle, x)


def test_only_the_new_row_moves_where_the_device_has_learned(spare_bundle: Bundle) -> None:
    """The bundle's samples no longer say where the anchors of the others belong."""
    session, x = opened(spare_bundle), turned_threes("stream")[:5]
    session.learn_with_care(session.input(x), np.full(len(x), 3))
    session.settle()
    before = session.runner.get_state()
    row = learn_class(session, "turned", x)
    after = session.runner.get_state()
    for name, value in after.items():
        others = np.arange(len(value)) != row if value.ndim else ...
        assert np.array_equal(value[others], before[name][others]), name


def test_a_class_does_not_take_what_one_added_before_was_taught(spare_bundle: Bundle) -> None:
    """What the device remembers of the first is among the known samples of the second."""
    session, x = opened(spare_bundle), turned_threes("stream")
    first = learn_class(session, "turned", x[:8])
    alike = np.roll(x[8:16], 1, axis=1)
    learn_class(session, "moved", alike)
    assert (session.scores(x[:8]).argmax(1) == first).sum() >= 6


def learned_natively(bundle: Bundle, x: Images) -> str:
    session = opened(bundle)
    learn_class(session, "turned", x)
    return session.digest()


def test_order_of_the_samples_does_not_matter(spare_bundle: Bundle) -> None:
    x = turned_threes("stream")[:6]
    assert learned_natively(spare_bundle, x) == learned_natively(spare_bundle, x[::-1].copy())


def test_classes_that_live_no_more_push_nothing_away(spare_bundle: Bundle) -> None:
    """After `retire` the bundle's samples belong to no class: the anchors stay the means."""
    x, states = turned_threes("stream")[:5], []
    for way in (add_class, learn_class):
        session = opened(spare_bundle)
        retire(session)
        way(session, "turned", x)
        states.append(session.digest())
    assert states[0] == states[1]


def test_one_sample_is_enough_to_begin_with(spare_bundle: Bundle) -> None:
    session, x = opened(spare_bundle), turned_threes("stream")[:1]
    row = learn_class(session, "turned", x)
    assert session.scores(x).argmax(1) == row


def test_steps_go_on_from_there(spare_bundle: Bundle) -> None:
    placed, stepped, x = opened(spare_bundle), opened(spare_bundle), turned_threes("stream")[:10]
    learn_class(placed, "turned", x)
    learn_class(stepped, "turned", x, steps=4)
    assert stepped.record.steps == 4
    assert stepped.digest() != placed.digest()


@pytest.mark.parametrize("care", [Care(), Care(guard=False), Care(replay=False, guard=False)])
def test_an_added_class_is_replayed_so_that_it_stays(
    care: Care, nine_bundle: Bundle, tmp_path: Path
) -> None:
    """Ten samples taught it; then the device meets other classes only, which look otherwise."""
    (_, new), (stream, own) = nine_and_one("test"), nine_and_one("stream")
    session = Session.open(nine_bundle, "native", tmp_path, care=care)
    learn_class(session, "8", own.x[:10])
    before = recognised(session, new).mean()
    inverted = Split(255 - stream.x, stream.y)
    finetune(session, inverted, FinetuneJob("digits", "stream", "", 0, 16, 2560))
    after = recognised(session, new).mean()
    assert (after > 0.75 * before) == care.replay
    session.save()
    again = Session.open(nine_bundle, "native", tmp_path, care=care)
    assert len(again.remembered[1]) == (10 if care.replay else 0)


def test_what_is_remembered_of_a_class_travels_with_the_state(
    nine_bundle: Bundle, tmp_path: Path
) -> None:
    _, own = nine_and_one("stream")
    session = Session.open(nine_bundle, "native", tmp_path / "a")
    learn_class(session, "8", own.x)
    assert session.remembered[0].shape == (MOST, 8, 8, 1)  # of 30 and more
    session.save()
    source, target = Store(tmp_path / "a"), Store(tmp_path / "b")
    take_out(source, nine_bundle, tmp_path / "file")
    bring_in(target, nine_bundle, tmp_path / "file")
    there = Session.open(nine_bundle, "native", tmp_path / "b")
    for mine, theirs in zip(session.remembered, there.remembered, strict=True):
        assert np.array_equal(mine, theirs)
    assert there.digest() == session.digest()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, y: (x, y - 1),
        lambda x, y: (x, y[:-1]),
        lambda x, y: (x[..., 0], y),
        lambda x, y: (x.astype(np.int32), y),
        lambda x, y: (-1 - x, y),
    ],
    ids=["of the bundle's classes", "too few labels", "another shape", "another type", "negative"],
)
def test_what_cannot_be_remembered_is_refused_with_one_line(
    wrong: Callable[..., Remembered], nine_bundle: Bundle, tmp_path: Path
) -> None:
    session = Session.open(nine_bundle, "native", tmp_path)
    learn_class(session, "8", nine_and_one("stream")[1].x[:4])
    session.remembered = wrong(*session.remembered)
    session.save()
    with pytest.raises(DfedgeError, match="samples that it remembers are not of its added classes"):
        Session.open(nine_bundle, "native", tmp_path)
