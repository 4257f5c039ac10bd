"""A whole run: float epochs, then calibration and epochs under fake quantisation, resumable."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from dfedge.data.dataset import Dataset, Split
from dfedge.data.image import ImageRule, to_input
from dfedge.data.sources import DEFAULT_NETS, load
from dfedge.errors import UsageError
from dfedge.int8.bounds import check_sizes
from dfedge.learn.calibrate import calibrate
from dfedge.learn.net import Net
from dfedge.learn.recipe import DEFAULT_RECIPE, load_recipe
from dfedge.learn.rules import load_rule
from dfedge.learn.run import Calibration, Run, RunPlan
from dfedge.learn.spec import NetSpec, Settings, load_spec
from dfedge.learn.trainer import EpochReport, Samples, Trainer, accuracy, initialise_anchors

Watch = Callable[[str, int, int], None]
"""Called with (what is going on, steps done, steps in all)."""


@dataclass(frozen=True)
class TrainOptions:
    """What to train; ``settings`` overrides single fields of the net's own settings."""

    data: str = "digits"
    data_dir: Path | None = None
    net: str | None = None
    rule: str = "df"
    qat: bool = False
    seed: int = 0
    settings: dict[str, Any] | None = None


def to_samples(split: Split, device: str = "cpu") -> Samples:
    """A split as tensors on the training device."""
    x = torch.from_numpy(to_input(split.x)).permute(0, 3, 1, 2).contiguous()
    return Samples(x.to(device), torch.from_numpy(split.y).to(device))


def plan_run(options: TrainOptions) -> tuple[RunPlan, Dataset]:
    """Resolve names, read the data and check that the integer step can hold the net.

    Raises:
        UsageError, DfedgeError: before anything is written.
    """
    load_rule(options.rule)
    name = options.net or DEFAULT_NETS.get(options.data, "mnist")
    spec = load_spec(name)
    dataset = load(options.data, options.data_dir).cut(options.seed)
    check_sizes(spec.sizes(dataset.shape), len(dataset.classes), batch=1)
    plan = RunPlan(
        data=options.data if options.data in DEFAULT_NETS else str(Path(options.data).resolve()),
        data_dir=str(options.data_dir.resolve()) if options.data_dir else None,
        classes=dataset.classes,
        image=ImageRule(*dataset.shape),
        net_name=name,
        net=spec,
        rule=options.rule,
        settings=_override(spec, options.settings or {}),
        qat=options.qat,
        seed=options.seed,
    )
    return plan, dataset


def _override(spec: NetSpec, changes: dict[str, Any]) -> Settings:
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return msgspec.convert(msgspec.structs.asdict(spec.train) | given, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"training settings: {error}") from error


def train(
    options: TrainOptions, out: Path, device: str = "cpu", watch: Watch = lambda *_: None
) -> Run:
    """Train to the end, from the start or from where the run in ``out`` was left.

    Raises:
        UsageError, DfedgeError: bad names, data or folder; nothing is written then.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this PyTorch sees no GPU; use --device cpu")
    plan, dataset = plan_run(options)
    run = Run.create(out, plan)
    _Training(run, dataset, device, watch).go()
    return run


class _Training:
    """One run on one device: two phases of epochs, a checkpoint after each epoch."""

    def __init__(self, run: Run, dataset: Dataset, device: str, watch: Watch) -> None:
        self.run, self.plan, self.watch = run, run.plan, watch
        self.samples = to_samples(dataset.split("train")[1], device)
        self.test = to_samples(dataset.split("test")[1], device)
        self.net = self.plan.make_net().to(device)
        loaded = run.load_checkpoint(self.net)
        self.progress = {"float": 0, "qat": 0, "finished": 0, "rows": 0}
        self.slots: dict[int, dict[str, torch.Tensor]] = {}
        if loaded is None:
            initialise_anchors(self.net, self.samples)
        else:
            self.progress, self.slots = loaded

    def go(self) -> None:
        """Do what is left to do."""
        if self.progress["finished"]:
            return
        self.phase("float", self.plan.settings.epochs, 1.0)
        if self.plan.qat:
            if not self.progress["qat"]:
                self.calibrate()
            self.net.scales = self.run.calibration().scales()
            self.phase("qat", self.plan.settings.qat_epochs, self.plan.settings.qat_lr)
        self.progress["finished"] = 1
        self.run.save_checkpoint(self.net, None, self.progress)

    def phase(self, name: str, epochs: int, peak: float) -> None:
        """Float or quantised epochs, and the accuracy on the test split after the last."""
        if self.progress[name] > epochs:
            return
        settings, seed = self.plan.settings, self.plan.seed
        trainer = Trainer(self.net, load_rule(self.plan.rule), settings, seed, epochs, peak)
        if self.slots:
            frozen = trainer.optimiser.state_dict()
            trainer.optimiser.load_state_dict(frozen | {"state": self.slots})
            self.slots = {}
        for number in range(self.progress[name], epochs):
            watch = partial(self.watch, f"{name} epoch {number + 1} of {epochs}")
            report = trainer.epoch(self.samples, number, watch)
            self.log({"phase": name, "epoch": number + 1, **_row(report)})
            self.progress[name] = number + 1
            self.run.save_checkpoint(self.net, trainer.optimiser, self.progress)
        self.log({"phase": name, "test_accuracy": accuracy(self.net, self.test)})
        self.progress[name] = epochs + 1
        self.run.save_checkpoint(self.net, None, self.progress)

    def calibrate(self) -> None:
        """Choose scales by the default recipe; the quantised epochs then train with them."""
        recipe = load_recipe(DEFAULT_RECIPE)
        scales = calibrate(self.net, pick(self.samples.x, recipe.samples, recipe.seed), recipe)
        self.run.write_calibration(Calibration.of(DEFAULT_RECIPE, recipe, scales))

    def log(self, row: dict[str, Any]) -> None:
        """Append to the metrics."""
        self.run.log(row, keep=self.progress["rows"])
        self.progress["rows"] += 1


def _row(report: EpochReport) -> dict[str, Any]:
    return {
        "loss": [round(value, 6) for value in report.loss],
        "active": [round(value, 4) for value in report.active],
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
    samples = to_samples(load_data(run.plan).split("train")[1])
    scales = calibrate(net, pick(samples.x, recipe.samples, recipe.seed), recipe)
    calibration = Calibration.of(recipe_name, recipe, scales)
    run.write_calibration(calibration)
    return calibration


def load_data(plan: RunPlan) -> Dataset:
    """The data that a run was planned on, cut as it was then."""
    folder = Path(plan.data_dir) if plan.data_dir else None
    return load(plan.data, folder, plan.image, plan.classes).cut(plan.seed)


def quantised_net(run: Run) -> Net:
    """A run's trained net with its scales set: what is lowered.

    Raises:
        DfedgeError: not trained, or never calibrated.
    """
    net = run.load_net()
    net.scales = run.calibration().scales()
    return net
