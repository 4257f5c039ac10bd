"""What the integer step needs to know of a net: pure data, written into the bundle's manifest.

No tensor, no name of any net and no torch: the host makes programs from a plan, the device reads
shapes and limits off it.
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from dfedge import maps
from dfedge.limits import Channels, Int32, Natural, Pad, Shift, Side
from dfedge.trunk import Trunk

Feedback = Literal["none", "transpose", "fixed", "sign-concordant"]
"""How a layer's error goes down into the layer below it: not at all, through the transpose of its
weights, of fixed ones, or of fixed ones with its weights' signs."""
FEEDBACKS: tuple[Feedback, ...] = get_args(Feedback)
"""In the order of ``dfe_feedback`` in C."""
FIXED: tuple[Feedback, ...] = ("fixed", "sign-concordant")
"""Those through weights of their own."""
Form = Literal["one-pass", "label-plane"]
Shape = tuple[int, int, int]
"""[H, W, C]."""
Chain = Annotated[int, Meta(ge=2, le=3)]
Gain = Annotated[int, Meta(ge=0, le=7)]
Margin = Annotated[int, Meta(ge=0, le=1 << 16)]
Pull = Annotated[int, Meta(ge=0, le=12)]
Norm = Annotated[int, Meta(ge=0)]
MAX_DITHERED_SHIFT = 24
"""The largest shift that an update's dither is scaled to; what a shift has beyond it is taken off
before the dither is added."""
MAX_UPDATE_SHIFT = 48
"""The largest shift of an update.  Nothing of an int32 is left by it: what it steers is frozen."""
MAX_PACE = 8
"""The most that shifts may grow by while there is little to learn."""


class Conv(msgspec.Struct, frozen=True):
    """One convolution with its bias.

    Attributes:
        height, width, in_channels: of its input.
        channels: of its output.
        kernel: height and width.
        stride: both ways.
        pads: zeros above, below, left and right of the input.
        depthwise: every channel on its own; ``channels`` equals ``in_channels``.
        shift: right shift from the int32 accumulator to the int8 activation.
        back: right shift from an error carried back through it to the int8 error at its input.
    """

    height: Side
    width: Side
    in_channels: Channels
    channels: Channels
    kernel: tuple[Side, Side]
    stride: Side = 1
    pads: tuple[Pad, Pad, Pad, Pad] = (0, 0, 0, 0)
    depthwise: bool = False
    shift: Shift = 0
    back: Shift = 0

    @property
    def geometry(self) -> list[int]:
        """As the operations take it: kernel, stride, pads, depthwise."""
        return [*self.kernel, self.stride, *self.pads, int(self.depthwise)]

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return (self.height + self.pads[0] + self.pads[1] - self.kernel[0]) // self.stride + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return (self.width + self.pads[2] + self.pads[3] - self.kernel[1]) // self.stride + 1

    @property
    def output(self) -> Shape:
        """Shape [H, W, C] of its output."""
        return self.out_height, self.out_width, self.channels

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return self.kernel[0] * self.kernel[1]


class Join(msgspec.Struct, frozen=True):
    """Where a residual layer adds its two branches: left shifts that bring both to one scale.

    Attributes:
        inner: convolutions of the inner branch.
        lift: of the inner branch's accumulator, and of the skipped input (or its convolution).
        back_lift: of the errors that both branches carry back to the layer's input.
    """

    inner: Chain = 2
    lift: tuple[Shift, Shift] = (0, 0)
    back_lift: tuple[Shift, Shift] = (0, 0)


