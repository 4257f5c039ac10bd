"""A net as data: a TOML file of blocks, by name (shipped beside this module) or by path.

features = "spectrum"    # optional: what is computed from samples first (`InputRule.featured`)
anchors = 2              # cells per side that the goodness is read from
depth = 10               # optional: the last block is repeated until there are so many
[loss]                   # what every layer minimises (one-pass form)
margin = 0.3125
[plane]                  # the same for the label-plane form
margin = 1.0
[train]                  # how it is trained where the command line does not say otherwise
epochs = 11
[[block]]
kind = "conv"            # or another of `dfedge.blocks`
channels = 32            # 3 x 3, batch normalisation, ReLU
pool = true              # then a 2 x 2 maximum
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dfedge import configs
from dfedge.blocks import Block
from dfedge.errors import DfedgeError, UsageError
from dfedge.int8.ops.values import ENERGY_MARGIN_UNIT, MARGIN_UNIT
from dfedge.maps import most_cells, pooled
from dfedge.plan import Shape

NETS = Path(__file__).parent / "nets"
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]

WITH_ANCHORS = ("separation", "softmax")
"""Kinds of loss that measure by anchors."""


class Loss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loss that every layer minimises on its own goodness: `dfedge.learn.forms.loss`.

    Attributes:
        kind: the margin relative to the ``separation`` of the two anchors (one-pass form only),
            ``absolute``, or ``relative`` to the sum of both goodnesses; ``softmax``: cross-entropy
            over all classes, distances in units of the anchors' mean separation, by a factor that
            each layer learns (one-pass form only); ``cross-entropy``: at a fixed temperature.
        margin: m.
        penalty: lambda, the weight of the term that keeps the lower goodness low.
        negatives: N, wrong labels shown for each sample; 0: all of them.
        draw: how N of them are drawn.
        temperature: of the cross-entropy.
    """

    kind: Literal["separation", "absolute", "relative", "softmax", "cross-entropy"] = "separation"
    margin: NotNegative = 0.3125
    penalty: NotNegative = 0.0
    negatives: Annotated[int, Meta(ge=0)] = 0
    draw: Literal["uniform", "confusion"] = "uniform"
    temperature: Annotated[float, Meta(gt=0)] = 0.1


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a net is trained; found on validation splits, kept with the net it was found for.

    Attributes:
        epochs: passes over the training split in float; 0 leaves the weights random.
        qat_epochs: further passes under fake quantisation, with ``--qat``.
        batch: samples an update.
        lr: AdamW's peak learning rate, reached after a tenth of the steps, then a cosine to 0.
        qat_lr: the peak under fake quantisation, as a fraction of ``lr``.
        anchor_lr: the anchors' learning rate, as a multiple of ``lr``.
        weight_decay: of the convolutions; anchors and normalisation have none.
        shift: augmentation: images are moved by up to this many pixels either way.
        flip: augmentation: images are mirrored half of the time.
        validation: training samples held out to choose which layers' goodness counts; 0: all count.
        weight_bits: width of the fake-quantised weights.
        lean: `dfedge.learn.lean`: rules df and ff hold one map a layer, at half the speed.
        precision: of the float epochs' convolutions and maps; goodness and weights have 32 bits.
            ``auto``: bfloat16 on CUDA, float32 elsewhere.
        samples: of the training split, drawn from the seed; 0: all.
        test_samples: of the test split, likewise.
    """

    epochs: Annotated[int, Meta(ge=0)] = 10
    qat_epochs: Positive = 4
    batch: Positive = 64
    lr: Annotated[float, Meta(gt=0)] = 4e-3
    qat_lr: Annotated[float, Meta(gt=0)] = 0.1
    anchor_lr: NotNegative = 1.0
    weight_decay: NotNegative = 1e-2
    shift: Annotated[int, Meta(ge=0, le=16)] = 0
    flip: bool = False
    validation: Annotated[int, Meta(ge=0)] = 0
    weight_bits: Annotated[int, Meta(ge=2, le=8)] = 8
    samples: Annotated[int, Meta(ge=0)] = 0
    test_samples: Annotated[int, Meta(ge=0)] = 0
    lean: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def mixed(self, device: str) -> bool:
        """Whether float epochs compute in bfloat16 on a type of device."""
        return self.precision == "bfloat16" or (self.precision == "auto" and device == "cuda")


class NetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The blocks of a net and how their goodness is read.

    Attributes:
        block: the blocks in order.
        anchors: the goodness sees the mean over anchors x anchors cells of a block's output.
        depth: number of blocks, the last of ``block`` being repeated; absent: as listed.
        counted: number of last blocks whose goodness counts in a score; 0: all.  ``validation`` in
            ``train`` chooses others.
        loss: of the one-pass form.
        plane: of the label-plane form.
        train: how it is trained where nothing else is said.
        features: that it is fed, of `InputRule.known_features`; empty: samples as they are.
    """

    block: Annotated[list[Block], Meta(min_length=1)]
    anchors: Annotated[int, Meta(ge=1, le=8)] = 2
    depth: Annotated[int, Meta(ge=1, le=200)] | None = None
    counted: Annotated[int, Meta(ge=0, le=200)] = 0
    loss: Loss = Loss()
    plane: Loss = Loss(kind="relative", margin=0.02, negatives=3)
    train: Settings = Settings()
    features: Annotated[str, Meta(max_length=80)] = ""

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < len(self.block):
            raise ValueError(f"depth {self.depth} is less than the {len(self.block)} blocks listed")
        if self.counted > len(self.blocks()):
            raise ValueError(
                f"counted: at most the {len(self.blocks())} blocks; got {self.counted}"
            )
        if self.anchors > 1 and any(block.mean for block in self.block):
            raise ValueError(f"a block that hands on its mean has anchors = 1, got {self.anchors}")
        if self.plane.kind in WITH_ANCHORS:
            raise ValueError(
                f"plane: the label-plane form has no anchors, so no '{self.plane.kind}'"
            )

    def blocks(self) -> list[Block]:
        """The blocks, the last repeated up to ``depth``."""
        return self.block + self.block[-1:] * ((self.depth or 0) - len(self.block))

    def shapes(self, shape: Shape) -> list[tuple[Shape, Shape]]:
        """Input and output shape (before the pool) of each block, for images [H, W, C].

        Raises:
            DfedgeError: the image is pooled away, or smaller than the goodness's cells.
        """
        found = []
        for i, block in enumerate(self.blocks()):
            height, width, channels = block.output(shape)
            if not block.made_of.whole and most_cells((height, width)) < self.anchors:
                raise DfedgeError(
                    f"layer{i} sees {height} x {width} positions, fewer than its "
                    f"{self.anchors} x {self.anchors} anchor cells; pool less or use larger images"
                )
            if block.pool and height * width == 1:
                raise DfedgeError(f"layer{i} cannot pool {height} x {width} positions; pool less")
            if block.made_of.keeps_channels and channels != shape[2]:
                raise DfedgeError(
                    f"layer{i}, kind {block.kind}, has {channels} channels and sees {shape[2]}; "
                    "allowed: as many as it sees"
                )
            found.append((shape, (height, width, channels)))
            height, width = pooled((height, width)) if block.pool else (height, width)
            shape = (1, 1, channels) if block.mean else (height, width, channels)
        return found

    def integer_margin(self, form: str = "one-pass") -> int:
        """The device's margin: sixteenths of two anchors' separation, or 256ths of two energies."""
        if form == "label-plane":
            plane = self.plane if self.plane.kind == "relative" else NetSpec(self.block).plane
            return round(plane.margin * ENERGY_MARGIN_UNIT)
        own = self.loss if self.loss.kind == "separation" else Loss()
        return round(own.margin * MARGIN_UNIT)


def load_spec(net: str, depth: int | None = None) -> NetSpec:
    """Read a net by name or by path (anything that ends in .toml), with another depth where given.

    Raises:
        UsageError: no net of that name; a depth for a net that has none.
        DfedgeError: a file that is missing or is not a description of a net.
    """
    spec = configs.read(configs.find(NETS, "net", net), NetSpec, "net")
    if depth is None:
        return spec
    if spec.depth is None or depth < len(spec.block):
        least = "has a fixed depth" if spec.depth is None else f"has at least {len(spec.block)}"
        raise UsageError(f"--depth {depth}: net '{net}' {least}; leave --depth out")
    return msgspec.structs.replace(spec, depth=depth)
