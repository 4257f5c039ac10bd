"""A frozen trunk: the integer steps that stand before the layers that learn.  Pure data.

It comes of a foreign net (`dfedge.adopt`).  Every value is int8 [B, H, W, C] in 0..127 and stands
for ``(q - zero) / scale``; step i makes value i + 1, value 0 is the image.  The weights, by number
of the step (``3.weight``), are constants of the program: they lie in flash, not in the state.
`dfedge.int8.trunk` evaluates it.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dfedge.limits import Channels, Int32, Natural, Pad, Shift, Side

Shape = tuple[Side, Side, Channels]
"""[H, W, C]."""
Two = tuple[Side, Side]
Pads = tuple[Pad, Pad, Pad, Pad]
"""Above, below, left, right."""
Byte = Annotated[int, Meta(ge=0, le=127)]
MOST_STEPS = 1024
"""Placing them takes time with the cube of their number."""


class Step(msgspec.Struct, frozen=True, tag_field="step"):
    """What all steps have.

    Attributes:
        name: of the node in the foreign graph.
        reads: numbers of the values that go in.
        shape: of what comes out.
    """

    name: str
    reads: tuple[Natural, ...]
    shape: Shape


class Convolve(Step, frozen=True, tag="convolve"):
    """`dfedge::conv_scaled`: every output channel has a shift of its own; constants weight, bias,
    lift and limit.
    """

    kernel: Two
    stride: Side
    pads: Pads
    depthwise: bool
    shift: Shift

    @property
    def geometry(self) -> list[int]:
        """As the operations take it."""
        return [*self.kernel, self.stride, *self.pads, int(self.depthwise)]


class Surround(Step, frozen=True, tag="surround"):
    """Pads with the integer that stands for zero, before a convolution of what is signed."""

    pads: Pads
    fill: Byte


class Mix(Step, frozen=True, tag="mix"):
    """``(sum of factor q + offset) >> shift``, one value or the sum of two, kept in 0..127."""

    factors: tuple[Int32, ...]
    offset: Int32
    shift: Shift


class Gate(Step, frozen=True, tag="gate"):
    """``((a - zero_a) (g - zero_g) factor + offset) >> shift``: a map times a map or a vector."""

    zeros: tuple[Byte, Byte]
    factor: Int32
    offset: Int32
    shift: Shift


class Swish(Step, frozen=True, tag="swish"):
    """Hard swish: ``v = q - zero``, ``t = clamp((v slope + half) >> bend, 0, 255)``, then
    ``(v t factor + offset) >> shift``.
    """

    zero: Byte
    slope: Int32
    half: Int32
    bend: Shift
    factor: Int32
    offset: Int32
    shift: Shift


class Mean(Step, frozen=True, tag="mean"):
    """``(factor sum + offset) >> shift`` over windows without padding."""

    kernel: Two
    stride: Side
    factor: Int32
    offset: Int32
    shift: Shift


class Largest(Step, frozen=True, tag="largest"):
    """The maximum over windows."""

    kernel: Two
    stride: Side
    pads: Pads


class Concat(Step, frozen=True, tag="concat"):
    """Channels side by side."""


AnyStep = Convolve | Surround | Mix | Gate | Swish | Mean | Largest | Concat


class Trunk(msgspec.Struct, frozen=True):
    """The steps, and what the last value stands for.

    Attributes:
        input_shape: [H, W, C] of one image.
        zero, scale: of the last value.
    """

    input_shape: Shape
    steps: Annotated[tuple[AnyStep, ...], Meta(max_length=MOST_STEPS)]
    zero: Int32 = 0
    scale: float = 1.0

    @property
    def output_shape(self) -> Shape:
        """[H, W, C] of what the first layer receives."""
        return self.steps[-1].shape

    def constants(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> (type, shape) of every constant."""
        shapes = [self.input_shape, *(step.shape for step in self.steps)]
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for i, step in enumerate(self.steps):
            if not isinstance(step, Convolve):
                continue
            taps, out = step.kernel[0] * step.kernel[1], step.shape[2]
            given = shapes[step.reads[0]][2]
            found[f"{i}.weight"] = ("int8", (taps, given, 1 if step.depthwise else out))
            for name in ("bias", "lift", "limit"):
                found[f"{i}.{name}"] = ("int32", (out,))
        return found

    @property
    def sound(self) -> bool:
        """Whether every step reads what was made before it."""
        reads = [(i, step.reads) for i, step in enumerate(self.steps)]
        return bool(reads) and all(r and all(0 <= one <= i for one in r) for i, r in reads)

    def flaw(self, given: dict[str, Any]) -> str | None:
        """Why these constants are not the trunk's, or None."""
        return self.misfit({
            name: (str(value.dtype).split(".")[-1], tuple(value.shape))
            for name, value in given.items()
        })  # fmt: skip

    def misfit(self, got: dict[str, tuple[str, tuple[int, ...]]]) -> str | None:
        """As `flaw`, of types and shapes alone."""
        wanted = self.constants()
        wrong = [name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name)]
        return f"constants {', '.join(sorted(wrong)[:3])}" if wrong else None
