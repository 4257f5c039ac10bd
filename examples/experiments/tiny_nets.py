"""MLPerf Tiny's three classifiers adopted and exported to C: what they take on a chip.

    OMP_NUM_THREADS=1 python examples/experiments/tiny_nets.py

The architectures are the benchmark's (Banbury et al. 2021, arXiv 2106.07597): its weights are Keras
files, so these are drawn, and no accuracy is claimed.  Images are noise.  Writes
results/tiny_nets.json: bytes of arena, state and flash of the C program that learns its head, and
of some that learn more; beside them the size of the benchmark's own int8 file.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from dated import dated
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.compile.blank import blank_constants
from dfedge.exporters.planned import state_bytes
from dfedge.exporters.write import ExportOptions, export

RESULTS, WORK = Path(__file__).parent / "results" / "tiny_nets.json", Path("out/tiny_nets")
SAMPLES = 96
PUBLISHED_KB = {"ds_cnn": 52.5, "mobilenet": 325.0, "resnet8": 96.0}
"""Of the benchmark's int8 .tflite files: table 1 of the paper."""
NETS = {"ds_cnn": (49, 10, 1), "mobilenet": (96, 96, 3), "resnet8": (32, 32, 3)}
CLASSES = {"ds_cnn": 12, "mobilenet": 2, "resnet8": 10}
LEARN = {"ds_cnn": ("head", "last:2", "last:4"), "mobilenet": ("head", "last:2", "last:4"),
         "resnet8": ("head", "last:1", "all")}  # fmt: skip
WIDTHS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1),
          (128, 1), (128, 1), (256, 2), (256, 1))  # fmt: skip
"""Channels and stride of MobileNetV1's blocks at a quarter of its width."""


def _conv(given: int, made: int, kernel: Any, stride: int, groups: int = 1) -> nn.Sequential:
    pad = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(given, made, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(made), nn.ReLU(),
    )  # fmt: skip


def _separable(given: int, made: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_conv(given, given, 3, stride, given), _conv(given, made, 1, 1))


def _ended(*layers: nn.Module, channels: int, classes: int) -> nn.Module:
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(channels, classes)).eval()


def ds_cnn() -> nn.Module:
    """Key words: 49 frames of 10 coefficients."""
    blocks = [_separable(64, 64, 1) for _ in range(4)]
    return _ended(_conv(1, 64, (10, 4), 2), *blocks, channels=64, classes=12)


def mobilenet() -> nn.Module:
    """A person, or none."""
    given, blocks = 8, []
    for made, stride in WIDTHS:
        blocks.append(_separable(given, made, stride))
        given = made
    return _ended(_conv(3, 8, 3, 2), *blocks, channels=256, classes=2)


class _Residual(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(given, made, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(made, made, 3, 1, 1), nn.BatchNorm2d(made))
        self.skip = nn.Conv2d(given, made, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.skip(x))


def resnet8() -> nn.Module:
    """CIFAR-10."""
    blocks = [_Residual(16, 16, 1), _Residual(16, 32, 2), _Residual(32, 64, 2)]
    return _ended(_conv(3, 16, 3, 1), *blocks, channels=64, classes=10)


def measured(name: str, learn: str) -> dict[str, Any]:
    """Adopt, and export to C, which replays golden batches in it."""
    rng, data = np.random.default_rng(0), WORK / f"{name}.npz"
    x = rng.integers(0, 256, (SAMPLES, *NETS[name]), np.uint8)
    np.savez(data, x=x, y=np.arange(SAMPLES) % CLASSES[name])
    found = adopt(AdoptOptions(f"tiny_nets:{name}", str(data), learn=learn), WORK / "run")
    bundle = export(found.run, ExportOptions(("c",), trial=False), WORK / "bundle")
    memory = json.loads((WORK / "bundle" / "manifest.json").read_text())["formats"]["c"]["memory"]
    train = next(plan for method, plan in memory.items() if method.startswith("train"))
    row = {
        "train_arena": train["arena_bytes"],
        "state": train["state_bytes"],
        "flash_of_trunk": state_bytes(blank_constants(bundle.manifest.plan)),
    }
    for made in ("run", "bundle"):
        shutil.rmtree(WORK / made)
    return row


def main() -> None:
    sys.modules["tiny_nets"] = sys.modules["__main__"]
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    rows = {}
    for name in NETS:
        rows[name] = {learn: measured(name, learn) for learn in LEARN[name]}
        rows[name]["published_kb"] = PUBLISHED_KB[name]
        print(name, rows[name], flush=True)
    RESULTS.write_text(json.dumps({**dated(), "nets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
