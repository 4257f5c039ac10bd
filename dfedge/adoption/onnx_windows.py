"""An ONNX graph's operations over windows, and those that only move numbers."""

import math
from collections.abc import Callable

import numpy as np
import torch

from dfedge.adoption.graph import Op
from dfedge.adoption.onnx_graph import OnnxGraph
from dfedge.adoption.windows import nearest


class OnnxWindows(OnnxGraph):
    """One translation."""

    def convolution(self) -> None:
        """Conv."""
        weight = self.weights(self.operand(1))
        if weight.dim() == 3:
            with self.as_row(self.operand(0)) as row:
                self.conv(row, weight[:, :, None], self.optional(2), *self.window(weight.shape[2:]),
                          self.attribute("group", 1))  # fmt: skip
            return
        if weight.dim() != 4:
            raise self.refusal("convolution other than 1-d and 2-d")
        window = self.window((weight.shape[2], weight.shape[3]))
        self.conv(self.operand(0), weight, self.optional(2), *window, self.attribute("group", 1))

    def padding(self) -> None:
        """Pad, over height and width: a number, or numbers of what lies inside."""
        mode, value = self.attribute("mode", b"constant").decode(), self.setting("value", 2, 0.0)
        if mode != "constant":
            self.moving()
            return
        rank = 1 + len(self.dims(self.operand(0)))
        ends = [int(end) for end in self.setting("pads", 1, ())]
        axes = [int(axis) for axis in self.setting("axes", 3, range(len(ends) // 2))]
        by_axis = {axis % rank: ends[i :: len(axes)] for i, axis in enumerate(axes)}
        if any(end for axis, pair in by_axis.items() for end in pair if axis < 2):
            raise self.refusal("Pad of samples or channels", "of height and width")
        first, second = (by_axis.get(axis, [0, 0]) for axis in (2, 3))
        if rank == 3:
            with self.as_row(self.operand(0)) as row:
                self.padded(row, (0, 0, first[0], first[1]), float(value))
        else:
            self.padded(self.operand(0), (first[0], first[1], second[0], second[1]), float(value))

    def resize(self) -> None:
        """Resize and Upsample of height and width: nearest, or linear by whole factors."""
        given, before = self.operand(0), (self.batch, *self.dims(self.operand(0)))
        old = self.site.what == "Upsample" or self.opsets.get("", 13) < 11
        made, steps = self._sizes(before, 1 if old else 2)
        word, where, rounding = (
            self.attribute(name, usual.encode()).decode()
            for name, usual in (
                ("mode", "nearest"),
                ("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"),
                ("nearest_mode", "floor" if old else "round_prefer_floor"),
            )
        )
        centred = where in ("half_pixel", "pytorch_half_pixel")
        if made[:2] != before[:2] or not (centred or where == "asymmetric"):
            raise self.refusal(f"{self.site.what} of {where}", "half_pixel, of height and width")
        if word == "nearest":
            self.check_size(math.prod(made))
            places = self.places(given, self.batch)
            for axis in range(2, len(made)):
                numbers = nearest(before[axis], made[axis], steps[axis], centred, rounding)
                places = places.index_select(axis, numbers)
            self.moved(given, places, self.batch)
        elif word in ("linear", "bilinear") and len(made) == 4:
            self.upsampled(given, (made[2], made[3]), centred)
        else:
            raise self.refusal(f"{self.site.what} of mode {word}", "nearest or linear")

    def _sizes(self, before: tuple[int, ...], place: int) -> tuple[tuple[int, ...], list[float]]:
        """Sides of a resized map, and by how much each grew; ``place``: of the scales."""
        made, steps = list(before), [1.0] * len(before)
        scales = [float(one) for one in self.setting("scales", place, ())]
        sizes = [] if scales else [int(one) for one in self.setting("sizes", 3, ())]
        axes = list(self.attribute("axes", range(len(before))))
        if any(not 0 <= axis < len(before) for axis in axes) or len(axes) != len(scales or sizes):
            raise self.refusal(f"{self.site.what} of axes {axes}", "a size for each axis")
        for i, axis in enumerate(axes):
            made[axis] = sizes[i] if sizes else math.floor(before[axis] * scales[i])
            steps[axis] = scales[i] if scales else sizes[i] / before[axis]
        return tuple(made), steps

    def moving(self) -> None:
        """Transpose, Slice, Split, Gather and others: onnx says where each number comes to lie."""
        self._check_constants()
        given = self.operand(0)
        made = self.evaluate({given: self.places(given, self.batch).numpy()})
        for name, one in zip(self.node.output, made, strict=False):
            self.begin(name, self.site)
            self.moved(given, torch.from_numpy(np.ascontiguousarray(one)), self.batch)

    def _check_constants(self) -> None:
        for name in list(self.node.input)[1:]:
            if name:
                self.weights(name)


def pooling(op: Op) -> Callable[[OnnxWindows], None]:
    """MaxPool and AveragePool."""

    def read(reader: OnnxWindows) -> None:
        kernel = tuple(reader.attribute("kernel_shape"))
        ceil = bool(reader.attribute("ceil_mode", 0))
        zeros = bool(reader.attribute("count_include_pad", 0))
        if len(kernel) == 1:
            with reader.as_row(reader.operand(0)) as row:
                reader.pool(op, row, (1, *kernel), *reader.window(kernel), ceil, zeros)
            return
        if len(kernel) != 2:
            raise reader.refusal("a pool other than 1-d and 2-d")
        reader.pool(op, reader.operand(0), kernel, *reader.window(kernel), ceil, zeros)

    return read
