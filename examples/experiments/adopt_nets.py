"""Two nets in plain torch, trained by back-propagation: what `dfedge adopt` is shown on.

    OMP_NUM_THREADS=1 python examples/experiments/adopt_nets.py resnet8 --minutes 12
    OMP_NUM_THREADS=1 python examples/experiments/adopt_nets.py mobilenet_v2 --minutes 12
    OMP_NUM_THREADS=1 python examples/experiments/adopt_nets.py resnet8 --data cifar100 --minutes 12

The weights go to out/adopt/NET.pt (of CIFAR-100: NET-cifar100.pt); `resnet8()`, `mobilenet_v2()`
and `resnet8_cifar100()` read them from there. Minutes are CPU minutes of one core: the learning
rate follows them, so that a slow machine trains fewer epochs and not half a schedule. Inputs are
what dfedge feeds, (byte >> 1) / 128, as float.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OUT = Path("out/adopt")
CLASSES = 10
SETS = {"cifar10": 10, "cifar100": 100}
"""Data, and their classes."""


class Basic(nn.Module):
    """ResNet's basic block."""

    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.skip = nn.Identity()
        if stride != 1 or given != channels:
            self.skip = nn.Sequential(
                nn.Conv2d(given, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.skip(x))


class ResNet8(nn.Module):
    """Three basic blocks of 16, 32 and 64 channels: MLPerf Tiny's, 78,000 weights."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Basic(16, 16, 1), Basic(16, 32, 2), Basic(32, 64, 2))
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def conv_bn(given: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(given, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class Inverted(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, given: int, out: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = given * expand
        layers = [*conv_bn(given, wide, 1), nn.ReLU6()] if expand != 1 else []
        layers += [*conv_bn(wide, wide, 3, stride, wide), nn.ReLU6(), *conv_bn(wide, out, 1)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and given == out

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        return x + self.conv(x) if self.residual else self.conv(x)


def eighths(channels: float) -> int:
    """torchvision's rounding to multiples of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class MobileNetV2(nn.Module):
    """torchvision's blocks and widths; ``strides`` of the stem and the stages fit small images."""

    SETTINGS = (
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    )

    def __init__(
        self,
        width: float = 0.35,
        strides: tuple[int, ...] = (2, 1, 1, 2, 2, 1, 1, 1),
        last: int = 1280,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        given = eighths(32 * width)
        layers = [*conv_bn(3, given, 3, strides[0]), nn.ReLU6()]
        for (expand, channels, count), stride in zip(self.SETTINGS, strides[1:], strict=True):
            out = eighths(channels * width)
            for i in range(count):
                layers.append(Inverted(given, out, stride if i == 0 else 1, expand))
                given = out
        layers += [*conv_bn(given, last, 1), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W]."""
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.classifier(x)


NETS = {"resnet8": ResNet8, "mobilenet_v2": MobileNetV2}


def weights(name: str, given: str = "cifar10") -> Path:
    """Where a net's weights are."""
    return OUT / (f"{name}.pt" if given == "cifar10" else f"{name}-{given}.pt")


def _trained(name: str, given: str = "cifar10") -> nn.Module:
    net = NETS[name](classes=SETS[given])
    net.load_state_dict(torch.load(weights(name, given), weights_only=True))
    return net.eval()


def resnet8() -> nn.Module:
    """As trained here."""
    return _trained("resnet8")


def resnet8_cifar100() -> nn.Module:
    """As trained here, with 100 scores."""
    return _trained("resnet8", "cifar100")


def mobilenet_v2() -> nn.Module:
    """As trained here."""
    return _trained("mobilenet_v2")


def mobilenet_v2_128() -> nn.Module:
    """For images of 128 x 128 with torchvision's strides, untrained: what sizes are read off."""
    torch.manual_seed(0)
    return MobileNetV2(strides=(2, 1, 2, 2, 2, 1, 2, 1)).eval()


def data(split: str, given: str = "cifar10") -> tuple[Tensor, Tensor]:
    """A data set as dfedge would feed it: float [N, 3, 32, 32] and labels."""
    from dfedge.data.sources import load

    found = load(given).splits[split]
    x = torch.from_numpy(found.x >> 1).permute(0, 3, 1, 2).float() / 128
    return x, torch.from_numpy(found.y)


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    parts = range(0, len(y), 500)
    right = sum(int((net(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum()) for i in parts)
    return right / len(y)


def descend(
    net: nn.Module,
    images_of: Callable[[Tensor, float], Tensor],
    y: Tensor,
    minutes: float,
    peak: float,
    batch: int,
) -> float:
    """Cross-entropy for CPU minutes of this process; the epochs that these were.

    Args:
        images_of: float [B, C, H, W] of samples by number, when a part of the time is over.
    """
    optimiser = torch.optim.SGD(net.parameters(), peak, 0.9, weight_decay=5e-4, nesterov=True)
    start, seen = time.process_time(), 0
    net.to(memory_format=torch.channels_last).train()
    while (done := (time.process_time() - start) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = peak * min(done / 0.1, (1 - done) / 0.9)
        index = torch.randint(len(y), (batch,))
        images = images_of(index, done).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(net(images), y[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen += batch
        if seen % (batch * 50) == 0:
            print(f"{done:.2f} {seen / len(y):.2f} epochs, loss {loss.item():.3f}", flush=True)
    return seen / len(y)


def moved(images: Tensor, pad: int) -> Tensor:
    """Half of them mirrored, all shifted alike by up to ``pad`` pixels: [B, C, H, W]."""
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    i, j = (int(v) for v in torch.randint(0, 2 * pad + 1, (2,)))
    height, width = images.shape[2:]
    return F.pad(images, (pad,) * 4)[:, :, i : i + height, j : j + width]


def train(
    name: str,
    minutes: float,
    given: str = "cifar10",
    seed: int = 0,
    batch: int = 128,
    peak: float = 0.1,
) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net, (x, y) = NETS[name](classes=SETS[given]), data("train", given)
    epochs = descend(net, lambda index, _: moved(x[index], 2), y, minutes, peak, batch)
    OUT.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), weights(name, given))
    print(f"{name}: {epochs:.1f} epochs, test accuracy {accuracy(net, *data('test', given)):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("--data", choices=list(SETS), default="cifar10")
    parser.add_argument("--minutes", type=float, default=12)
    asked = parser.parse_args()
    train(asked.net, asked.minutes, asked.data)
