"""A RUN folder: one training run on the host, resumable at every epoch.

run.json                what is trained: data, net, rule, settings, seed; never changes
checkpoint.safetensors  parameters, statistics and optimiser after the last whole epoch
metrics.jsonl           one object an epoch, and one for each evaluation on the test split
calibration.json        power-of-two scales, once calibrated
trunk.safetensors       of an adopted net: the constants of its frozen trunk
kept.safetensors        samples that learning is tried on at export (`dfedge.learn.kept`)
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from dfedge.atomic import write_file
from dfedge.data.catalogue import Cut
from dfedge.data.door import Policy
from dfedge.data.inputs import InputRule, decoded
from dfedge.data.modes import Normal
from dfedge.data.reading import Reading
from dfedge.disk import DISK
from dfedge.errors import DfedgeError, foreign
from dfedge.int8.scales import LayerScales
from dfedge.learn.net import Net
from dfedge.learn.recipe import Recipe
from dfedge.learn.rules import load_rule
from dfedge.learn.spec import NetSpec, Settings
from dfedge.manifest import RUN
from dfedge.plan import Form
from dfedge.regular import fault, open_file, read_bytes
from dfedge.trunk import Trunk

VERSION = 1
TRUNK = "trunk.safetensors"


Slots = dict[int, dict[str, Tensor]]
"""An optimiser's memory: parameter -> slot -> value."""


class RunPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run trains: run.json.

    Attributes:
        trunk: of an adopted net: its frozen part.
        cut: how data in one piece were cut; None: they have splits of their own.
        on_bad_sample: what becomes of a sample that cannot be read.
        reading: what the data do not say themselves.
        normal: of a run that learns what is normal.
    """

    data: str
    data_dir: str | None
    classes: tuple[str, ...]
    input: InputRule
    net_name: str
    net: NetSpec
    rule: str
    form: Form
    settings: Settings
    qat: bool
    seed: int
    version: int = VERSION
    trunk: Trunk | None = None
    cut: Cut | None = None
    on_bad_sample: Policy = "stop"
    reading: Reading = Reading()
    normal: Normal | None = None

    @property
    def seen_shape(self) -> tuple[int, int, int]:
        """[H, W, C] of what the first layer receives."""
        return self.trunk.output_shape if self.trunk else self.input.shape

    def make_net(self) -> Net:
        """The untrained net, initialised from the seed."""
        torch.manual_seed(self.seed)
        net = Net(self.net, self.seen_shape, len(self.classes), self.form)
        net.weight_bits = self.settings.weight_bits
        net.lean = self.settings.lean
        rule = load_rule(self.rule)
        rule.prepare(net)
        if rule.last_only:
            net.counted = net.counted[-1:]
        return net


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """calibration.json: the recipe that was followed and the exponents that came of it."""

    recipe_name: str
    recipe: Recipe
    layers: tuple[LayerScales, ...]


class Run:
    """An open RUN folder."""

    def __init__(self, folder: Path, plan: RunPlan) -> None:
        self.folder, self.plan = folder, plan

    @staticmethod
    def create(folder: Path, plan: RunPlan) -> "Run":
        """Open the folder for this plan, new or as it was left.

        Raises:
            DfedgeError: the folder holds something else, or a run of another plan.
        """
        if (folder / RUN).exists():
            run = Run.open(folder)
            differing = [
                name
                for name in RunPlan.__struct_fields__
                if getattr(run.plan, name) != getattr(plan, name)
            ]
            if differing:
                raise DfedgeError(
                    f"{folder} holds another run (it differs in {', '.join(differing)}); "
                    "choose another --out, or repeat its options to resume it"
                )
            return run
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DfedgeError(f"{folder} exists and is not a run; choose another --out")
        DISK.make_folder(folder)
        write_file(folder / RUN, msgspec.json.format(msgspec.json.encode(plan)))
        return Run(folder, plan)

    @staticmethod
    def open(folder: Path) -> "Run":
        """Open an existing run.

        Raises:
            DfedgeError: no run there, or one of another version.
        """
        path = folder / RUN
        try:
            raw = read_bytes(path)
        except OSError as error:
            raise DfedgeError(
                f"{folder} is not a run folder ({fault(path, error)}); "
                f"make one with: dfedge train --out {folder}"
            ) from error
        with foreign(path, "a run", "train again"):
            plan = msgspec.json.decode(raw, type=RunPlan, dec_hook=decoded)
            if plan.trunk is not None and not plan.trunk.sound:
                raise ValueError("its trunk cannot be computed")
            return Run(folder, plan)

    # -- metrics ---------------------------------------------------------------------------------

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        with foreign(path, "metrics", "train again"):
            text = read_bytes(path).decode() if path.exists() else ""
            return [json.loads(line) for line in text.splitlines()]

    def finished(self) -> bool:
        """Whether training came to its end: the last phase's accuracy was measured."""
        last = "qat" if self.plan.qat else "float"
        return any(r["phase"] == last and "test_accuracy" in r for r in self.metrics())

    def log(self, row: dict[str, Any], keep: int) -> None:
        """Append a line after the first ``keep``: what a crash left beyond them is dropped."""
        rows = [*self.metrics()[:keep], row]
        text = "".join(json.dumps(one) + "\n" for one in rows)
        write_file(self.folder / "metrics.jsonl", text.encode())

    # -- calibration -----------------------------------------------------------------------------

    def calibration(self) -> Calibration:
        """The run's scales.

        Raises:
            DfedgeError: never calibrated.
        """
        path = self.folder / "calibration.json"
        if not path.exists():
            raise DfedgeError(
                f"{self.folder} is not calibrated; run: dfedge calibrate {self.folder}"
            )
        with foreign(path, "a calibration", "calibrate again"):
            return msgspec.json.decode(read_bytes(path), type=Calibration)

    def write_calibration(self, calibration: Calibration) -> None:
        """Keep the scales."""
        text = msgspec.json.format(msgspec.json.encode(calibration))
        write_file(self.folder / "calibration.json", text)

    # -- trunk -----------------------------------------------------------------------------------

    def constants(self) -> dict[str, Tensor]:
        """Of the frozen trunk; none where there is none.

        Raises:
            DfedgeError: a file that is missing or not this trunk's.
        """
        if self.plan.trunk is None:
            return {}
        path = self.folder / TRUNK
        with foreign(path, "a trunk", "adopt again"):
            found = load(read_bytes(path))
        flaw = self.plan.trunk.flaw(found)
        if flaw:
            raise DfedgeError(f"{path}: {flaw} do not match run.json; adopt again")
        return found

    def write_constants(self, constants: dict[str, Tensor]) -> None:
        """Keep the trunk's constants."""
        write_file(self.folder / TRUNK, save(constants))

    # -- checkpoint ------------------------------------------------------------------------------

    def save_checkpoint(
        self, net: Net, optimisers: Sequence[torch.optim.Optimizer], progress: dict[str, int]
    ) -> None:
        """Keep the net, the optimisers and how far the run is, in one file, whole or absent."""
        tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
        for layer, optimiser in enumerate(optimisers):
            for index, slots in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{layer}.{index}.{slot}": v for slot, v in slots.items()}
        cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        # One entry: the file keeps no order of several.
        meta = {"progress": json.dumps(progress | {"counted": net.counted})}
        write_file(self.folder / "checkpoint.safetensors", save(cpu, meta))

    def load_checkpoint(self, net: Net) -> tuple[dict[str, int], list[Slots]] | None:
        """Fill the net; what `save_checkpoint` was told of progress, and each optimiser's slots.

        Raises:
            DfedgeError: a damaged file.
        """
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        slots: list[Slots] = [{} for _ in net.units]
        with foreign(path, "a checkpoint", "train again"):
            with open_file(path), safe_open(os.fspath(path), "pt") as file:
                meta: dict[str, Any] = json.loads(file.metadata()["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            weights = {n.removeprefix("net."): t for n, t in tensors.items() if n[:4] == "net."}
            net.load_state_dict(weights)
            net.counted = tuple(meta.pop("counted"))
            for name, tensor in tensors.items():
                if name.startswith("optimiser."):
                    _, layer, index, slot = name.split(".")
                    slots[int(layer)].setdefault(int(index), {})[slot] = tensor
        return meta, slots

    def load_net(self) -> Net:
        """The trained net in evaluation mode, in float, on the CPU.

        Raises:
            DfedgeError: nothing trained yet.
        """
        net = self.plan.make_net()
        loaded = self.load_checkpoint(net)
        if loaded is None or not loaded[0]["finished"]:
            raise DfedgeError(
                f"{self.folder} is not fully trained; resume it with: "
                f"dfedge train (with the same options) --out {self.folder}"
            )
        return net.eval()
