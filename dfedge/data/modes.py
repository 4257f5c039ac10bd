"""Modes of normal operation: what a machine does when nothing is wrong, found without labels.

A mode is a cluster of samples, by k-means (S. Lloyd, 1982; its start: D. Arthur and S.
Vassilvitskii, 2007) on half codes, as programs see them.  Every sum here is of whole numbers that
float64 holds exactly, so the same samples and seed give the same modes on every machine.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dfedge.data.catalogue import Catalogue, SplitPart
from dfedge.data.dataset import Divided, Images, Labels, Split
from dfedge.data.inputs import InputRule, to_input
from dfedge.errors import DfedgeError, UsageError
from dfedge.limits import Fraction

ANOMALIES = ("anomaly", "abnormal")
"""Labels of samples that are not normal: no training sample bears one."""
HELD = "held"
"""The split of normal samples that nothing is trained on: they choose, and set the threshold."""
NUMBERS = (4, 8, 16, 32)
"""Of modes that are tried where none is named."""
LEAST, MOST = 2, 256
EACH = 16
"""Training samples for each mode, at least."""
BETTER = 0.05
"""Of the distance to the nearest centre: what more modes must take off, of held-back samples."""
ROUNDS, CHUNK = 30, 1024
Flat = NDArray[np.float64]


@dataclass(frozen=True)
class NormalWish:
    """What is asked for.

    Attributes:
        modes: to be found, whatever the data's classes are; None: those classes where there are
            two or more, else as many as suit.
        false_alarms: see `Normal`.
    """

    modes: int | None = None
    false_alarms: float = 0.01


class Normal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run that learns what is normal says of it.

    Attributes:
        false_alarms: of normal samples, the fraction that may be taken for none.
        centres: uint8 [K, H * W * C], half codes; empty where the data's own classes are the modes.
        modes: K.
    """

    false_alarms: Fraction
    modes: Annotated[int, Meta(ge=LEAST, le=MOST)]
    centres: bytes = b""

    @property
    def names(self) -> tuple[str, ...]:
        """Of modes that were found."""
        return tuple(f"mode {k + 1}" for k in range(self.modes))

    def of(self, x: Images, y: Labels) -> Labels:
        """The mode of each sample, codes [N, H, W, C]; ``y``: labels, where these are the modes."""
        if not self.centres:
            return y
        centres = np.frombuffer(self.centres, np.uint8).reshape(self.modes, -1)
        return nearest(flat(x), centres.astype(np.float64))[0]


def flat(x: Images) -> Flat:
    """Half codes [N, H, W, C], as programs see them, one row a sample."""
    return to_input(x).reshape(len(x), -1).astype(np.float64)


def nearest(x: Flat, centres: Flat) -> tuple[Labels, Flat]:
    """Number of, and squared distance to, the nearest centre, the first among equals."""
    parts = []
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        cross = (part * part).sum(1)[:, None] - 2 * part @ centres.T
        parts.append(cross + (centres * centres).sum(1))
    squared = np.concatenate(parts) if parts else np.zeros((0, len(centres)))
    return squared.argmin(1), squared.min(1)


def k_means(x: Flat, count: int, seed: int) -> Flat:
    """Centres [count, D], whole numbers, of samples [N, D]."""
    rng = np.random.default_rng(seed)
    centres = x[[int(rng.integers(len(x)))]]
    for _ in range(1, count):
        squared = nearest(x, centres)[1]
        drawn = rng.choice(len(x), p=squared / squared.sum() if squared.any() else None)
        centres = np.concatenate([centres, x[[int(drawn)]]])
    labels = np.zeros(0, np.int64)
    for _ in range(ROUNDS):
        before, (labels, squared) = labels, nearest(x, centres)
        if np.array_equal(before, labels):
            break
        for k in range(count):
            own = x[labels == k]
            n = len(own)  # a centre that nothing is near goes to what is farthest from its own
            centres[k] = (2 * own.sum(0) + n) // (2 * n) if n else x[squared.argmax()]
    return centres


