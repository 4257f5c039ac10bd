"""The rival: the plan's net in float32, trained by back-propagation with SGD.

The same convolutions, shortcuts and pools.  Of a net of one's own a linear head stands on the last
layer's pooled features in place of its anchors; an adopted net's last layer is its own linear one.
The loss is cross-entropy.  What the plan freezes is frozen (`dfedge.bench.frozen`).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfedge.bench.frozen import frozen
from dfedge.bench.layers import FloatLayer
from dfedge.plan import Plan
from dfedge.quiet import quiet

LEARNING_RATE = 0.01


class FloatNet(nn.Module):
    """What of a plan learns: float32 [B, C, H, W], as `dfedge.bench.frozen` gives it -> [B, K]."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        own, last = list(plan.layers[plan.cut :]), plan.layers[-1]
        features = last.features
        if gives_scores(plan):
            conv = own.pop().convs[0]
            features = conv.height * conv.width * conv.in_channels
        self.layers = nn.ModuleList(FloatLayer(layer, layer is last) for layer in own)
        self.head = nn.Linear(features, plan.classes)

    def forward(self, x: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """The logits; or what layers ``first`` to ``end`` make of their input."""
        count = len(self.layers)
        end = count if end is None else end
        for layer in self.layers[first:end]:
            x = layer(x)
        if end < count:
            return x
        logits: Tensor = self.head(x.flatten(1))
        return logits


def gives_scores(plan: Plan) -> bool:
    """Whether the last layer is an adopted net's own linear one."""
    (first, *more) = plan.layers[-1].convs
    whole = first.kernel == (first.height, first.width)
    return plan.adopted and whole and not more and not first.depthwise


class FloatLoss(nn.Module):
    """What is trained: (x, y) -> cross-entropy, and the classes found."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.net = frozen(plan), FloatNet(plan)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and classes int64 [B]."""
        logits = self.logits(x)
        return F.cross_entropy(logits, y), logits.detach().argmax(1)

    def logits(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, K]."""
        logits: Tensor = self.net(self.frozen(x))
        return logits


class Logits(nn.Module):
    """Inference alone."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.whole = FloatLoss(plan)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, K]."""
        return self.whole.logits(x)


def example(plan: Plan, batch: int) -> tuple[Tensor, Tensor]:
    """A random batch: x float32 [B, C, H, W], y int64 [B]."""
    first, g = plan.layers[0].convs[0], torch.Generator().manual_seed(0)
    sides = first.height, first.width, first.in_channels
    height, width, channels = plan.trunk.input_shape if plan.trunk else sides
    x = torch.rand((batch, channels, height, width), generator=g)
    return x, torch.randint(plan.classes, (batch,), generator=g)


def latents(plan: Plan, batch: int) -> tuple[Tensor, Tensor]:
    """As `example`, of what the first layer that learns receives."""
    x, y = example(plan, batch)
    return frozen(plan)(x), y


def write_executorch(plan: Plan, batch: int, path: Path) -> None:
    """The joint forward-backward program of ExecuTorch's training extension, and an example."""
    from torch.export.experimental import _export_forward_backward

    torch.save(example(plan, batch), path.with_suffix(".pt"))
    with quiet():
        from executorch.exir import to_edge

        exported = torch.export.export(FloatLoss(plan), example(plan, batch), strict=True)
        path.write_bytes(to_edge(_export_forward_backward(exported)).to_executorch().buffer)


def write_onnx(plan: Plan, batch: int, path: Path, learns: bool = True) -> None:
    """The forward graph, from which onnxruntime-training makes its own.

    Args:
        learns: weights stay apart; else constants are folded.
    """
    mode = torch.onnx.TrainingMode
    with quiet():
        torch.onnx.export(
            Logits(plan),
            (example(plan, batch)[0],),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["logits"],
            do_constant_folding=not learns,
            training=mode.TRAINING if learns else mode.EVAL,
        )
