"""``dfedge adopt``: MODEL and data -> a RUN, calibrated, that everything else takes as its own."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.halves import choice, halves
from dfedge.adoption.layers import Learned, anchored, by_scores_alone
from dfedge.adoption.noise import NOISY, OperationLoss, noisiest
from dfedge.adoption.observe import real
from dfedge.adoption.prepared import AdoptOptions as AdoptOptions
from dfedge.adoption.prepared import Prepared, prepared
from dfedge.adoption.taps import with_taps
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.sources import named
from dfedge.errors import DfedgeError
from dfedge.learn import kept
from dfedge.learn.forms.onepass import pixels
from dfedge.learn.recipe import load_recipe
from dfedge.learn.run import Calibration, Run, RunPlan
from dfedge.learn.run_data import tested
from dfedge.learn.samples import batches, to_samples
from dfedge.learn.skeleton import obstacle
from dfedge.learn.spec import Settings
from dfedge.learn.trainer import accuracy
from dfedge.progress import Progress
from dfedge.trunk import Trunk

LOG = logging.getLogger(__name__)


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
    losses: list[OperationLoss]
    learned: list[str]
    counted: list[int]
    left_out: tuple[str, ...] = ()


def adopt(options: AdoptOptions, out: Path, watch: Progress = lambda *_: None) -> Adopted:
    """Translate, calibrate, set anchors, write.

    Raises:
        UsageError, DfedgeError: what cannot be adopted, with the reason; nothing is written then.
    """
    count, taps = choice(options.learn)
    recipe = load_recipe(options.recipe)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DfedgeError(f"{out} exists and is not empty; choose another --out")
    watch("read the net", 0, 1)
    given = prepared(options)
    drawn, half = given.drawn, len(given.drawn) // 2
    x = torch.from_numpy(to_input(drawn.x[: recipe.samples]))
    graph = with_taps(given.graph, taps, real(x)) if taps else given.graph
    made = halves(graph, x, count, recipe, watch)
    learned, trunk, constants = made.learned, made.trunk, made.constants
    own, held_out = (
        to_samples(drawn.take(part), "cpu", trunk, constants)
        for part in (np.arange(half), np.arange(half, len(drawn)))
    )
    chosen, tried = anchored(learned, own, held_out, recipe, given.fitted)
    plan = _plan(options, given, learned, trunk)
    test = tested(plan, given.data)
    watch("test", 0, 2)
    exact = _float_accuracy(graph, test)
    watch("test", 1, 2)
    samples = to_samples(test, "cpu", trunk, constants)
    scored = accuracy(learned.net, samples)
    by_scores = by_scores_alone(learned, chosen, tried, samples)
    run = Run.create(out, plan)
    if trunk is not None:
        run.write_constants(constants)
    if options.keep:
        kept.write(run.folder, _kept(given, options.seed))
    assert learned.net.scales is not None
    run.write_calibration(Calibration(options.recipe, recipe, learned.net.scales))
    run.save_checkpoint(learned.net, [], {"float": 0, "qat": 0, "finished": 1, "rows": 1})
    losses = [asdict(loss) for loss in made.losses]
    row = {"phase": "adopted", "test_accuracy": scored, "float_accuracy": exact, "losses": losses}
    run.log(row, keep=0)
    watch("test", 2, 2)
    _warn(made.losses)
    return Adopted(
        run,
        exact,
        scored,
        by_scores,
        made.losses,
        learned.names,
        list(learned.net.counted),
        graph.left_out,
    )


def _plan(options: AdoptOptions, given: Prepared, learned: Learned, trunk: Trunk | None) -> RunPlan:
    plan = RunPlan(
        data=named(options.data),
        data_dir=str(options.data_dir.resolve()) if options.data_dir else None,
        classes=given.classes,
        input=given.rule,
        net_name=f"{options.model} --learn {options.learn}",
        net=learned.net.spec,
        rule="df",
        form="one-pass",
        settings=Settings(test_samples=options.test_samples),
        qat=False,
        seed=options.seed,
        trunk=trunk,
        cut=given.cut,
        on_bad_sample=given.policy,
        reading=options.reading,
    )
    why = obstacle(plan.net, plan.seen_shape, len(plan.classes), "one-pass")
    if why is not None:
        raise DfedgeError(f"{options.model}: not supported by the integer runtime: {why}")
    return plan


def _warn(losses: list[OperationLoss]) -> None:
    worst = noisiest(losses)
    if worst is not None:
        LOG.info(
            "'%s' keeps %.1f dB of signal to noise in int8, below %.0f; compare float and int8; "
            "--explain draws every result",
            worst.name,
            worst.snr,
            NOISY,
        )


def _kept(given: Prepared, seed: int) -> kept.KeptSamples:
    """Samples by which nothing was set yet are held out, where there are enough of them."""
    train, used = given.data.part("train")[1], len(given.drawn)
    half, rest = used // 2, given.order[used:]
    if len(rest) < kept.HELD_OUT:
        rest = given.order[half:used]
    chosen = kept.choose(train.take(given.order[:half]), train.take(rest), seed, given.rule.shape)
    return kept.KeptSamples(*(part.read(given.rule) for part in chosen))


@torch.no_grad()
def _float_accuracy(graph: ForeignGraph, test: Split) -> float:
    few = batches(to_samples(test), graph.at_once())
    right = [int((graph.result(pixels(x)).flatten(1).argmax(1) == y).sum()) for x, y in few]
    return sum(right) / len(test)
