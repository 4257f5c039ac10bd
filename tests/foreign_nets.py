"""Foreign nets for tests of `dfedge adopt`: plain torch, trained on digits in seconds."""

import os
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.data.sources import load

WEIGHTS = "DFEDGE_FOREIGN_WEIGHTS"
"""The folder that the tests keep trained weights in."""


class Small(nn.Module):
    """A little of everything: BN, ReLU6, an inverted residual, squeeze-excite, concat, pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8),
                                  nn.Hardswish())  # fmt: skip
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16),
                                    nn.ReLU6())  # fmt: skip
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False),
                                  nn.BatchNorm2d(16), nn.ReLU6(inplace=True))  # fmt: skip
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, 1, 1, groups=2)
        self.top = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16),
                                 nn.ReLU())  # fmt: skip
        self.last = nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24),
                                  nn.ReLU())  # fmt: skip
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem((x - 0.3) / 0.4)
        x = x + self.project(self.deep(self.expand(x)))
        gate = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        x = x * F.hardsigmoid(self.excite(gate))
        x = torch.cat([F.relu(self.grouped(x)), F.max_pool2d(F.relu(x), 3, 1, 1)], 1)
        x = self.last(F.avg_pool2d(self.top(x), 2, 1))
        return self.fc(self.drop(x.mean((2, 3))))


class Basic(nn.Module):
    """ResNet's block."""

    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(given, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.norm(self.first(x)))) + self.skip(x))


