"""A whole run: float epochs, then calibration and epochs under fake quantisation, resumable."""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfedge.data.dataset import Dataset
from dfedge.data.modes import HELD
from dfedge.data.order import shuffled
from dfedge.errors import DfedgeError, UsageError
from dfedge.learn import kept, parallel
from dfedge.learn.calibrate import calibrate
from dfedge.learn.counted import choose_layers
from dfedge.learn.net import Net
from dfedge.learn.normal import conclude
from dfedge.learn.options import TrainOptions as TrainOptions
from dfedge.learn.options import plan_run as plan_run
from dfedge.learn.recipe import DEFAULT_RECIPE, load_recipe
from dfedge.learn.rules import load_rule
from dfedge.learn.run import Calibration, Run, Slots
from dfedge.learn.run_data import open_run_data
from dfedge.learn.samples import from_samples, to_samples
from dfedge.learn.skeleton import obstacle
from dfedge.learn.trainer import EpochReport, Trainer, accuracy, initialise_anchors
from dfedge.plugins import trust
from dfedge.progress import PROGRESS, Progress
from dfedge.units import percent


def train(
    options: TrainOptions,
    out: Path,
    device: str = "cpu",
    watch: Progress = lambda *_: None,
    minutes: float = 0,
) -> Run:
    """Train to the end, from the start or from where the run in ``out`` was left.

    Under torchrun every process calls this; the first alone writes.

    Args:
        minutes: of this call: it returns after the epoch in which they have passed, and the next
            call goes on (`Run.finished`); 0: to the end.

    Raises:
        UsageError, DfedgeError: bad names, data or folder; nothing is written then.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no GPU; use --device cpu")
    trust(options.data)
    trust(options.rule)
    plan, dataset = plan_run(options)
    rank, world = parallel.join()
    if rank == 0:
        run = Run.create(out, plan)
    parallel.wait()
    if rank:
        run = Run.open(out)
    if device == "cuda" and world > 1:
        device = f"cuda:{rank % torch.cuda.device_count()}"
    if rank == 0:
        parts = ", ".join(f"{len(part.y):,} {name}" for name, part in dataset.splits.items())
        shape = " x ".join(map(str, plan.input.shape))
        PROGRESS.info("%s: %s samples of %s, %d classes; net %s", plan.data, parts, shape,
                      len(plan.classes), plan.net_name)  # fmt: skip
    training = _Training(run, dataset, device, watch, rank, world)
    if options.keep and rank == 0 and not (run.folder / kept.FILE).exists():
        training.keep()
    training.go(time.monotonic() + 60 * minutes if minutes else math.inf)
    parallel.wait()
    return run


class _Training:
    """One run on one device: two phases of epochs, a checkpoint after each epoch."""

    def __init__(
        self, run: Run, dataset: Dataset, device: str, watch: Progress, rank: int, world: int
    ) -> None:
        self.run, self.plan, self.watch = run, run.plan, watch
        self.rank, self.world = rank, world
        whole = to_samples(dataset.split("train")[1], device)
        settings = self.plan.settings
        if settings.samples:
            whole = whole.hold_out(settings.samples, self.plan.seed)[1]
        count = kept.held_out_count(len(whole), settings.validation)
        if self.plan.normal:
            self.samples, self.held_out = whole, to_samples(dataset.split(HELD)[1], device)
        else:
            self.samples, self.held_out = whole.hold_out(count, self.plan.seed)
        self.test = to_samples(dataset.split("test")[1], device)
        if 0 < settings.test_samples < len(self.test):
            self.test = self.test.hold_out(settings.test_samples, self.plan.seed)[1]
        self.net = self.plan.make_net().to(device)
        if device != "cpu":
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loaded = run.load_checkpoint(self.net)
        self.progress = {"float": 0, "qat": 0, "finished": 0, "rows": 0}
        self.slots: list[Slots] = []
        if loaded is None:
            initialise_anchors(self.net, self.samples)
        else:
            self.progress, self.slots = loaded

    def go(self, end: float) -> None:
        """Do what is left to do, until the monotonic clock passes ``end``."""
        if self.progress["finished"]:
            return
        if not self.phase("float", self.plan.settings.epochs, 1.0, end):
            return
        if self.plan.qat:
            if not self.progress["qat"]:
                self.calibrate()
            self.net.scales = self.run.calibration().layers
            quantised = self.plan.settings.qat_epochs, self.plan.settings.qat_lr
            if not self.phase("qat", *quantised, end):
                return
        self.progress["finished"] = 1
        self.save([])

    def phase(self, name: str, epochs: int, peak: float, end: float) -> bool:
        """Float or quantised epochs, and the accuracy on the test split after the last.

        Returns:
            Whether this phase is done; not where the time is over.
        """
        if self.progress[name] > epochs:
            return True
        settings, seed = self.plan.settings, self.plan.seed
        rule = load_rule(self.plan.rule)
        trainer = Trainer(
            self.net, rule, settings, seed, epochs, peak, rank=self.rank, world=self.world
        )
        for optimiser, slots in zip(trainer.optimisers, self.slots, strict=False):
            _refill(optimiser, slots)
        self.slots = []
        for number in range(self.progress[name], epochs):
            watch = partial(self.watch, f"{name} epoch {number + 1} of {epochs}")
            report = trainer.epoch(self.samples, number, watch)
            self.log({"phase": name, "epoch": number + 1, **_row(report)})
            PROGRESS.info("%s epoch %d of %d: %s", name, number + 1, epochs, _said(report))
            self.progress[name] = number + 1
            self.save(trainer.optimisers)
            if parallel.any_of(time.monotonic() > end):
                return False
        self.conclude(name, rule.last_only)
        self.progress[name] = epochs + 1
        self.save([])
        return True

    def conclude(self, phase: str, last_only: bool) -> None:
        """Choose the layers that count, after the float phase, and log what the net then knows."""
        row: dict[str, Any] = {"phase": phase}
        wanted = self.plan.settings.validation and not last_only
        if self.plan.normal:
            row |= conclude(self.net, self.samples, self.held_out, self.plan.seed, phase)
        elif wanted and phase == "float":
            self.net.counted, row["validation_accuracy"] = choose_layers(self.net, self.held_out)
        row["counted"] = list(self.net.counted)
        row["test_accuracy"] = accuracy(self.net, self.test)
        self.log(row)

    def calibrate(self) -> None:
        """Choose scales by the default recipe; the quantised epochs then train with them."""
        recipe = load_recipe(DEFAULT_RECIPE)
        scales = calibrate(self.net, pick(self.samples.x, recipe.samples, recipe.seed), recipe)
        if self.rank == 0:
            self.run.write_calibration(Calibration(DEFAULT_RECIPE, recipe, scales))
        parallel.wait()

    def keep(self) -> None:
        """Write samples that the net trains on, and some that it never sees."""
        trained, held_out = (from_samples(part) for part in (self.samples, self.held_out))
        chosen = kept.choose(trained, held_out, self.plan.seed, self.plan.input.shape)
        kept.write(self.run.folder, kept.KeptSamples(*chosen))

    def save(self, optimisers: list[torch.optim.AdamW]) -> None:
        """The checkpoint."""
        if self.rank == 0:
            self.run.save_checkpoint(self.net, optimisers, self.progress)

    def log(self, row: dict[str, Any]) -> None:
        """Append to the metrics."""
        if self.rank == 0:
            self.run.log(row, keep=self.progress["rows"])
        self.progress["rows"] += 1


def _refill(optimiser: torch.optim.AdamW, slots: Slots) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    laid_out = {
        # In the parameter's own memory format: the fused kernel walks both in one order.
        i: {k: torch.empty_like(parameters[i]).copy_(v) if v.ndim else v for k, v in slot.items()}
        for i, slot in slots.items()
    }
    optimiser.load_state_dict(optimiser.state_dict() | {"state": laid_out})


def _said(report: EpochReport) -> str:
    loss = sum(value for value in report.loss if value == value)  # of layers that have one
    return f"loss {loss:.4g}, {percent(report.accuracy)} of the training samples"


def _row(report: EpochReport) -> dict[str, Any]:
    return {
        "loss": [None if value != value else round(value, 6) for value in report.loss],
        "active": [None if value != value else round(value, 4) for value in report.active],
        "train_accuracy": round(report.accuracy, 4),
    }


def pick(x: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """``count`` samples at random, or all of them."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[order[:count].to(x.device)]


