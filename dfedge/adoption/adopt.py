"""``dfedge adopt``: MODEL and data -> a RUN, calibrated, that everything else takes as its own."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dfedge.adoption.blocks import check_inside, last_blocks, tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import Graph
from dfedge.adoption.head import SHOWN, headed, read_names
from dfedge.adoption.head_fit import fitted
from dfedge.adoption.layers import anchored, make_net
from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import normalised
from dfedge.adoption.quantise import Loss, Quantiser
from dfedge.adoption.reading import reading_rule
from dfedge.adoption.taps import with_taps
from dfedge.data.catalogue import Part
from dfedge.data.dataset import Split
from dfedge.data.door import Door
from dfedge.data.image import ImageRule, to_input
from dfedge.data.order import by_class
from dfedge.data.sources import named, open_data
from dfedge.errors import DfedgeError, unknown_name
from dfedge.learn import kept
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.net import Net
from dfedge.learn.recipe import load_recipe
from dfedge.learn.run import Calibration, Run, RunPlan
from dfedge.learn.samples import Samples, batches, to_samples
from dfedge.learn.skeleton import obstacle
from dfedge.learn.spec import Settings
from dfedge.learn.train import tested
from dfedge.learn.trainer import accuracy
from dfedge.trunk import Trunk

Watch = Callable[[str, int, int], None]
LOG = logging.getLogger(__name__)
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
        mean, std: of the images that the net was trained on, one number a channel, in 0..1 or in
            0..255 (`normalised`).
        order: of the channels that the net was trained on: ``rgb`` or ``bgr``.
        image, fit: how it reads images, where its file does not say (`reading_rule`).
        head: one of `dfedge.adoption.head.HEADS`.
        classes: a file that names its scores, one a line.
        on_bad_sample: what becomes of a picture that cannot be read: ``stop`` or ``skip``.
        recipe: of `calibrate/`.
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


@dataclass(frozen=True)
class Adopted:
    """What came of it.

    Attributes:
        float_accuracy: of the foreign net in float, on the test split.
        accuracy: of the integer program on the same, before it learns.
        by_scores: of the integer program, were the net's own scores all that counts.
        losses: of each operation of the trunk.
        learned: names of the layers that learn.
        counted: which of them have a say in a score.
        left_out: what followed the scores and changes no order of them, in words.
    """

    run: Run
    float_accuracy: float
    accuracy: float
    by_scores: float
    losses: list[Loss]
    learned: list[str]
    counted: list[int]
    left_out: tuple[str, ...] = ()


def adopt(options: AdoptOptions, out: Path, watch: Watch = lambda *_: None) -> Adopted:
    """Translate, calibrate, set anchors, write.

    Raises:
        UsageError, DfedgeError: what cannot be adopted, with the reason; nothing is written then.
    """
    count, taps = _choice(options.learn)
    recipe = load_recipe(options.recipe)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DfedgeError(f"{out} exists and is not empty; choose another --out")
    watch("read the net", 0, 1)
    door = Door(options.on_bad_sample)
    model, found = open_model(options.model), open_data(options.data, options.data_dir, door=door)
    door.tell()
    rule = reading_rule(model, found, options.image, options.fit)
    graph = model.graph(rule.shape)
    channels, height, width = graph.nodes[0].shape
    if (height, width, channels) != rule.shape:
        raise DfedgeError(
            f"{options.model} takes images of {height} x {width} x {channels}, {options.data} has "
            f"{' x '.join(map(str, rule.shape))}; export it for those, or give other data"
        )
    graph = fold(normalised(graph, options.mean, options.std, options.order))
    head = headed(graph, options.head, read_names(options.classes), found.classes)
    data = found
    if head.classes != found.classes:
        data = open_data(options.data, options.data_dir, head.classes, Door(options.on_bad_sample))
    cut, data = data.record(options.seed), data.cut(options.seed)
    train = data.part("train")[1]
    order = by_class(train.y, options.seed)
    drawn = train.take(order[: min(len(order), 2 * _most(rule))]).read(rule)
    _tell_of_missing(head.classes, train.y)
    graph = fitted(head, drawn) if head.fit else head.graph
    check_inside(graph)
    few = drawn.take(np.arange(min(recipe.samples, len(drawn))))
    x = torch.from_numpy(to_input(few.x))
    seen = pixels(x.permute(0, 3, 1, 2))
    if taps:
        graph = with_taps(graph, taps, seen)
    tail = tail_of(graph)
    units = [] if count == 0 else last_blocks(graph, tail, count)
    quantiser = Quantiser(graph, recipe)
    end = units[0].reads if units else tail.features
    trunk: Trunk | None = None
    if end:
        trunk = quantiser.trunk(x, end, watch)
    half = len(drawn) // 2
    own, held_out = (
        to_samples(drawn.take(part), "cpu", trunk, quantiser.constants)
        for part in (np.arange(half), np.arange(half, len(drawn)))
    )
    learned = make_net(graph, tail, units, trunk, rule.shape, len(head.classes), seen)
    anchored(learned, own, held_out, recipe)
    net = learned.net
    plan = RunPlan(
        data=named(options.data),
        data_dir=str(options.data_dir.resolve()) if options.data_dir else None,
        classes=head.classes,
        image=rule,
        net_name=f"{options.model} --learn {options.learn}",
        net=net.spec,
        rule="df",
        form="one-pass",
        settings=Settings(test_samples=options.test_samples),
        qat=False,
        seed=options.seed,
        trunk=trunk,
        cut=cut,
        on_bad_sample=door.policy,
    )
    why = obstacle(plan.net, plan.seen_shape, len(head.classes), "one-pass")
    if why is not None:
        raise DfedgeError(f"{options.model}: the integer step does not know {why}")
    test = tested(plan, data)
    watch("test", 0, 2)
    exact = _float_accuracy(graph, test)
    watch("test", 1, 2)
    scored, by_scores = _accuracies(net, to_samples(test, "cpu", trunk, quantiser.constants))
    run = Run.create(out, plan)
    if trunk is not None:
        run.write_constants(quantiser.constants)
    if options.keep:
        kept.write(run.folder, _kept(train, order, len(drawn), rule, options.seed))
    assert net.scales is not None
    run.write_calibration(Calibration(options.recipe, recipe, net.scales))
    run.save_checkpoint(net, [], {"float": 0, "qat": 0, "finished": 1, "rows": 1})
    losses = [asdict(loss) for loss in quantiser.losses]
    row = {"phase": "adopted", "test_accuracy": scored, "float_accuracy": exact, "losses": losses}
    run.log(row, keep=0)
    watch("test", 2, 2)
    return Adopted(run, exact, scored, by_scores, quantiser.losses, learned.names,
                   list(net.counted), graph.left_out)  # fmt: skip


def _most(rule: ImageRule) -> int:
    """Samples that set the anchors, and as many that judge them."""
    return max(min(ANCHOR_SAMPLES, MOST_BYTES // (2 * math.prod(rule.shape))), LEAST_SAMPLES)


def _kept(
    train: Part, order: NDArray[np.int64], used: int, rule: ImageRule, seed: int
) -> kept.Kept:
    """Samples by which nothing was set yet are held out, where there are enough of them."""
    half, rest = used // 2, order[used:]
    if len(rest) < kept.HELD_OUT:
        rest = order[half:used]
    chosen = kept.choose(train.take(order[:half]), train.take(rest), seed, rule.shape)
    return kept.Kept(*(part.read(rule) for part in chosen))


def _choice(learn: str) -> tuple[int | None, list[str]]:
    """How many blocks learn beside the head, None being all; and the names of taps.

    Raises:
        UsageError: another word.
    """
    if learn in ("head", "all"):
        return 0 if learn == "head" else None, []
    kind, _, what = learn.partition(":")
    if kind == "heads" and what:
        return 0, what.split(",")
    if kind != "last" or not what.isdecimal() or int(what) < 1:
        raise unknown_name("--learn", learn, ["head", "heads:NAME,NAME", "last:K", "all"])
    return int(what), []


def _accuracies(net: Net, samples: Samples) -> tuple[float, float]:
    """As the net counts its layers, and by its last alone."""
    found, counted = accuracy(net, samples), net.counted
    if len(counted) == 1:
        return found, found
    net.counted = counted[-1:]
    alone = accuracy(net, samples)
    net.counted = counted
    return found, alone


def _tell_of_missing(classes: tuple[str, ...], y: NDArray[np.int64]) -> None:
    there = np.bincount(y, minlength=len(classes))
    missing = [name for name, count in zip(classes, there, strict=True) if not count]
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        LOG.info(
            "no training sample of %d of %d classes (%s): they keep the net's own weights, and no "
            "accuracy is measured for them", len(missing), len(classes), shown,
        )  # fmt: skip


@torch.no_grad()
def _float_accuracy(graph: Graph, test: Split) -> float:
    few = batches(to_samples(test), graph.at_once())
    right = [int((graph.result(pixels(x)).flatten(1).argmax(1) == y).sum()) for x, y in few]
    return sum(right) / len(test)