class Residual(nn.Module):
    """Two residual blocks: the DF layers know them, so all of it may learn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, 1, 1)
        self.blocks = nn.Sequential(Basic(8, 8, 1), Basic(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.conv(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Mobile(nn.Module):
    """MobileNetV2's blocks, with and without a shortcut: all of it may learn."""

    def __init__(self) -> None:
        super().__init__()

        def inverted(given: int, wide: int, out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(given, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
                nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(wide),
                nn.ReLU6(), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out),
            )  # fmt: skip

        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU6())
        self.widen = inverted(8, 24, 12)
        self.second, self.third = inverted(12, 36, 12), inverted(12, 30, 12)
        self.last = nn.Sequential(nn.Conv2d(12, 32, 1), nn.ReLU6())
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(self.stem(x))
        x = x + self.second(x)
        x = self.last(x + self.third(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def digits(split: str) -> tuple[Tensor, Tensor]:
    """As dfedge feeds them, in float."""
    data = load("digits").cut(0).splits[split]
    x = torch.from_numpy(data.x >> 1).permute(0, 3, 1, 2).float() / 128
    return x, torch.from_numpy(data.y)


def fit(net: nn.Module, epochs: int = 12) -> nn.Module:
    """A few epochs of AdamW."""
    torch.manual_seed(0)
    x, y = digits("train")
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, epochs * (len(y) // 64))
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for i in range(len(y) // 64):
            index = order[i * 64 : (i + 1) * 64]
            loss = F.cross_entropy(net(x[index]), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


@lru_cache
def _trained(kind: type[nn.Module]) -> nn.Module:
    path = Path(os.environ[WEIGHTS]) / f"{kind.__name__}.pt"
    torch.manual_seed(0)
    net = kind()
    if not path.is_file():
        torch.save(fit(net).state_dict(), path)
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def small() -> nn.Module:
    return _trained(Small)


def residual() -> nn.Module:
    return _trained(Residual)


def mobile() -> nn.Module:
    return _trained(Mobile)


def tiny() -> nn.Module:
    """Untrained: a signed map, padded; a gate; nothing more."""

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(4, 10)
            self.deep = nn.Conv2d(4, 4, 3, 1, 1, groups=4)

        def forward(self, x: Tensor) -> Tensor:
            x = F.hardswish(self.conv(x))
            x = x * F.hardsigmoid(self.deep(x))
            return self.fc((x + x.relu()).mean((2, 3)))

    torch.manual_seed(0)
    return Tiny()


def grouped() -> nn.Module:
    """Untrained: convolutions by groups, narrower, wider, and two outputs of every channel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 1, 1, groups=4), nn.ReLU(),
        nn.Conv2d(12, 6, (1, 2), groups=3), nn.Hardswish(), nn.Conv2d(6, 12, 3, 1, 1, groups=6),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    )  # fmt: skip


class Patterns(nn.Module):
    """What torchvision and timm write otherwise: TensorFlow's uneven padding, a last window that is
    not full (GoogLeNet), parallel branches (RepVGG, MobileOne), a mean with padding (Inception),
    pools to a size (VGG).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(5))
        self.three, self.one = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)
        self.deep, self.thin = (nn.Conv2d(8, 8, k, 2, k // 2, groups=8) for k in (3, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        three, one, same, deep, thin = self.norms
        x = F.relu6(self.stem(F.pad(x, (0, 1, 0, 1))))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(three(self.three(x)) + one(self.one(x)) + same(x))
        x = F.avg_pool2d(F.adaptive_avg_pool2d(x, 4), 3, 1, 1)
        x = F.adaptive_max_pool2d(F.relu(x - 0.1), (4, 4))
        x = F.relu(deep(self.deep(x)) + thin(self.thin(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


def patterns() -> nn.Module:
    """Untrained, its normalisations set to what they see."""
    torch.manual_seed(0)
    net = Patterns().train()
    for norm in net.norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    with torch.no_grad():
        for _ in range(50):
            net(digits("train")[0][:200])
    return net.eval()


def last_windows() -> nn.Module:
    """A pool whose last window leaves the padding, and one whose last would begin in it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
                         nn.MaxPool2d(2, 2, 1, ceil_mode=True), nn.Flatten(),
                         nn.Linear(4 * 9, 10))  # fmt: skip


def _ends_in(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *layers)


def scores_averaged() -> nn.Module:
    """SqueezeNet's end."""
    return _ends_in(nn.Conv2d(4, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def pooled_to_more() -> nn.Module:
    """VGG's end, on images that are too small."""
    return _ends_in(nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(4 * 49, 10))


def shuffled() -> nn.Module:
    """ShuffleNet's."""
    return _ends_in(nn.ChannelShuffle(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def split() -> nn.Module:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([part.relu() for part in x.chunk(2, 1)], 1)

    return _ends_in(Split(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def turned() -> nn.Module:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(2, 3)

    return _ends_in(Turned(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))


def two_heads() -> nn.Module:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 10), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.mean((2, 3))
            return self.a(x), self.b(x)

    return _ends_in(Two())


def moved() -> nn.Module:
    """What moves channels, rows and columns, strides that differ, dilation, a mean that does not
    count its padding, a maximum over the image.
    """

    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 8, 3, (2, 1), 1)
            self.wide = nn.Conv2d(4, 4, 3, padding="same", dilation=(1, 2))
            self.tall = nn.Conv2d(8, 8, 3, (1, 2), 1, groups=8)
            self.fc = nn.Linear(12, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            x = F.interpolate(F.pad(x, (1, 0, 0, 2), mode="reflect"), scale_factor=2)
            x = F.interpolate(x[:, :, 1:-1, ::2], scale_factor=2, mode="bilinear")
            x = F.channel_shuffle(x, 2)
            a, b = x.chunk(2, 1)
            x = torch.cat([F.relu(self.wide(a)), b], 1)[:, [7, 6, 5, 4, 3, 2, 1, 0]]
            x = F.avg_pool2d(x - 0.1, 3, (2, 1), 1, count_include_pad=False)
            x = x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2)
            x = F.max_pool2d(self.tall(x), (1, 2), (2, 1))
            return self.fc(torch.cat([x.amax((2, 3)), x.sum((2, 3))[:, 2:6]], 1))

    torch.manual_seed(0)
    return Moved()


def of_one_row() -> nn.Module:
    """Convolutions along one axis, over the image's rows as channels."""

    class Row(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(1, 6, 3), nn.BatchNorm1d(8)
            self.conv, self.fc = nn.Conv1d(6, 8, 3, 2, 1), nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.norm(self.conv(self.stem(x).amax(2)))).mean(2))

    torch.manual_seed(0)
    return Row()


def cubic() -> nn.Module:
    larger = nn.Upsample(scale_factor=2, mode="bicubic")
    return _ends_in(larger, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def coloured() -> nn.Module:
    """Three channels, with random weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 10),
    ).eval()  # fmt: skip


def with_softmax() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softmax(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 10))  # fmt: skip


def _scores() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)]


def plain_scores() -> nn.Module:
    return nn.Sequential(*_scores())


def ends_in_softmax() -> nn.Module:
    return nn.Sequential(*_scores(), nn.Softmax(1))


def ends_in_log_softmax() -> nn.Module:
    return nn.Sequential(*_scores(), nn.LogSoftmax(-1))


def ends_in_sigmoid() -> nn.Module:
    return nn.Sequential(*_scores(), nn.Sigmoid())


def softmax_over_samples() -> nn.Module:
    return nn.Sequential(*_scores(), nn.Softmax(0))


def branching() -> nn.Module:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)).expand(-1, 10) * (2 if x.sum() > 0 else 1)

    return Branching()


def ten_scores_among_others() -> nn.Module:
    """The small net's scores backwards, with one before and one after that never wins."""
    net = deepcopy(small())
    with torch.no_grad():
        weight, bias = net.fc.weight.flip(0), net.fc.bias.flip(0)
        net.fc = nn.Linear(weight.shape[1], 12)
        net.fc.weight.copy_(F.pad(weight, (0, 0, 1, 1)))
        net.fc.bias.copy_(F.pad(bias, (1, 1), value=-100.0))
    return net


def seven_scores() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 7))  # fmt: skip


def not_finite() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(4, 10))  # fmt: skip
    with torch.no_grad():
        net[0].weight[0] = torch.nan
    return net


def no_net() -> int:
    return 3
