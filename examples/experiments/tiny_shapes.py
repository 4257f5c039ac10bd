"""Two of MLPerf Tiny's architectures with drawn weights, for what needs a net in torch.

Banbury et al. 2021, arXiv 2106.07597; the trained files: `tiny_nets.py`.
"""

from typing import Any

import torch
from torch import Tensor, nn

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
