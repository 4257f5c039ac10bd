"""A net as others train theirs: convolutions, batch normalisation, back-propagation, ONNX."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.data.dataset import Split
from dfedge.quiet import quiet

WIDTHS = ((16, 1), (32, 2), (48, 2), (64, 1))
"""Channels and stride of each convolution."""
EPOCHS, BATCH, RATE = 12, 32, 3e-3


def train_net(split: Split, classes: int, seed: int) -> nn.Module:
    """Train on uint8 images [N, H, W, C]; the net takes float32 [B, C, H, W] in 0..1."""
    torch.manual_seed(seed)
    given, layers = split.x.shape[-1], list[nn.Module]()
    for width, stride in WIDTHS:
        layers += [nn.Conv2d(given, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU()]  # fmt: skip
        given = width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, classes))
    optimiser, steps = torch.optim.AdamW(net.parameters(), RATE), -(-len(split) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, EPOCHS * steps)
    x, y = to_float(split), torch.from_numpy(split.y)
    for _ in range(EPOCHS):
        for index in torch.split(torch.randperm(len(y)), BATCH):
            loss = F.cross_entropy(net(x[index]), y[index])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net.eval()


def to_float(split: Split) -> Tensor:
    """float32 [N, C, H, W] in 0..1."""
    return torch.from_numpy(split.x).permute(0, 3, 1, 2).float() / 255


def write_onnx(net: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """One file; ``shape`` is [H, W, C]."""
    height, width, channels = shape
    with quiet():
        torch.onnx.export(
            net, (torch.zeros(1, channels, height, width),), str(path), dynamo=False,
            input_names=["image"], output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        )  # fmt: skip