class Layer(msgspec.Struct, frozen=True):
    """One local learning unit: convolutions, ReLU, goodness off its output, then perhaps a pool.

    Attributes:
        convs: in order; of a residual layer the inner ones and, where shape or channels change,
            the 1 x 1 one of the skipped input.
        join: of a residual layer.
        pool: whether a 2 x 2 maximum follows, after the goodness was read (`dfedge.maps`).
        mean: what is handed on is the pooled features, as one position, and not the map.
        cells: the goodness sees the mean over cells x cells parts of the output,
        gain: 2^gain times, so that means use the range of int8 that peaks have set.
        score_shift: left shift of this layer's score in the sum over layers.
        margin: one-pass: in sixteenths of the separation of two anchors; label-plane: in 256ths of
            the sum of two energies.
        pull: one-pass: right shift of an active sample's pull to its own anchor; 12 is none.
        separation: one-pass: squared distance of two anchors from which on they no longer repel.
        counted: whether its score is part of the sum.
        norm, norm_shift: label-plane: of the multiplier that normalises what is handed on.
    """

    convs: tuple[Conv, ...]
    join: Join | None = None
    pool: bool = False
    cells: Side = 1
    gain: Gain = 0
    score_shift: Shift = 0
    margin: Margin = 0
    pull: Pull = 12
    separation: Natural = 0
    counted: bool = True
    norm: Norm = 0
    norm_shift: Shift = 0
    mean: bool = False

    @property
    def chain(self) -> int:
        """Convolutions that follow one another; one more is that of the skipped input."""
        return self.join.inner if self.join else len(self.convs)

    @property
    def skip(self) -> Conv | None:
        """The convolution of the skipped input, where there is one."""
        return self.convs[self.chain] if len(self.convs) > self.chain else None

    @property
    def ends(self) -> Conv:
        """The convolution whose output shape is the layer's."""
        return self.convs[self.chain - 1]

    @property
    def features(self) -> int:
        """Length d of an anchor."""
        down, across = maps.cell_grid(self.ends.output[:2], self.cells)
        return down * across * self.ends.channels

    @property
    def hands_on(self) -> Shape:
        """Shape [H, W, C] of what the next layer receives."""
        if self.mean:
            return 1, 1, self.features
        height, width, channels = self.ends.output
        return (*maps.pooled((height, width)), channels) if self.pool else (height, width, channels)


class Plan(msgspec.Struct, frozen=True):
    """The static part of a program.

    Attributes:
        layers: in order.
        classes: rows of the anchors (or planes), spare ones included.
        feedback: how a layer's error reaches the layer below.
        form: where the label enters.
        negatives: label-plane: wrong labels drawn for each sample.
        cut: the first layer that learns; those below are frozen.
        trunk: frozen steps before the first layer, of a net that was adopted.
    """

    layers: tuple[Layer, ...]
    classes: Channels
    feedback: Feedback = "none"
    form: Form = "one-pass"
    negatives: Annotated[int, Meta(ge=0, le=40_000)] = 0
    cut: Int32 = 0
    trunk: Trunk | None = None

    @property
    def input_shape(self) -> Shape:
        """[H, W, C] of one sample."""
        return self.trunk.input_shape if self.trunk else self.seen_shape

    @property
    def seen_shape(self) -> Shape:
        """[H, W, C] of what the first layer receives."""
        first = self.layers[0].convs[0]
        planes = 2 if self.form == "label-plane" else 0
        return first.height, first.width, first.in_channels - planes

    @property
    def latent_shape(self) -> Shape:
        """[H, W, C] of what the first learning layer receives."""
        return self.layers[self.cut - 1].hands_on if self.cut else self.seen_shape

    @property
    def frozen(self) -> bool:
        """Whether anything stands before the first layer that learns."""
        return self.cut > 0 or self.trunk is not None

    @property
    def adopted(self) -> bool:
        """Whether it has what only adopted nets have."""
        return self.trunk is not None or any(layer.mean for layer in self.layers)

    @property
    def convolutions(self) -> int:
        """How many there are in all layers."""
        return self.number(len(self.layers), 0)

    def number(self, layer: int, conv: int) -> int:
        """A convolution's place in the state's lists of shifts."""
        return sum(len(below.convs) for below in self.layers[:layer]) + conv
