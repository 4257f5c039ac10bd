"""From a calibrated run to a bundle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from dfedge.bundle import Bundle
from dfedge.compile.fold import lower
from dfedge.compile.rates import LEAST_BATCH
from dfedge.compile.state import State
from dfedge.data.catalogue import SplitPart
from dfedge.data.inputs import to_input
from dfedge.data.order import shuffled
from dfedge.data.sources import open_data
from dfedge.errors import UsageError
from dfedge.exporters.assemble import Origin, assemble, check_place
from dfedge.exporters.budget import check_possible, tile_bytes_for
from dfedge.exporters.formats import ExportSource, load_writer
from dfedge.exporters.golden import golden_samples, make_golden
from dfedge.exporters.known import known_arrays, temperature
from dfedge.exporters.learning import MIN_HELD_OUT, trial, untried
from dfedge.exporters.normal import threshold
from dfedge.exporters.options import (
    ExportOptions,
    binary_weights,
    check_firmware,
    check_version,
    device_rule,
    first_learning,
)
from dfedge.exporters.program import methods
from dfedge.exporters.renderings import check_rendering, renderings
from dfedge.int8.bounds import check_sizes
from dfedge.int8.trunk import Constants
from dfedge.learn.kept import KeptSamples, choose, held_out_count
from dfedge.learn.kept import read as read_kept
from dfedge.learn.lineage import lineage
from dfedge.learn.net import Net
from dfedge.learn.run import Run, RunPlan
from dfedge.learn.run_data import cut_for, open_run_data, tested
from dfedge.learn.samples import behind, to_samples
from dfedge.learn.train import quantised_net
from dfedge.learn.trainer import accuracy
from dfedge.manifest import Exponents, Learning
from dfedge.plan import Plan
from dfedge.progress import Progress
from dfedge.target import budget_of, check_runtimes, load_target

__all__ = ["ExportOptions", "export", "lowered"]


def export(
    run: Run,
    options: ExportOptions,
    out: Path,
    watch: Progress = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Write a bundle; ``out`` appears whole, after every format gave the golden integers.

    Args:
        tell: called with what was left out, and why.

    Raises:
        UsageError: an unknown format, rendering, target or ecosystem, or a version that is no
            whole number or lower than that of the bundle in ``out``.
        DfedgeError: a run not calibrated, a program that does not fit the target or whose integers
            differ, an ``out`` that holds something else.
    """
    for name in options.formats:
        load_writer(name)
    check_rendering(options.rendering, options.formats)
    check_firmware(options)
    target = load_target(options.target)
    check_runtimes(target, options.target, list(options.formats))
    budget = budget_of(target, options.target, options.budget)
    check_version(options.version)
    check_place(out, options.version)
    rule = device_rule(options.rule, run)
    net = quantised_net(run)
    data = open_run_data(run.plan)
    train = data.part("train")[1]
    constants = run.constants()
    plan, state = _lower(net, train, rule, options, run.plan, constants)
    measured = state
    kept = _kept(run, options)
    learning = Learning()
    if options.trial:
        plan, state, learning = _tried(run, plan, state, kept, constants, options.batch, watch)
    check_sizes(plan, options.batch)
    check_possible(budget, plan, options.batch)
    formats, notes = renderings(options.formats, options.rendering, plan, state, constants)
    for note in notes:
        tell(note)
    known = known_arrays(kept, measured) if kept is not None else {}
    origin = Origin(
        net=run.plan.net_name,
        rule=run.plan.rule,
        data=run.plan.data,
        classes=run.plan.classes,
        input=run.plan.input,
        exponents=[
            Exponents([c.weight for c in own.convs], [c.activation for c in own.convs])
            for own in net.scales or ()
        ],
        test_accuracy=accuracy(
            net, to_samples(tested(run.plan, data), "cpu", plan.trunk, constants)
        ),
        recipe=run.calibration().recipe_name,
        learning=learning,
        known=known,
        temperature=temperature(known, plan, state, constants),
        lineage=lineage(run),
        version=options.version,
        cut=run.plan.cut,
        reading=run.plan.reading,
        normal=threshold(run.plan, data, plan, state, constants) if run.plan.normal else None,
    )
    drawn = train.take(golden_samples(len(train), options.batch)).read(run.plan.input)
    golden = make_golden(plan, state, drawn, options.batch, constants)
    alignment = max(target.arena_alignment, 16)  # ExecuTorch's least
    tile_bytes = min(tile_bytes_for(budget, format, plan, options.batch) for format in formats)
    source = ExportSource(
        plan,
        state,
        methods(plan, {1, options.batch}),
        alignment,
        tile_bytes,
        constants=constants,
        prefix=options.prefix,
        ecosystem=options.ecosystem,
        binary=binary_weights(options),
    )
    return assemble(source, origin, golden, tuple(formats), options.target, budget, out, watch)