def find_modes(train: Split, held: Split, count: int, seed: int, where: str) -> Flat:
    """Centres of ``count`` modes; 0: the fewest of `NUMBERS` that suit held-back samples.

    Raises:
        UsageError: too few or too many modes for the samples.
        DfedgeError: too few samples for any.
    """
    x, most = flat(train.x), min(len(train) // EACH, MOST)
    if count and not LEAST <= count <= most:
        raise UsageError(
            f"--modes {count}: {where} has {len(train)} samples to train on; allowed: {LEAST} to "
            f"{most} modes"
        )
    if most < LEAST:
        raise DfedgeError(
            f"{where}: {len(train)} samples to train on; learning what is normal takes "
            f"{LEAST * EACH} or more; record longer"
        )
    tried = [count] if count else [k for k in NUMBERS if k <= most] or [LEAST]
    found = [k_means(x, k, seed) for k in tried]
    apart = [float(nearest(flat(held.x), one)[1].mean()) for one in found]
    return next(c for c, d in zip(found, apart, strict=True) if d * (1 - BETTER) <= min(apart))


@dataclass(frozen=True)
class InModes:
    """Samples whose labels are their modes: a `dfedge.data.catalogue.Part`.

    Attributes:
        inner: labelled as the data are.
        places: mode of each of the data's labels, where these are the modes.
    """

    inner: SplitPart
    normal: Normal
    places: Labels

    @property
    def y(self) -> Labels:
        """As the data have them: the modes are known once the samples are read."""
        return self.inner.y

    def __len__(self) -> int:
        return len(self.inner)

    def take(self, index: NDArray[np.int64]) -> "InModes":
        """See `Part`."""
        return replace(self, inner=self.inner.take(index))

    def divided(self, seed: int, where: str) -> Divided:
        """See `Part`."""
        return self.inner.divided(seed, where)

    def read(self, rule: InputRule) -> Split:
        """See `Part`."""
        split = self.inner.read(rule)
        return Split(split.x, self.normal.of(split.x, self.places[split.y]))

    def digest(self) -> str:
        """See `Part`."""
        return self.inner.digest()


def is_anomaly(name: str) -> bool:
    """Whether a label is one of `ANOMALIES`, in letters of any size."""
    return name.lower() in ANOMALIES


def anomalies(data: Catalogue, part: SplitPart) -> NDArray[np.bool_]:
    """Which samples of a part are no normal ones: bool [N]."""
    return np.array([is_anomaly(name) for name in data.classes], bool)[part.y]


def normal_parts(data: Catalogue, seed: int) -> Catalogue:
    """Train, held-back (`HELD`) and test samples of normal operation, of data that are cut.

    What is held back is a part of the training samples (`Part.divided`), so that windows of it and
    of the rest share nothing.

    Raises:
        DfedgeError: too few samples are normal.
    """
    parts = {}
    for name in ("train", "test"):
        part = data.part(name)[1]
        parts[name] = part.take(np.flatnonzero(~anomalies(data, part)))
        if not len(parts[name]):
            raise DfedgeError(f"{data.name}: no sample of its split {name} is normal; give some")
    rest, held = parts["train"].divided(seed + 1, data.name)
    parts |= {"train": parts["train"].take(rest), HELD: parts["train"].take(held)}
    return replace(data, parts=parts)


def in_modes(data: Catalogue, normal: Normal) -> Catalogue:
    """Samples of `normal_parts`, labelled by their modes."""
    own = own_modes(data)
    places = np.array([own.index(n) if n in own else -1 for n in data.classes], np.int64)
    parts: dict[str, SplitPart] = {
        name: InModes(part, normal, places) for name, part in data.parts.items()
    }
    return replace(data, classes=normal.names if normal.centres else own, parts=parts)


def own_modes(data: Catalogue) -> tuple[str, ...]:
    """The data's own classes of normal operation."""
    return tuple(name for name in data.classes if not is_anomaly(name))


def modes_of(data: Catalogue, rule: InputRule, wish: NormalWish, seed: int) -> Normal:
    """The modes of `normal_parts`.

    Raises:
        UsageError, DfedgeError: too few samples, or too many modes.
    """
    own, count = own_modes(data), wish.modes
    if count is None and len(own) >= LEAST:
        return Normal(wish.false_alarms, len(own))
    train, held = (data.part(name)[1].read(rule) for name in ("train", HELD))
    centres = find_modes(train, held, count or 0, seed, data.name)
    return Normal(wish.false_alarms, len(centres), centres.astype(np.uint8).tobytes())
