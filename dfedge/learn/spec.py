"""A net as data: a TOML file of blocks, by name (shipped beside this module) or by path.

anchors = 2              # cells per side that the goodness is read from
margin = 5               # in sixteenths of the separation of two anchors
[train]                  # how it is trained where the command line does not say otherwise
epochs = 11
[[block]]
channels = 32            # 3 x 3 convolution, batch normalisation, ReLU
pool = true              # then a 2 x 2 maximum
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dfedge import configs
from dfedge.errors import DfedgeError
from dfedge.int8.bounds import LayerSize

NETS = Path(__file__).parent / "nets"
Positive = Annotated[int, Meta(ge=1)]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One local learning unit: convolution, batch normalisation, ReLU, goodness, perhaps a pool."""

    channels: Annotated[int, Meta(ge=1, le=1024)]
    kernel: Annotated[int, Meta(ge=1, le=7)] = 3
    pool: bool = False

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd (same padding), got {self.kernel}")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a net is trained; found on validation splits, kept with the net it was found for.

    Attributes:
        epochs: passes over the training split in float.
        qat_epochs: further passes under fake quantisation, with ``--qat``.
        batch: samples an update.
        lr: AdamW's peak learning rate, reached after a tenth of the steps, then a cosine to 0.
        qat_lr: the peak under fake quantisation, as a fraction of ``lr``.
        anchor_lr: the anchors' learning rate, as a multiple of ``lr``.
        weight_decay: of the convolutions; anchors and normalisation have none.
        shift: augmentation: images are moved by up to this many pixels either way.
        flip: augmentation: images are mirrored half of the time.
    """

    epochs: Positive = 10
    qat_epochs: Positive = 4
    batch: Positive = 64
    lr: Annotated[float, Meta(gt=0)] = 4e-3
    qat_lr: Annotated[float, Meta(gt=0)] = 0.1
    anchor_lr: Annotated[float, Meta(ge=0)] = 1.0
    weight_decay: Annotated[float, Meta(ge=0)] = 1e-2
    shift: Annotated[int, Meta(ge=0, le=16)] = 0
    flip: bool = False


class NetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The blocks of a net and how their goodness is read.

    Attributes:
        block: the blocks in order.
        anchors: the goodness sees the mean over anchors x anchors cells of a block's output.
        margin: the hinge's margin in sixteenths of the separation of two anchors.
        train: how it is trained where nothing else is said.
    """

    block: Annotated[list[Block], Meta(min_length=1)]
    anchors: Annotated[int, Meta(ge=1, le=8)] = 2
    margin: Annotated[int, Meta(ge=0, le=64)] = 5
    train: Settings = Settings()

    def sizes(self, shape: tuple[int, int, int]) -> list[LayerSize]:
        """What `dfedge.int8.bounds` asks of each layer, for images [H, W, C].

        Raises:
            DfedgeError: the image is pooled away, or smaller than the goodness's cells.
        """
        height, width, channels = shape
        sizes = []
        for i, block in enumerate(self.block):
            if min(height, width) < self.anchors:
                raise DfedgeError(
                    f"layer{i} sees {height} x {width} positions, fewer than its "
                    f"{self.anchors} x {self.anchors} anchor cells; pool less or use larger images"
                )
            sizes.append(
                LayerSize(
                    name=f"layer{i}",
                    height=height,
                    width=width,
                    in_channels=channels,
                    channels=block.channels,
                    kernel=block.kernel,
                    cells=self.anchors,
                    margin=self.margin,
                )
            )
            if block.pool and min(height, width) < 2:
                raise DfedgeError(f"layer{i} cannot pool {height} x {width} positions; pool less")
            if block.pool:
                height, width = height // 2, width // 2
            channels = block.channels
        return sizes


def load_spec(net: str) -> NetSpec:
    """Read a net by name or by path (anything that ends in .toml).

    Raises:
        UsageError: no net of that name.
        DfedgeError: a file that is missing or is no description of a net.
    """
    return configs.read(configs.find(NETS, "net", net), NetSpec, "net")
