"""The nets of `harm.py`: trained by dfedge, or by back-propagation in torch and adopted.

Whoever trains sees one file .npz of the kind's train part; dfedge cuts a fifth of it off for its
own tests.  What is left is the net's own training data.  The parts that `harm.py` judges on are
never in the file.
"""

import shutil
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from harm_cells import Cell
from harm_data import KINDS, Parts
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.blocks import Block
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.sources import load
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train

MIRRORED = ("cifar", "photos32", "photos64")
STILL = ("watch", "vectors")
"""Groups whose samples are not moved about in training."""


class Unit(nn.Module):
    """One block as torch has it: its convolutions, each with batch normalisation."""

    def __init__(self, given: int, block: Block) -> None:
        super().__init__()
        out, stride = block.channels, block.stride
        self.kind = block.kind
        self.skip: nn.Module = nn.Identity()
        if block.kind == "separable":
            self.first = _conv(given, given, 3, stride, given)
            self.second = _conv(given, out, 1)
        elif block.kind == "residual":
            self.first, self.second = _conv(given, out, 3, stride), _conv(out, out, 3)
            if stride != 1 or given != out:
                self.skip = _conv(given, out, 1, stride)
        else:
            self.first, self.second = _conv(given, out, 3, stride), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        inner = F.relu(self.first(x))
        if self.kind == "conv":
            return inner
        inner = self.second(inner)
        return F.relu(inner + self.skip(x)) if self.kind == "residual" else F.relu(inner)


def _conv(given: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(given, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out))


class Convolutions(nn.Module):
    """Blocks, the mean over the map, a linear layer."""

    def __init__(self, channels: int, blocks: list[Block], classes: int) -> None:
        super().__init__()
        given = [channels, *(block.channels for block in blocks)]
        self.units = nn.Sequential(*(Unit(c, b) for c, b in zip(given, blocks, strict=False)))
        self.last = nn.Linear(given[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        return self.last(F.adaptive_avg_pool2d(self.units(x), 1).flatten(1))


def perceptron(width: int, blocks: list[Block], classes: int) -> nn.Module:
    """Linear layers over the flattened image."""
    given = [width, *(block.channels for block in blocks)]
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise(given):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(given[-1], classes))


def descended(cell: Cell, own: Split, classes: int, seed: int) -> nn.Module:
    """The cell's net after its epochs of back-propagation on its own data."""
    torch.manual_seed(seed)
    if cell.net == "linear":
        net = perceptron(own.x[0].size, cell.layout(), classes)
    else:
        net = Convolutions(own.x.shape[3], cell.layout(), classes)
    x = torch.from_numpy(to_input(own.x)).permute(0, 3, 1, 2).float() / 128
    y = torch.from_numpy(own.y)
    epochs = cell.epochs + cell.qat_epochs
    steps = epochs * -(-len(y) // 32)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    net.train()
    for _ in range(epochs):
        for index in torch.randperm(len(y)).tensor_split(-(-len(y) // 32)):
            loss = F.cross_entropy(net(x[index]), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return net.eval()


def toml(cell: Cell) -> str:
    """The cell's net as dfedge reads it."""
    height, width, channels = KINDS[cell.data].shape
    moved = 0 if cell.group in STILL else max(1, min(height, width) // 16)
    lines = [
        f"anchors = {cell.anchors}",
        "[train]",
        f"epochs = {cell.epochs}",
        f"qat_epochs = {cell.qat_epochs}",
        f"shift = {moved}",
        f"flip = {'true' if cell.group in MIRRORED else 'false'}",
        f"anchor_lr = {10.0 if channels == 3 else 1.0}",
    ]
    for block in cell.layout():
        lines += ["[[block]]", f'kind = "{block.kind}"', f"channels = {block.channels}"]
        lines += [f"stride = {block.stride}", f"pool = {'true' if block.pool else 'false'}"]
    return "\n".join(lines) + "\n"


def written(parts: Parts, folder: Path) -> Path:
    """The file that the net is trained on."""
    path = folder / "own.npz"
    np.savez(path, x=parts.train.x, y=parts.train.y, classes=np.array(parts.classes))
    return path


def own_data(path: Path, seed: int) -> Split:
    """What a net of that seed is trained on, of the file."""
    return load(str(path)).cut(seed).splits["train"]


def kept_net(
    cell: Cell, parts: Parts, seed: int, nets: Path, loss: str | None = None
) -> tuple[Run, Path]:
    """The cell's net, trained or adopted, and the file that it was trained on.

    A net that is there is not trained again: no rate and no trial has a part in its training.
    """
    folder = nets / f"{cell.number:03d}-{seed}"
    done = folder / "cell.json"
    wanted = msgspec.json.encode(cell)
    if not done.exists() or done.read_bytes() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        trained(cell, written(parts, folder), seed, folder, loss)
        done.write_bytes(wanted)
    return Run.open(folder / "run"), folder / "own.npz"


def trained(cell: Cell, path: Path, seed: int, folder: Path, loss: str | None = None) -> Run:
    """Train or adopt the cell's net."""
    if not cell.learn:
        net = folder / "net.toml"
        net.write_text(toml(cell))
        options = TrainOptions(
            str(path), net=str(net), rule=cell.rule, qat=True, seed=seed, loss={"kind": loss}
        )
        return train(options, folder / "run")
    own = own_data(path, seed)
    model = folder / "net.pt2"
    net_of = descended(cell, own, KINDS[cell.data].classes, seed)
    height, width, channels = own.x.shape[1:]
    example = (torch.zeros(2, channels, height, width),)
    torch.export.save(torch.export.export(net_of, example, strict=False), model)
    options_of = AdoptOptions(str(model), str(path), learn=cell.learn, seed=seed)
    return adopt(options_of, folder / "run").run


def made(
    cell: Cell, parts: Parts, seed: int, folder: Path, nets: Path, loss: str | None = None
) -> tuple[Bundle, Split]:
    """The cell's bundle, and the net's own training data.

    ``loss``: that it is trained by; None: the default.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run, path = kept_net(cell, parts, seed, nets, loss)
    return _exported(cell, run, folder / "bundle"), own_data(path, seed)


def untried(
    cell: Cell, parts: Parts, seed: int, folder: Path, nets: Path, loss: str | None = None
) -> Bundle:
    """The same at the rates from before the export's trial, with nothing frozen, which the
    yardsticks start from.
    """
    run, _ = kept_net(cell, parts, seed, nets, loss)
    return _exported(cell, run, folder / "untried", trial=False)


def _exported(cell: Cell, run: Run, out: Path, trial: bool = True) -> Bundle:
    rule = cell.rule if cell.learn else None
    batch = cell.batch if cell.batch > 1 else 16
    return export(run, ExportOptions(("c",), batch=batch, rule=rule, trial=trial), out)
