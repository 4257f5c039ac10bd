"""Random frozen trunks of every kind of step, with what learns above them: for tests."""

import math
import random
from collections.abc import Sequence

import torch
from msgspec.structs import replace
from torch import Tensor
from trials.random_nets import Drawn, filled

from dfedge.blocks import Block
from dfedge.int8.trunk import Constants, evaluate
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import Loss, NetSpec
from dfedge.operations import (
    OPERATIONS,
    Add,
    AnyOperation,
    AveragePool,
    Concat,
    Convolution,
    Gather,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Select,
    Shape,
)
from dfedge.plan import FEEDBACKS
from dfedge.trunk import Trunk

WIDEST, LARGEST_SIDE = 130, 16


class Drawing:
    """One trunk on its way."""

    def __init__(self, r: random.Random, image: Shape) -> None:
        self.r, self.shapes = r, [image]
        self.operations: list[AnyOperation] = []
        self.constants: dict[str, Tensor] = {}

    def add(self, kind: type) -> None:
        """A step of this kind, of the last value or, now and then, of another."""
        last = len(self.shapes) - 1
        read = last if self.r.random() < 0.7 else self.r.randint(0, last)
        step = getattr(self, f"_{kind.__name__.lower()}")(read)
        if step is not None:
            self.operations.append(step)
            self.shapes.append(step.shape)

    def _alike(self, shape: Shape) -> int:
        return self.r.choice([i for i, one in enumerate(self.shapes) if one == shape])

    def _windows(self, shape: Shape, padded: bool) -> tuple:
        r, (height, width, _) = self.r, shape
        pads = tuple(r.randint(0, 2) if padded else 0 for _ in range(4))
        kernel = (
            r.randint(1, min(5, height + pads[0] + pads[1])),
            r.randint(1, min(5, width + pads[2] + pads[3])),
        )
        down = across = r.choice([1, 1, 2, 3])
        if r.random() < 0.3:
            across = r.choice([1, 2, 3])
        rows = (height + pads[0] + pads[1] - kernel[0]) // down + 1
        columns = (width + pads[2] + pads[3] - kernel[1]) // across + 1
        return kernel, down if down == across else (down, across), pads, rows, columns

    def _convolution(self, read: int) -> AnyOperation:
        r, shape = self.r, self.shapes[read]
        kernel, stride, pads, rows, columns = self._windows(shape, True)
        depthwise = r.random() < 0.4
        out = shape[2] if depthwise else r.choice([1, 3, 8, 16, 33, 64, 65, 70])
        groups = r.choice([n for n in range(1, shape[2] + 1) if shape[2] % n == 0])
        groups = 1 if depthwise or r.random() < 0.4 else groups
        out = -(-out // groups) * groups
        taps = kernel[0] * kernel[1]
        fan_in = taps * (1 if depthwise else shape[2] // groups)
        middle = round(math.log2(math.sqrt(fan_in) * 60))
        shifts = torch.tensor([min(max(middle + r.randint(-3, 3), 0), 22) for _ in range(out)])
        shift, number = int(shifts.max()), len(self.operations)
        g = torch.Generator().manual_seed(r.randrange(1 << 31))
        each = 1 if depthwise else out
        weight = torch.randint(-127, 128, (taps, shape[2] // groups, each), generator=g)
        if r.random() < 0.2:
            weight = weight.sign() * 127
        high = 1 << r.choice([10, 14, 18, 30])
        bias = torch.randint(-high, high, (out,), generator=g)
        self.constants |= {
            f"{number}.weight": weight.to(torch.int8),
            f"{number}.bias": bias.to(torch.int32),
            f"{number}.lift": (2 ** (shift - shifts)).to(torch.int32),
            f"{number}.limit": (2 ** (7 + shifts)).to(torch.int32),
        }
        name = f"conv{number}"
        made = rows, columns, out
        return Convolution(name, (read,), made, kernel, stride, pads, depthwise, shift, groups)

    def _pad(self, read: int) -> AnyOperation | None:
        r, (height, width, channels) = self.r, self.shapes[read]
        pads = tuple(r.randint(0, 2) for _ in range(4))
        shape = (height + pads[0] + pads[1], width + pads[2] + pads[3], channels)
        if max(shape[:2]) > LARGEST_SIDE:
            return None
        return Pad("pad", (read,), shape, pads, r.randint(0, 127))

    def _add(self, read: int) -> AnyOperation:
        r, shape = self.r, self.shapes[read]
        shift = r.randint(0, 20)
        factor, other = (round(r.uniform(-1.5, 1.5) * 2**shift) for _ in range(2))
        reads = (read, self._alike(shape))
        return Add("add", reads, shape, (factor, other), self._offset(shift), shift)

    def _offset(self, shift: int) -> int:
        return (self.r.randint(-100, 160) << shift) + ((1 << shift) >> 1)

    def _multiply(self, read: int) -> AnyOperation:
        r, shape = self.r, self.shapes[read]
        vectors = [i for i, one in enumerate(self.shapes) if one == (1, 1, shape[2])]
        by = r.choice(vectors) if vectors and r.random() < 0.7 else self._alike(shape)
        shift, zeros = r.randint(6, 20), (r.randint(0, 127), r.randint(0, 127))
        factor = round(2 ** (shift - r.uniform(5, 7)))
        return Multiply("multiply", (read, by), shape, zeros, factor, self._offset(shift), shift)

    def _lookup(self, read: int) -> AnyOperation:
        g = torch.Generator().manual_seed(self.r.randrange(1 << 31))
        shape, each = self.shapes[read], self.r.random() < 0.5
        tables = (shape[2], 128) if each else (128,)
        table = torch.randint(0, 128, tables, generator=g, dtype=torch.int8)
        self.constants[f"{len(self.operations)}.table"] = table
        return Lookup("lookup", (read,), shape, each)

    def _averagepool(self, read: int) -> AnyOperation:
        r, shape = self.r, self.shapes[read]
        kernel, stride, pads, rows, columns = self._windows(shape, r.random() < 0.5)
        if any(pad >= kernel[i // 2] for i, pad in enumerate(pads)):
            kernel, stride, pads, rows, columns = self._windows(shape, False)
        if r.random() < 0.4:
            kernel, stride, pads, rows, columns = shape[:2], 1, (0,) * 4, 1, 1
        shift = r.randint(0, 16)
        factor = round(r.uniform(-2, 2) * 2**shift / (kernel[0] * kernel[1]))
        made = (rows, columns, shape[2])
        zero = r.choice([0, r.randint(1, 127)])
        return AveragePool(
            "mean", (read,), made, kernel, stride, factor, self._offset(shift), shift, pads, zero
        )

    def _maxpool(self, read: int) -> AnyOperation:
        kernel, stride, pads, rows, columns = self._windows(self.shapes[read], True)
        return MaxPool("max", (read,), (rows, columns, self.shapes[read][2]), kernel, stride, pads)

    def _concat(self, read: int) -> AnyOperation | None:
        size = self.shapes[read][:2]
        beside = [i for i, one in enumerate(self.shapes) if one[:2] == size]
        reads = (read, *self.r.choices(beside, k=self.r.randint(1, 3)))
        channels = sum(self.shapes[i][2] for i in reads)
        return Concat("concat", reads, (*size, channels)) if channels <= WIDEST else None

    def _select(self, read: int) -> AnyOperation:
        r, (height, width, channels) = self.r, self.shapes[read]
        first = r.randrange(channels)
        order = r.choice([
            r.sample(range(channels), channels),
            range(first, r.randint(first, channels - 1) + 1),
            r.choices(range(channels), k=r.randint(1, 20)),
        ])  # fmt: skip
        chosen = torch.tensor(list(order), dtype=torch.int32)
        self.constants[f"{len(self.operations)}.order"] = chosen
        return Select("select", (read,), (height, width, len(chosen)))

    def _gather(self, read: int) -> AnyOperation:
        r, (height, width, channels) = self.r, self.shapes[read]
        rows, columns = (
            r.choice([
                [i for i in range(side) for _ in range(2)][:LARGEST_SIDE],
                list(range(side))[::-1],
                r.choices(range(side), k=r.randint(1, side + 2)),
            ])
            for side in (height, width)
        )  # fmt: skip
        numbers = torch.tensor(rows + columns, dtype=torch.int32)
        self.constants[f"{len(self.operations)}.order"] = numbers
        return Gather("gather", (read,), (len(rows), len(columns), channels))


def draw_trunk(
    seed: int, steps: int = 12, kinds: Sequence[type] = OPERATIONS
) -> tuple[Trunk, dict[str, Tensor]]:
    """A trunk of at most so many steps whose last value is small enough for a layer, and varies."""
    r = random.Random(seed)
    while True:
        image = (r.randint(1, 10), r.randint(1, 10), r.choice([1, 3, 4, 33, 64, 65]))
        drawing = Drawing(r, image)
        for _ in range(r.randint(1, steps)):
            drawing.add(r.choice(kinds))
        if not drawing.operations or max(drawing.shapes[-1][:2]) > LARGEST_SIDE:
            continue
        trunk = Trunk(image, tuple(drawing.operations))
        g = torch.Generator().manual_seed(seed % (1 << 31))
        x = torch.randint(0, 128, (3, *image), generator=g, dtype=torch.int8)
        if len(evaluate(trunk, drawing.constants, x).unique()) > 2:
            return trunk, drawing.constants


def draw_adopted(seed: int) -> tuple[Drawn, Constants]:
    """A trunk and one to three layers above it, perhaps one that hands on its mean."""
    trunk, constants = draw_trunk(seed)
    r = random.Random(seed + 1)
    height, width, channels = trunk.output_shape
    blocks = [
        Block(r.randint(1, 20), r.choice(["conv", "separable", "residual"]))
        for _ in range(r.randint(0, 2))
    ]
    mean, classes = r.random() < 0.5, r.randint(2, 12)
    if not blocks:
        blocks = [Block(channels, "gain", mean=mean)]
    elif mean:
        blocks[-1] = replace(blocks[-1], mean=True)
    blocks.append(Block(classes, "linear"))
    anchors = r.randint(1, min(2, height, width)) if not mean else 1
    spec = NetSpec(blocks, anchors=anchors, loss=Loss(margin=r.random()))
    plan = skeleton(spec, trunk.output_shape, classes, "one-pass")
    plan = replace(plan, feedback=r.choice(FEEDBACKS), cut=r.choice([0, 0, 1, len(blocks) - 1]))
    drawn = filled(plan, r, r.randint(1, 5), None)
    return Drawn(replace(drawn.plan, trunk=trunk), drawn.state, drawn.batch), constants
