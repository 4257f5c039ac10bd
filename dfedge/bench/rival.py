"""The rival: the plan's net in float32, trained by back-propagation with SGD.

Same convolutions, shortcuts and pools; a linear head on the last layer's pooled features in place
of its anchors, and cross-entropy.  Batch normalisation is folded as in the integer program, so the
rival is spared its cost.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from dfedge.exporters.order import write_back_early
from dfedge.maps import cell_grid, cell_size, pool_window
from dfedge.plan import Conv, Layer, Plan
from dfedge.quiet import quiet

LEARNING_RATE = 0.01


class FloatConv(nn.Module):
    """One convolution of a plan with its bias."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        top, bottom, left, right = conv.pads
        self.even = top == bottom and left == right
        self.pads = [left, right, top, bottom]
        groups = conv.in_channels if conv.depthwise else 1
        padding = (top, left) if self.even else (0, 0)
        self.inner = nn.Conv2d(
            conv.in_channels, conv.channels, conv.kernel, conv.stride, padding, groups=groups
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, O, H', W']."""
        result: Tensor = self.inner(x if self.even else F.pad(x, self.pads))
        return result


class FloatLayer(nn.Module):
    """One layer of a plan, before its pool."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.residual, self.chain = layer.join is not None, layer.chain
        self.convs = nn.ModuleList(FloatConv(conv) for conv in layer.convs)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> [B, O, H', W']."""
        skip = self.convs[self.chain](x) if len(self.convs) > self.chain else x
        for conv in self.convs[: self.chain - 1]:
            x = F.relu(conv(x))
        x = self.convs[self.chain - 1](x)
        return F.relu(x + skip if self.residual else x)


class FloatNet(nn.Module):
    """A plan's net with a linear head: float32 [B, C, H, W] -> logits [B, K]."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FloatLayer(layer) for layer in plan.layers)
        self.pools = [
            pool_window(layer.ends.output[:2]) if layer.pool else () for layer in plan.layers[:-1]
        ]
        self.cells, end = plan.layers[-1].cells, plan.layers[-1].ends
        self.shape = end.channels, end.out_height, end.out_width
        self.head = nn.Linear(plan.layers[-1].features, plan.classes)

    def forward(self, x: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """The logits; or what layers ``first`` to ``end`` make of their input."""
        count = len(self.layers)
        end = count if end is None else end
        for i in range(first, min(end, count - 1)):
            x = self.layers[i](x)
            x = F.max_pool2d(x, self.pools[i]) if self.pools[i] else x
        if end < count:
            return x
        h = self.layers[-1](x)
        channels, rows, cols = self.shape  # numbers, where a tracer would see h.shape as tensors
        down, across = cell_grid((rows, cols), self.cells)
        height, width = cell_size((rows, cols), self.cells)
        # Zeros joined on: ExecuTorch refuses the backward of pad and lacks that of avg_pool2d.
        if height * down > rows:
            h = torch.cat([h, 0 * h[:, :, : height * down - rows]], 2)
        if width * across > cols:
            h = torch.cat([h, 0 * h[..., : width * across - cols]], 3)
        parts = h.reshape(-1, channels, down, height, across, width)
        logits: Tensor = self.head(parts.mean((3, 5)).flatten(1))
        return logits


class FloatLoss(nn.Module):
    """What is trained: (x, y) -> cross-entropy, and the classes found."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = FloatNet(plan)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and classes int64 [B]."""
        logits = self.net(x)
        return F.cross_entropy(logits, y), logits.detach().argmax(1)


def example(plan: Plan, batch: int) -> tuple[Tensor, Tensor]:
    """A random batch: x float32 [B, C, H, W], y int64 [B]."""
    first, g = plan.layers[0].convs[0], torch.Generator().manual_seed(0)
    x = torch.rand((batch, first.in_channels, first.height, first.width), generator=g)
    return x, torch.randint(plan.classes, (batch,), generator=g)


def write_executorch(plan: Plan, batch: int, path: Path) -> None:
    """The joint forward-backward program of ExecuTorch's training extension."""
    from torch.export.experimental import _export_forward_backward

    with quiet():
        from executorch.exir import to_edge

        exported = torch.export.export(FloatLoss(plan), example(plan, batch), strict=True)
        path.write_bytes(to_edge(_export_forward_backward(exported)).to_executorch().buffer)


def write_onnx(plan: Plan, batch: int, path: Path) -> None:
    """The forward graph, from which onnxruntime-training makes its own."""
    with quiet():
        torch.onnx.export(
            FloatLoss(plan).net,
            (example(plan, batch)[0],),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["logits"],
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.TRAINING,
        )


def planned(program: torch.export.ExportedProgram) -> tuple[int, GraphModule]:
    """ExecuTorch's arena for a rival's program, dfedge's order of write-backs, and the graph."""
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass

    class EarlyWriteBack(MemoryPlanningPass):  # type: ignore[misc]
        def run(self, module: Any, signature: Any = None) -> Any:
            write_back_early(module)
            return super().run(module, signature)

    config = ExecutorchBackendConfig(
        memory_planning_pass=EarlyWriteBack(share_mutable_buffers=True)
    )
    manager = to_edge(program).to_executorch(config)
    arena = manager.executorch_program.execution_plan[0].non_const_buffer_sizes[1]
    return arena, manager.exported_program("forward").graph_module
