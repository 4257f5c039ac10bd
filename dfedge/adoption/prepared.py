"""What adopting begins with: a net with a score for each class, and the samples that set it."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfedge.adoption.blocks import check_inside
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.head import Headed, headed, read_names
from dfedge.adoption.head_fit import fitted
from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import in_units, normalised
from dfedge.adoption.reading import reading_rule
from dfedge.data.catalogue import Catalogue, Cut
from dfedge.data.dataset import Split
from dfedge.data.door import Policy, SampleFilter
from dfedge.data.inputs import InputRule
from dfedge.data.order import by_class
from dfedge.data.reading import AS_THEY_ARE, Reading
from dfedge.data.sources import open_data
from dfedge.data.stored import StoredSamples
from dfedge.errors import DfedgeError, chosen
from dfedge.learn.plan_check import check_reading
from dfedge.names import some

LOG = logging.getLogger(__name__)
UNITS = ("data", "codes")
"""Signals as they stand in the data, or the codes that `dfedge.data.inputs` makes of them, as 0..1.
Pictures and sounds are codes."""
FED_CODES = (
    "codes of dfedge's rule for such samples, as 0 to 1; trained on anything else it is another "
    "function: compare the accuracy in float with what you know"
)
ANCHOR_SAMPLES = 2000
"""Training samples whose means the anchors are set to; as many again choose the layers that
count."""
MOST_BYTES, LEAST_SAMPLES = 1 << 28, 64
"""Of all these images, and how many of them there are at least, however large."""


@dataclass(frozen=True)
class AdoptOptions:
    """What to adopt.

    Attributes:
        model: see `dfedge.adoption.load`.
        learn: ``head``, ``heads:NAME,NAME``, ``last:K`` or ``all``.
        mean, std: of the samples that the net was trained on, one number a channel: of images in
            0..1 or in 0..255 (`normalised`), of signals in their own units.
        units: one of `UNITS`: what the net was fed in its training.
        order: of the channels that the net was trained on: ``rgb`` or ``bgr``.
        image, fit: how it reads images, where its file does not say (`reading_rule`).
        head: one of `dfedge.adoption.head.HEADS`.
        classes: a file that names its scores, one a line.
        on_bad_sample: what becomes of a picture that cannot be read: ``stop`` or ``skip``.
        recipe: of `calibrate/`.
        reading: what the data do not say themselves.
        test_samples: of the test split, drawn from the seed, that are measured; 0: all.
        keep: write samples into the run, for the trial of learning at export.
    """

    model: str
    data: str
    data_dir: Path | None = None
    learn: str = "head"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: str = "rgb"
    image: str = ""
    fit: str = ""
    head: str = "own"
    classes: Path | None = None
    on_bad_sample: str = "stop"
    recipe: str = "pow2-mse"
    test_samples: int = 0
    seed: int = 0
    keep: bool = True
    units: str = "data"
    reading: Reading = AS_THEY_ARE


@dataclass(frozen=True)
class Prepared:
    """A net and its data.

    Attributes:
        classes: of the net's scores.
        rule: by which images are read.
        data: cut in train and test.
        cut: how; None: they have splits of their own.
        order: of the training samples, in rounds over the classes.
        drawn: the first of them, read.
        fitted: whether the net's last layer was made from them.
        policy: what becomes of a picture that cannot be read.
    """

    graph: ForeignGraph
    classes: tuple[str, ...]
    rule: InputRule
    data: Catalogue
    cut: Cut | None
    order: NDArray[np.int64]
    drawn: Split
    fitted: bool
    policy: Policy


def prepared(options: AdoptOptions) -> Prepared:
    """Read net and data, and bring them together.

    Raises:
        UsageError, DfedgeError: what cannot be adopted, with the reason.
    """
    door = SampleFilter(options.on_bad_sample)
    units = chosen("--units", options.units, UNITS)
    model = open_model(options.model)
    found = open_data(options.data, options.data_dir, door=door, reading=options.reading)
    door.tell()
    check_reading(options.reading, options.data, found)
    rule = reading_rule(model, found.cut(options.seed), options.image, options.fit)
    graph = model.graph(rule.shape)
    channels, height, width = graph.nodes[0].shape
    if (height, width, channels) != rule.shape:
        raise DfedgeError(
            f"{options.model} takes samples of {height} x {width} x {channels}, {options.data} has "
            f"{' x '.join(map(str, rule.shape))}; export it for those, or give other data"
        )
    train = found.cut(options.seed).part("train")[1]
    own = rule.units(train.x) if units == "data" and isinstance(train, StoredSamples) else None
    if found.kind != "image":
        LOG.info("the net is fed %s", "values in the data's units" if own else FED_CODES)
    graph = normalised(graph, options.mean, options.std, options.order, 1.0 if own else 0.0)
    graph = fold(in_units(graph, own, model.line) if own else graph)
    head = headed(graph, options.head, read_names(options.classes), found.classes)
    data = found
    if head.classes != found.classes:
        again = SampleFilter(door.policy)
        data = open_data(options.data, options.data_dir, head.classes, again, options.reading)
    cut, data = data.record(options.seed), data.cut(options.seed)
    train = data.part("train")[1]
    _tell_of_missing(head, train.y)
    order = by_class(train.y, options.seed)
    drawn = train.take(order[: min(len(order), 2 * _most(rule))]).read(rule)
    graph = fitted(head, drawn) if head.fit else head.graph
    check_inside(graph)
    return Prepared(graph, head.classes, rule, data, cut, order, drawn, head.fit, door.policy)


def _most(rule: InputRule) -> int:
    """Samples that set the anchors, and as many that judge them."""
    return max(min(ANCHOR_SAMPLES, MOST_BYTES // (2 * math.prod(rule.shape))), LEAST_SAMPLES)


def _tell_of_missing(head: Headed, y: NDArray[np.int64]) -> None:
    there = np.bincount(y, minlength=len(head.classes))
    missing = [name for name, count in zip(head.classes, there, strict=True) if not count]
    if missing:
        LOG.info(
            "no training sample of %d of %d classes (%s): they keep the net's own weights, and no "
            "accuracy is measured for them", len(missing), len(head.classes), some(missing),
        )  # fmt: skip
