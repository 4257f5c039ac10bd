"""Training one cell: a short effort on the CPU, the full one on a GPU."""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from dfedge.learn.rules import load_rule
from dfedge.learn.run import Run
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import to_samples
from dfedge.learn.train import TrainOptions, train
from dfedge.learn.trainer import Trainer
from dfedge.reproduce.table import Context, Row


@dataclass(frozen=True)
class Effort:
    """How much is trained: ``samples`` of the split (0: all), epochs, fake-quantised epochs."""

    samples: int = 0
    epochs: int = 1
    qat_epochs: int = 1


@dataclass(frozen=True)
class Cell:
    """What is trained, ``short`` on a CPU and ``full`` where a GPU is at hand."""

    options: TrainOptions
    short: Effort
    full: Effort | None = None

    def effort(self, device: str) -> tuple[Effort, str]:
        """The effort for a device, and the status of its result."""
        if self.full is None:
            return self.short, "done"
        return (self.short, "short") if device == "cpu" else (self.full, "done")

    def train(self, key: str, context: Context) -> tuple[Run, Row]:
        """The trained run, and what is to be said of it."""
        effort, status = self.effort(context.device)
        changes: dict[str, Any] = {
            "samples": effort.samples,
            "epochs": effort.epochs,
            "qat_epochs": effort.qat_epochs,
        }
        options = replace(
            self.options,
            data_dir=context.data_dir,
            settings=(self.options.settings or {}) | changes,
        )
        out = context.runs / f"{key.replace(' ', '_')}-{effort.samples}-{effort.epochs}"
        watch = context.watch if context.device != "cpu" else (lambda *_: None)
        run = train(options, out, context.device, watch)
        metrics = run.metrics()
        ends = {row["phase"]: row for row in metrics if "test_accuracy" in row}
        plan = run.plan
        held = plan.settings.validation
        used = effort.samples or 0
        return run, {
            "status": status,
            "accuracy": ends["float"]["test_accuracy"],
            "qat": ends["qat"]["test_accuracy"] if "qat" in ends else None,
            "counted": ends["float"]["counted"],
            "data": plan.data,
            "net": plan.net_name,
            "rule": plan.rule,
            "form": plan.form,
            "seed": plan.seed,
            "epochs": effort.epochs,
            "samples": used or "all",
            "held_out": held,
            "tested": plan.settings.test_samples or "all",
            "images_seen": _seen(run) * effort.epochs,
            "width": plan.net.block[0].channels,
            "layers": len(plan.net.blocks()),
            "active": [
                one["active"] for one in metrics if one["phase"] == "float" and "epoch" in one
            ][-1],
        }


def images_per_second(run: Run, device: str, count: int = 1280) -> float:
    """Speed of a run's training loop in float, measured on an epoch of ``count`` samples."""
    plan = run.plan
    samples = to_samples(load_data(plan).split("train")[1], device)
    part = samples.take(torch.arange(min(count, len(samples))))
    net = plan.make_net().to(device)
    trainer = Trainer(net, load_rule(plan.rule), plan.settings, plan.seed, 2)
    trainer.epoch(part, 0, lambda *_: None)  # warm
    start = time.perf_counter()
    trainer.epoch(part, 1, lambda *_: None)
    return len(part) / (time.perf_counter() - start)


def _seen(run: Run) -> int:
    plan = run.plan
    count = plan.settings.samples or len(load_data(plan).split("train")[1])
    return count - plan.settings.validation
