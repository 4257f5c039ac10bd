"""What the integer step needs to know of a net: one frozen record a layer, no name of any net."""

from dataclasses import dataclass

from torch import Tensor

from dfedge.int8.bounds import LayerSize

State = dict[str, Tensor]
"""Everything that learning changes or is steered by, by name, in a fixed order."""


@dataclass(frozen=True)
class LayerPlan:
    """One local learning unit: convolution, ReLU, goodness off its output, then perhaps a pool.

    Attributes:
        height, width: size of the layer's input and of its output before the pool.
        in_channels, channels, kernel: of the convolution (same padding, stride 1).
        pool: whether a 2 x 2 maximum follows, after the goodness was read.
        cells: the goodness sees the mean over cells x cells parts of the output.
        shift: right shift from the int32 accumulator to the int8 activation.
        score_shift: left shift of this layer's score in the sum over layers.
        margin: in sixteenths of the separation of two anchors.
        counted: whether its score is part of the sum.
    """

    height: int
    width: int
    in_channels: int
    channels: int
    kernel: int
    pool: bool
    cells: int
    shift: int
    score_shift: int
    margin: int
    counted: bool

    @property
    def features(self) -> int:
        """Length d of an anchor."""
        return self.cells * self.cells * self.channels


@dataclass(frozen=True)
class StepPlan:
    """The static part of a program: the layers in order and the number of anchor rows."""

    layers: tuple[LayerPlan, ...]
    classes: int

    def sizes(self) -> list[LayerSize]:
        """What `dfedge.int8.bounds` asks of each layer."""
        return [
            LayerSize(
                name=f"layer{i}",
                height=layer.height,
                width=layer.width,
                in_channels=layer.in_channels,
                channels=layer.channels,
                kernel=layer.kernel,
                cells=layer.cells,
                margin=layer.margin,
                score_shift=layer.score_shift,
            )
            for i, layer in enumerate(self.layers)
        ]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """[H, W, C] of one sample."""
        first = self.layers[0]
        return first.height, first.width, first.in_channels