def _kept(run: Run, options: ExportOptions) -> KeptSamples | None:
    """Samples to try learning on, and to bring along; None where one of both kinds is missing."""
    plan = run.plan
    if options.data is None:
        kept = read_kept(run.folder)
    else:
        folder = Path(plan.data_dir) if plan.data_dir else None
        own = None if plan.normal else plan.classes
        found = open_data(options.data, folder, own, reading=plan.reading)
        whole = cut_for(plan, found).part("train")[1]
        order = shuffled(len(whole), plan.seed, 0, len(whole))
        held_out = held_out_count(len(whole), 0)
        parts = whole.take(order[held_out:]), whole.take(order[:held_out])
        chosen = choose(*parts, plan.seed, plan.input.shape)
        kept = KeptSamples(*(part.read(plan.input) for part in chosen))
    if kept is None or not len(kept.trained) or not len(kept.held_out):
        return None
    kept.check(len(plan.classes), plan.input.shape, run.folder)
    return kept


def _tried(
    run: Run,
    plan: Plan,
    state: State,
    kept: KeptSamples | None,
    constants: Constants,
    batch: int,
    watch: Progress,
) -> tuple[Plan, State, Learning]:
    """What the trial of learning chose, or anchors alone where there was nothing to try it with."""
    if not run.plan.settings.epochs:  # random weights know nothing that could be harmed
        return plan, state, Learning(learns="all", frozen=plan.cut)
    held_out = 0 if kept is None else len(kept.held_out)
    if kept is None or held_out < MIN_HELD_OUT:
        state, learning = untried(plan, state, held_out)
        return plan, state, learning
    return trial(plan, state, kept, constants, batch, run.plan.input, watch)


def lowered(run: Run, options: ExportOptions | None = None) -> tuple[Plan, State]:
    """A calibrated run's plan and first state, its update shifts measured on training samples.

    Raises:
        DfedgeError: not trained, never calibrated, or the data are gone.
    """
    options = options or ExportOptions()
    train = open_run_data(run.plan).part("train")[1]
    rule = device_rule(options.rule, run)
    return _lower(quantised_net(run), train, rule, options, run.plan, run.constants())


def _lower(
    net: Net,
    train: SplitPart,
    rule: str,
    options: ExportOptions,
    own: RunPlan,
    constants: Constants,
) -> tuple[Plan, State]:
    wanted = 2 * max(options.batch, LEAST_BATCH)
    drawn = train.take(shuffled(len(train), 0, 0, min(wanted, len(train) // 2 * 2)))
    few = drawn.read(own.input)
    labels = torch.from_numpy(few.y.astype(np.int32))
    cut = first_learning(options.train_layers, len(net.units))
    if cut and net.plane:
        raise UsageError("--train-layers: the label-plane form trains all layers")
    if options.spare_classes < 0:
        raise UsageError(f"--spare-classes {options.spare_classes}: allowed: 0 or more")
    x = torch.from_numpy(to_input(few.x))
    if own.trunk is not None:
        x = behind(own.trunk, constants, x)
    trained = bool(own.settings.epochs)
    plan, state = lower(net, x, labels, rule, options.spare_classes, cut, trained, options.batch)
    return replace(plan, trunk=own.trunk), state
