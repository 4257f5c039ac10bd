"""``dfedge adopt``: MODEL and data -> a RUN, calibrated, that everything else takes as its own."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dfedge.adoption.blocks import check_inside, last_blocks, tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import Graph
from dfedge.adoption.layers import anchored, make_net
from dfedge.adoption.load import Model, open_model
from dfedge.adoption.normalised import normalised
from dfedge.adoption.observe import at_once
from dfedge.adoption.quantise import Loss, Quantiser
from dfedge.adoption.taps import with_taps
from dfedge.data.dataset import Split
from dfedge.data.image import MODES, ImageRule, to_input
from dfedge.data.order import shuffled
from dfedge.data.sources import load, named
from dfedge.errors import DfedgeError, unknown_name
from dfedge.learn import kept
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.recipe import load_recipe
from dfedge.learn.run import Calibration, Run, RunPlan
from dfedge.learn.samples import batches, to_samples
from dfedge.learn.skeleton import obstacle
from dfedge.learn.spec import Settings
from dfedge.learn.train import tested
from dfedge.learn.trainer import accuracy
from dfedge.regular import is_folder
from dfedge.trunk import Trunk

Watch = Callable[[str, int, int], None]
ANCHOR_SAMPLES = 2000
"""Training samples whose means the anchors are set to; as many again choose the layers that
count."""


@dataclass(frozen=True)
class AdoptOptions:
    """What to adopt.

    Attributes:
        model: see `dfedge.adoption.load`.
        learn: ``head``, ``heads:NAME,NAME``, ``last:K`` or ``all``.
        mean, std: of the images that the net was trained on, one number a channel, in 0..1.
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
        losses: of each operation of the trunk.
        learned: names of the layers that learn.
        counted: which of them have a say in a score.
        left_out: what followed the scores and changes no order of them, in words.
    """

    run: Run
    float_accuracy: float
    accuracy: float
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
    model = open_model(options.model)
    data = load(options.data, options.data_dir, _size_of(model, options.data)).cut(options.seed)
    graph = model.graph(data.shape, len(data.classes))
    channels, height, width = graph.nodes[0].shape
    if (height, width, channels) != data.shape:
        raise DfedgeError(
            f"{options.model} takes images of {height} x {width} x {channels}, {options.data} has "
            f"{' x '.join(map(str, data.shape))}; export it for those, or give other data"
        )
    left_out = graph.left_out
    graph = fold(normalised(graph, options.mean, options.std))
    check_inside(graph)
    train = data.split("train")[1]
    order = shuffled(len(train), options.seed, 0, min(len(train), 2 * ANCHOR_SAMPLES))
    few = train.take(order[: recipe.samples])
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
    half = len(order) // 2
    own, held_out = (
        to_samples(train.take(part), "cpu", trunk, quantiser.constants)
        for part in (order[:half], order[half:])
    )
    learned = make_net(graph, tail, units, trunk, data.shape, len(data.classes), seen)
    anchored(learned, own, held_out, recipe)
    net = learned.net
    plan = RunPlan(
        data=named(options.data),
        data_dir=str(options.data_dir.resolve()) if options.data_dir else None,
        classes=data.classes,
        image=ImageRule(*data.shape),
        net_name=f"{options.model} --learn {options.learn}",
        net=net.spec,
        rule="df",
        form="one-pass",
        settings=Settings(test_samples=options.test_samples),
        qat=False,
        seed=options.seed,
        trunk=trunk,
    )
    why = obstacle(plan.net, plan.seen_shape, len(data.classes), "one-pass")
    if why is not None:
        raise DfedgeError(f"{options.model}: the integer step does not know {why}")
    test = tested(plan, data)
    watch("test", 0, 2)
    exact = _float_accuracy(graph, test)
    watch("test", 1, 2)
    found = accuracy(net, to_samples(test, "cpu", trunk, quantiser.constants))
    run = Run.create(out, plan)
    if trunk is not None:
        run.write_constants(quantiser.constants)
    if options.keep:
        kept.write(run.folder, _kept(train, order, options.seed))
    assert net.scales is not None
    run.write_calibration(Calibration(options.recipe, recipe, net.scales))
    run.save_checkpoint(net, [], {"float": 0, "qat": 0, "finished": 1, "rows": 1})
    losses = [asdict(loss) for loss in quantiser.losses]
    row = {"phase": "adopted", "test_accuracy": found, "float_accuracy": exact, "losses": losses}
    run.log(row, keep=0)
    watch("test", 2, 2)
    return Adopted(run, exact, found, quantiser.losses, learned.names, list(net.counted), left_out)


def _size_of(model: Model, data: str) -> ImageRule | None:
    """Pictures in a folder are read at the size that the net's own file names."""
    image = model.image if is_folder(Path(data)) else None
    if image is None or image[2] not in MODES:
        return None
    return ImageRule(*image)


def _kept(train: Split, order: NDArray[np.int64], seed: int) -> kept.Kept:
    """Samples by which nothing was set yet are held out, where there are enough of them."""
    half, rest = len(order) // 2, shuffled(len(train), seed, len(order), len(train) - len(order))
    if len(rest) < kept.HELD_OUT:
        rest = order[half:]
    return kept.choose(train.take(order[:half]), train.take(rest), seed)


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


@torch.no_grad()
def _float_accuracy(graph: Graph, test: Split) -> float:
    few = batches(to_samples(test), at_once(graph, len(graph.nodes) - 1))
    right = [int((graph.result(pixels(x)).flatten(1).argmax(1) == y).sum()) for x, y in few]
    return sum(right) / len(test)
