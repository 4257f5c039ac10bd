"""Local learning units: what stands between two boundaries that no gradient crosses.

Every unit is made of `ConvNorm` stages, a convolution with batch normalisation.  A stage may take
its input's gradient through fixed random weights B instead of its own W (feedback alignment); that
is all that rule ``df-r`` changes.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

from dfedge.blocks import Block
from dfedge.maps import pool_window
from dfedge.plan import Conv, Feedback, Shape

Draw = Callable[[str, torch.Size], Tensor]
CLEAR = 3.0
"""Deviations below its mean from which on a block ``gain`` cuts a value off, at first."""


def normal(name: str, shape: torch.Size) -> Tensor:
    """Fixed random weights of the size that a layer begins with, a function of ``name`` alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn * (2 / shape[1:].numel()) ** 0.5


class _Feedback(torch.autograd.Function):
    """A convolution whose input gradient goes through B instead of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, stride: int, groups: int) -> Tensor:
        ctx.save_for_backward(x, w, b)
        ctx.stride, ctx.groups = stride, groups
        return F.conv2d(x, w, stride=stride, groups=groups)

    @staticmethod
    def backward(
        ctx: Any, *errors: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, w, b = ctx.saved_tensors
        how: dict[str, Any] = {"stride": ctx.stride, "groups": ctx.groups}
        (error,) = errors
        to_x, to_w = None, None
        if ctx.needs_input_grad[0]:
            back = b.to(error.dtype)
            to_x = grad.conv2d_input(x.shape, back, error, **how)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            seen = x.to(error.dtype)
            to_w = grad.conv2d_weight(seen, w.shape, error, **how)  # type: ignore[no-untyped-call]
            to_w = to_w.to(w.dtype)
        return to_x, to_w, None, None, None


class ConvNorm(nn.Module):
    """A convolution and its normalisation."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        above, below, left, right = conv.pads
        self.stride, self.padding = conv.stride, [left, right, above, below]
        self.groups = conv.in_channels if conv.depthwise else 1
        shape = conv.channels, conv.in_channels // self.groups, *conv.kernel
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.norm = nn.BatchNorm2d(conv.channels)
        self.feedback: Feedback = "transpose"
        self.random: Tensor
        self.register_buffer("random", torch.empty(0), persistent=False)

    def take_feedback(self, kind: Feedback, weights: Tensor) -> None:
        """From now on, let the input's gradient through these, of the weights' shape."""
        self.feedback, self.random = kind, weights.to(self.weight.device)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Without normalisation."""
        if self.feedback == "transpose":
            if self.padding[0] == self.padding[1] and self.padding[2] == self.padding[3]:
                even = (self.padding[2], self.padding[0])
                return F.conv2d(x, weight, bias, self.stride, even, groups=self.groups)
            return F.conv2d(F.pad(x, self.padding), weight, bias, self.stride, groups=self.groups)
        back = self.random
        if self.feedback == "sign-concordant":
            back = back.abs() * weight.detach().sign()
        padded = F.pad(x, self.padding)
        y: Tensor = _Feedback.apply(padded, weight, back, self.stride, self.groups)  # type: ignore[no-untyped-call]
        return y if bias is None else y + bias[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], before any ReLU."""
        z = self.convolve(x, self.weight)
        if z.numel() == z.shape[1]:  # one value a channel has no deviation of its own
            norm = self.norm
            return F.batch_norm(
                z, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        y: Tensor = self.norm(z)
        return y

    def fold_factor(self) -> Tensor:
        """By what the normalisation multiplies each output channel, [O]."""
        norm = self.norm
        assert norm.running_var is not None
        return norm.weight / torch.sqrt(norm.running_var + norm.eps)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight [O, C, k, k] and bias [O], the running statistics folded in, in real units."""
        norm, scale = self.norm, self.fold_factor()
        assert norm.running_mean is not None
        return self.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class Unit(nn.Module):
    """A unit of any kind: [B, C, H, W] -> the last ReLU's output [B, O, H', W']."""

    def __init__(self, block: Block, shape: Shape) -> None:
        super().__init__()
        self.block = block
        stages = [ConvNorm(conv) for conv in block.convs(shape)]
        self.stages = nn.ModuleList(stages)
        if block.kind == "gain":  # hands on what it sees: normalised, and clear of the ReLU
            nn.init.ones_(self.first.weight)
            nn.init.constant_(self.first.norm.bias, CLEAR)

    @property
    def first(self) -> ConvNorm:
        """The first stage; the only one of a plain convolution."""
        return self.conv(0)

    @property
    def last(self) -> ConvNorm:
        """The last stage of a chain."""
        return self.conv(len(self.stages) - 1)

    def conv(self, j: int) -> ConvNorm:
        """A stage, typed."""
        stage = self.stages[j]
        assert isinstance(stage, ConvNorm)
        return stage

    @property
    def joined(self) -> bool:
        """Whether the input is added before the last ReLU."""
        return self.block.made_of.adds > 0

    @property
    def chain(self) -> int:
        """Stages that follow one another; one more is that of the skipped input."""
        return self.block.made_of.adds or len(self.stages)

    def before_last_norm(self, x: Tensor) -> Tensor:
        """The last convolution's output, where no input is added."""
        for stage in self.stages[:-1]:
            x = F.relu(stage(x))
        return self.last.convolve(x, self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """In float."""
        return self.outputs(x)[-1]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """What each stage ends in, in float: the ReLU that its accumulator goes into."""
        found, inner = [], x
        for stage in self.stages[: self.chain - 1]:
            inner = F.relu(stage(inner))
            found.append(inner)
        total = self.stages[self.chain - 1](inner)
        skips = self.stages[self.chain :]
        if self.joined:
            total = total + (skips[0](x) if skips else x)
        h = F.relu(total)
        return [*found, h, *([h] * len(skips))]

    def hand_on(self, h: Tensor) -> Tensor:
        """The pool, where the block has one."""
        if self.block.mean:
            return h.mean((2, 3), keepdim=True)
        return F.max_pool2d(h, pool_window(h.shape[2:])) if self.block.pool else h
