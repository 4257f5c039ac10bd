"""An exported torch graph's operations over windows: convolutions, pools, padding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import Node as Fx

from dfedge.adoption.torch_graph import TorchGraph, number, padding_of, pair

aten = torch.ops.aten


class TorchWindows(TorchGraph):
    """One translation."""

    def convolution(self, fx: Fx) -> None:
        """conv2d and convolution."""
        args: Any = fx.args
        given, w, b, *rest = [*args, *[None] * (7 - len(args))][:7]
        if fx.target is aten.convolution.default:
            stride, padding, dilation, transposed, output_padding, groups = args[3:9]
            if transposed or any(output_padding):
                raise self.refusal("conv_transpose2d")
        else:
            stride, padding, dilation, groups = (
                r if r is not None else d for r, d in zip(rest, (1, 0, 1, 1), strict=True)
            )
        weight = self.weights(w)
        if weight.dim() == 3:
            step, apart = pair(stride)[0], pair(dilation)[0]
            pads = padding_of(padding, weight[:, :, None], (1, apart))
            self.conv_of_rows(given, weight, self.optional(b), step, pads[2:], apart, groups)
            return
        self.conv(given, weight, self.optional(b), pair(stride),
                  padding_of(padding, weight, pair(dilation)), pair(dilation), groups)  # fmt: skip

    def pooling(self, fx: Fx) -> None:
        """Average and max pools."""
        largest = "max" in str(fx.target)
        defaults: list[Any] = (
            [None, None, None, 0, 1, False] if largest else [None, None, None, 0, False, True, None]
        )
        args: list[Any] = [*fx.args, *defaults[len(fx.args) :]]
        if not largest and len(args) > 6 and args[6] is not None:
            raise self.refusal("average pool with divisor_override", "plain average pool")
        ceil, zeros = (args[5], False) if largest else args[4:6]
        with self.in_plane(fx) as (plane, of):
            kernel, stride = of(args[1], 1), of(args[2] or args[1], 1)
            top, left = of(args[3], 0)
            self.pool("max" if largest else "mean", plane, kernel, stride,
                      (top, top, left, left), of(args[4], 1) if largest else (1, 1), ceil,
                      zeros)  # fmt: skip

    def adaptive_pooling(self, fx: Fx) -> None:
        """Adaptive average and max pools."""
        args: Any = fx.args
        with self.in_plane(fx) as (plane, of):
            self.adaptive("max" if "max" in str(fx.target) else "mean", plane, of(args[1], 1))

    @contextmanager
    def in_plane(self, fx: Fx) -> Iterator[tuple[Fx, Callable[[Any, int], tuple[int, int]]]]:
        """What an operation over windows reads, as a map; and its sizes, down and across.

        Of a vector a channel, [C, T], a map of one row: sizes down are then a constant.
        """
        given: Any = fx.args[0]
        if len(self.dims(given)) != 2:
            yield given, lambda size, row: pair(size)
            return
        with self.as_row(given) as plane:
            yield plane, lambda size, row: (row, pair(size)[0])

    def padding(self, fx: Fx) -> None:
        """pad and constant_pad_nd on the last two axes: numbers of what lies inside, or one."""
        args: Any = fx.args
        _, sides, *rest = args
        words = [one for one in rest if isinstance(one, str) and one != "constant"]
        if words:
            self.moving(fx)
            return
        values = [one for one in (*rest, fx.kwargs.get("value")) if isinstance(one, int | float)]
        if len(sides) not in (2, 4):
            raise self.refusal(f"{self.site.what} of {len(sides) // 2} axes", "of rows and columns")
        left, right, top, bottom = [*sides, 0, 0][:4]
        with self.in_plane(fx) as (plane, _):
            self.padded(plane, (top, bottom, left, right), float(values[0]) if values else 0.0)

    def interpolated(self, fx: Fx) -> None:
        """Bilinear upsampling."""
        args: Any = fx.args
        made = [number(side) for side in fx.meta["val"].shape[2:]]
        if args[2]:
            raise self.refusal(f"{self.site.what} with align_corners", "align_corners=False")
        self.upsampled(args[0], (made[0], made[1]), True)
