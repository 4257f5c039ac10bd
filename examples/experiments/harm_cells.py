"""The cells of `harm.py`: drawn once from a committed seed, before any rate is settled.

`draw` gives every group of data ten cells (vectors twelve).  What a cell has of each choice (block,
width, anchor cells, rule, batch, how long it was trained, adopted or not) is dealt out in turn and
shuffled, so that every group sees each of them; channels, depth, pools and the strength of the
shift are drawn.  A net that costs too much, or that the library cannot hold, is drawn again.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from harm_data import GROUPS, KINDS
from harm_shifts import drawn

from dfedge.blocks import Block
from dfedge.errors import DfedgeError
from dfedge.int8.bounds import check_sizes
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import NetSpec
from dfedge.plan import Plan

CELLS = Path(__file__).parent / "results" / "harm_cells.json"
SEED = 23
EACH, VECTORS = 10, 12
TRIES = 2000
MOST_VALUES, MOST_PRODUCTS = 30_000, 6_000_000
"""Of one sample: its activations, and products of a forward pass."""
LARGER = 48_000
"""Activations at 64 x 64."""
TRAINING_MS = 16_000
"""About what training "to the end" may take of one core."""
ADOPTED = ("head", "last:2", "all")
COLUMNS: dict[str, tuple[Any, ...]] = {
    "block": ("conv", "conv", "residual", "separable"),
    "wide": (False, True),
    "anchors": (1, 2, 4),
    "rule": ("df", "df", "df-o", "df-r"),
    "batch": (1, 16, 16, 64),
    "ended": (True, True, False),
}


class Cell(msgspec.Struct, frozen=True):
    """One cell.

    Attributes:
        number: from 0 on, over all groups.
        group, data: names of `harm_data`.
        net: ``conv``, ``residual``, ``separable`` or ``linear``, as most of its blocks are.
        learn: of an adopted net what learns; empty: trained by dfedge.
        rule: of the device, and of training where dfedge trained it.
        batch: on the device.
        trained: for how long.
        epochs, qat_epochs: what that is.
        shift: of `harm_shifts`.
        blocks: each as ``KIND CHANNELS``, then perhaps ``/2``, a stride, or ``pool``.
    """

    number: int
    group: str
    data: str
    net: str
    width: Literal["narrow", "wide"]
    layers: int
    learn: str
    anchors: int
    rule: str
    batch: int
    trained: Literal["1 epoch", "to the end"]
    epochs: int
    qat_epochs: int
    shift: str
    blocks: list[str]

    def layout(self) -> list[Block]:
        """Its blocks as dfedge knows them."""
        return [_block(text) for text in self.blocks]

    def spec(self) -> NetSpec:
        """As dfedge trains it."""
        return NetSpec(self.layout(), anchors=self.anchors)


def _block(text: str) -> Block:
    kind, channels, *rest = text.split()
    stride = 2 if "/2" in rest else 1
    return msgspec.convert(
        {"kind": kind, "channels": int(channels), "stride": stride, "pool": "pool" in rest}, Block
    )


def plan_of(cell: Cell) -> Plan:
    """Its geometry.

    Raises:
        DfedgeError: the image is too small for the net, or the net too large.
    """
    kind = KINDS[cell.data]
    plan = skeleton(cell.spec(), kind.shape, kind.classes)
    check_sizes(plan, cell.batch)
    return plan


def cost(plan: Plan) -> tuple[int, int]:
    """Activations and products of one sample."""
    convs = [conv for layer in plan.layers for conv in layer.convs]
    values = [c.out_height * c.out_width * c.channels for c in convs]
    inner = [c.taps * (1 if c.depthwise else c.in_channels) for c in convs]
    return sum(values), sum(v * n for v, n in zip(values, inner, strict=True))


def draw() -> list[Cell]:
    """All cells."""
    cells: list[Cell] = []
    for group in GROUPS:
        r = np.random.default_rng([SEED, GROUPS.index(group)])
        count = VECTORS if group == "vectors" else EACH
        dealt = {name: _dealt(choices, count, r) for name, choices in COLUMNS.items()}
        learn = r.permutation([*ADOPTED, *[""] * (count - len(ADOPTED))])
        depth = r.permutation(np.linspace(2, 10, count).round().astype(int))
        names = [name for name, kind in KINDS.items() if kind.group == group]
        for i in range(count):
            fixed = {name: column[i] for name, column in dealt.items()}
            fixed |= {"learn": str(learn[i]), "data": names[i % len(names)], "group": group}
            cells.append(_cell(len(cells), i, int(depth[i]), fixed, r))
    return cells


def _dealt(choices: tuple[Any, ...], count: int, r: np.random.Generator) -> list[Any]:
    column = [choices[i % len(choices)] for i in range(count)]
    return [column[i] for i in r.permutation(count)]


def _cell(
    number: int, place: int, layers: int, fixed: dict[str, Any], r: np.random.Generator
) -> Cell:
    kind = KINDS[fixed["data"]]
    shift = drawn(fixed["group"], place, kind.shape, r)
    if fixed["learn"]:
        layers = min(layers, 6)
    for attempt in range(TRIES):
        anchors = 1 if fixed["learn"] or fixed["group"] == "vectors" else fixed["anchors"]
        # Where a net of that depth and so many anchor cells is not found, fewer cells, then layers.
        anchors = max(1, anchors >> max(0, attempt // 400 - 1))
        depth = max(2, layers - max(0, attempt // 200 - 4))
        cell = Cell(
            number=number,
            group=fixed["group"],
            data=fixed["data"],
            net="linear" if fixed["group"] == "vectors" else fixed["block"],
            width="wide" if fixed["wide"] else "narrow",
            layers=depth,
            learn=fixed["learn"],
            anchors=anchors,
            rule=fixed["rule"],
            batch=fixed["batch"],
            trained="to the end" if fixed["ended"] else "1 epoch",
            epochs=1,
            qat_epochs=1,
            shift=shift,
            blocks=_blocks(fixed, depth, kind.shape, r),
        )
        try:
            values, products = cost(plan_of(cell))
        except DfedgeError:
            continue
        most = LARGER if kind.shape[0] == kind.shape[1] == 64 else MOST_VALUES
        if values <= most and products <= MOST_PRODUCTS:
            return _timed(cell, values, products)
    raise ValueError(f"cell {number}: no net found for {fixed}")


def _timed(cell: Cell, values: int, products: int) -> Cell:
    """With the epochs that "to the end" is for a net of its cost and its number of samples."""
    if cell.trained == "1 epoch":
        return cell
    samples = {"digits": 720, "wine": 71, "cancer": 227, "segment": 800}.get(cell.data, 1600)
    a_sample = 0.1 + 0.05 * cell.layers + values / 14_000 + products / 5_000_000  # ms
    most = {"vectors": 60, "digits": 40}.get(cell.group, 16)
    epochs = int(np.clip(TRAINING_MS / (samples * a_sample), 5, most))
    return msgspec.structs.replace(cell, epochs=epochs, qat_epochs=max(1, epochs // 5))


def _blocks(
    fixed: dict[str, Any], layers: int, shape: tuple[int, int, int], r: np.random.Generator
) -> list[str]:
    """Channels that never fall; pools, or strides as in all adopted nets, more often early."""
    narrow = [4, 6, 8, 12, 16]
    channels = sorted(int(c) for c in r.choice([16, 24, 32, 48, 64] if fixed["wide"] else narrow,
                                               layers))  # fmt: skip
    if fixed["group"] == "vectors":
        return [f"linear {c}" for c in channels]
    sizes = int(np.log2(min(shape[:2])))  # how often it can be halved
    halvings = int(r.integers(0, sizes + 1))
    early = np.sort(r.choice(layers, min(halvings, layers), False, _early(layers)))
    blocks = []
    for i, c in enumerate(channels):
        kind = "conv" if i == 0 and fixed["block"] != "separable" else fixed["block"]
        kind = "conv" if i == 0 and shape[2] == 1 else kind
        halved, strided = i in early, bool(fixed["learn"]) or r.random() < max(shape[:2]) / 100
        blocks.append(f"{kind} {c}" + (" /2" if strided else " pool") * halved)
    return blocks


def _early(layers: int) -> np.ndarray:
    weight = 0.6 ** np.arange(layers)
    return weight / weight.sum()