def calibrate_run(run: Run, recipe_name: str) -> Calibration:
    """Choose a trained run's scales by a recipe, from its training split, and keep them in it.

    Raises:
        UsageError, DfedgeError: an unknown recipe, a run not trained, data not found.
    """
    recipe = load_recipe(recipe_name)
    net = run.load_net()
    train = open_run_data(run.plan).part("train")[1]
    if run.plan.trunk is not None:  # what is picked below is all that the trunk need see
        train = train.take(shuffled(len(train), recipe.seed, 0, min(recipe.samples, len(train))))
    samples = to_samples(train.read(run.plan.input), "cpu", run.plan.trunk, run.constants())
    scales = calibrate(net, pick(samples.x, recipe.samples, recipe.seed), recipe)
    calibration = Calibration(recipe_name, recipe, scales)
    run.write_calibration(calibration)
    return calibration


def quantised_net(run: Run) -> Net:
    """A run's trained net with its scales set: what is lowered.

    Raises:
        DfedgeError: not trained, never calibrated, or of a kind that the integer step lacks.
    """
    plan = run.plan
    why = obstacle(plan.net, plan.seen_shape, len(plan.classes), plan.form)
    if why is not None:
        raise DfedgeError(f"{run.folder}: not supported by the integer runtime: {why}")
    net = run.load_net()
    net.scales = run.calibration().layers
    return net
