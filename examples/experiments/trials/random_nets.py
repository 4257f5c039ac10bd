"""Random small nets, exported to every format and replayed, to hold exporters to their promise.

Nets inside the documented limits must be exported and agree to the bit.  Nets drawn across a limit
must agree as well, or be refused before a file is written, with the layer and the limit named.
"""

import math
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec.structs import replace

from dfedge.blocks import Block
from dfedge.bundle import Bundle
from dfedge.compile.state import State, conv_name
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.scale import ChannelScale
from dfedge.data.inputs.window import WindowRule
from dfedge.errors import DfedgeError
from dfedge.exporters.assemble import Origin, assemble
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.golden import replay
from dfedge.exporters.program import methods
from dfedge.int8.bounds import INT32, MAX_CELL, PEAK, check_sizes, fan_in
from dfedge.int8.ops.values import BIAS_MAX, MARGIN_UNIT, NO_PULL
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import Loss, NetSpec
from dfedge.plan import FEEDBACKS, FIXED, MAX_DITHERED_SHIFT, MAX_PACE, Conv, Layer, Plan, Shape
from dfedge.progress import Progress
from dfedge.state import DEAD_SCORE
from dfedge.target import budget_of, load_target

STEPS = 4


@dataclass(frozen=True)
class Drawn:
    """A net: its plan and first state, the larger batch size, and what was drawn at a limit."""

    plan: Plan
    state: State
    batch: int
    limit: str | None = None


class Trial(msgspec.Struct, frozen=True):
    """What became of one net.

    Attributes:
        outcome: ``agreed``, ``refused`` or ``failed``.
        detail: what was refused or what failed.
    """

    seed: int
    net: str
    limit: str | None
    outcome: str
    detail: str


def draw(seed: int) -> Drawn:
    """A net inside the limits: up to 4 layers, 16 x 16, 32 channels, 2 to 300 classes.

    Every fourth sees signals: a line of up to 64 positions, 1 to 6 channels.
    """
    r = random.Random(seed)
    image = (r.randint(5, 16), r.randint(5, 16), r.choice([1, 3]))
    plane = r.random() < 0.2
    if seed % 4 == 3 and not plane:
        image = (r.randint(5, 64), 1, r.randint(1, 6))
    while True:
        blocks: list[Block] = []
        for i in range(r.randint(1, 4)):
            blocks.append(_block(r, plane and i == 0, blocks[-1].channels if blocks else image[2]))
        loss = Loss(kind="relative", margin=r.random() / 10, negatives=1)
        anchors = Loss(margin=r.random())
        spec = NetSpec(blocks, anchors=r.randint(1, 3), loss=anchors, plane=loss)
        try:
            classes = r.choice([2, 3, 10, r.randint(2, 60) if plane else r.randint(2, 300)])
            plan = skeleton(spec, image, classes, "label-plane" if plane else "one-pass")
            break
        except DfedgeError:
            continue
    if plane:
        plan = replace(plan, negatives=r.randint(1, min(4, classes)))
    else:
        plan = replace(plan, feedback=r.choice(FEEDBACKS), cut=r.randrange(len(blocks)))
    return filled(plan, r, r.randint(1, 6), None)


KINDS = ("conv", "conv", "separable", "residual", "inverted", "linear")


def _block(r: random.Random, plain: bool, given: int) -> Block:
    """A block that may stand behind ``given`` channels."""
    kind = "conv" if plain else r.choice(KINDS)
    square, inverted = r.random() < 0.7, kind == "inverted"
    return Block(
        channels=given if inverted else r.randint(1, 32),
        kind=kind,
        kernel=r.choice([1, 3, 5]) if square else r.randint(1, 6),
        kernel_width=None if square else r.randint(1, 6),
        stride=1 if kind == "linear" or inverted else r.choice([1, 1, 1, 2, 3]),
        wide=r.randint(1, 32) if inverted else 0,
        pool=kind != "linear" and r.random() < 0.4,
        least_pads=r.random() < 0.2,
    )


def filled(plan: Plan, r: random.Random, batch: int, limit: str | None) -> Drawn:
    """A plan with random shifts, and a random state that keeps activations alive."""
    g = torch.Generator().manual_seed(r.randrange(1 << 31))

    def rand(low: int, high: int, *shape: int, dtype: torch.dtype = torch.int8) -> torch.Tensor:
        return torch.randint(low, high + 1, shape, generator=g, dtype=dtype)

    state: State = {}
    layers = []
    for i, layer in enumerate(plan.layers):
        convs = []
        for j, conv in enumerate(layer.convs):
            rows = 1 if conv.depthwise else conv.channels
            shift = max(0, round(math.log2(math.sqrt(fan_in(conv)) * 60)) + r.randint(-1, 1))
            name, shape = conv_name(i, j), (conv.taps, conv.in_channels, rows)
            state[f"{name}.weight"] = rand(-127, 127, *shape)
            state[f"{name}.bias"] = rand(
                -(8 << shift), 24 << shift, conv.channels, dtype=torch.int32
            )
            if plan.feedback in FIXED:
                state[f"{name}.feedback"] = rand(-127, 127, *shape)
            convs.append(replace(conv, shift=shift, back=r.randint(6, 12)))
        join = layer.join
        if join is not None:
            lift = (0, 0 if layer.skip else r.randint(0, 7))
            join = replace(join, lift=lift, back_lift=(0, r.randint(0, 5)))
        if plan.form == "one-pass":
            state[f"layer{i}.anchors"] = rand(0, 100, plan.classes, layer.features)
        values = layer.ends.out_height * layer.ends.out_width * layer.ends.channels
        layers.append(
            replace(
                layer,
                convs=tuple(convs),
                join=join,
                gain=r.randint(0, 2),
                score_shift=layer.score_shift or r.randint(0, 2),
                pull=r.randint(0, NO_PULL),
                separation=r.choice([0, 1, 3000, 6000]) * layer.features,
                counted=i == len(plan.layers) - 1 or r.random() < 0.8,
                norm=values << 2 * (4 + 2),
                norm_shift=2,
            )
        )
    plan = replace(plan, layers=tuple(layers))
    if plan.form == "label-plane":
        height, width, _ = plan.input_shape
        state["planes"] = rand(0, 127, plan.classes, height * width * 2)
    live = (rand(0, 9, plan.classes) > 1).to(torch.int8)
    live[:2] = 1
    state["live"] = live
    state["weight_shift"] = rand(4, 18, plan.convolutions)
    if plan.form == "one-pass":
        state["anchor_shift"] = rand(1, 8, len(layers))
    state["phase"] = torch.tensor(r.randrange(1 << 16), dtype=torch.int32)
    state["error"] = torch.tensor(r.randrange(1 << 14), dtype=torch.int32)
    state["usual_error"] = torch.tensor(r.randrange(1 << 14), dtype=torch.int32)
    state["pace"] = torch.tensor(r.randint(0, MAX_PACE), dtype=torch.int32)
    return Drawn(plan, state, batch, limit)


def draw_at_limit(seed: int) -> Drawn:
    """A net around one documented limit, as likely beyond it as within."""
    r = random.Random(seed)

    def around(limit: int) -> int:
        return round(limit * r.uniform(0.96, 1.04))

    which = list(LIMITS)[seed % len(LIMITS)]
    batch = 1
    match which:
        case "fan-in k*k*C":
            channels = around((INT32 - BIAS_MAX - (1 << 23)) // PEAK // 225)
            first = Conv(15, 15, 1, channels, (1, 1))
            layers = [Layer((first,)), Layer((Conv(15, 15, channels, 2, (15, 15)),))]
        case "features d of an anchor":
            d = around(INT32 // (PEAK * (2 * MARGIN_UNIT + 5)))
            layers = [Layer((Conv(2, 2, 3, d, (2, 2)),), margin=5)]
        case "positions summed":
            batch = around((INT32 - (1 << MAX_DITHERED_SHIFT)) // PEAK // 256)
            layers = [Layer((Conv(16, 16, 1, 2, (3, 3), pads=(1, 1, 1, 1)),), cells=2)]
        case "positions of a pooling cell":
            layers = [Layer((Conv(64, around(MAX_CELL // 64), 1, 2, (1, 1)),))]
        case _:
            d = r.randint(16, 64)
            shift = round(math.log2(-DEAD_SCORE / (PEAK * d))) + r.randint(-1, 1)
            layers = [Layer((Conv(8, 8, 3, d, (3, 3)),), score_shift=shift)]
    plan = Plan(tuple(layers), r.randint(2, 12), feedback=r.choice(FEEDBACKS[:2]))
    return filled(plan, r, batch, which)


LIMITS = (
    "fan-in k*k*C",
    "features d of an anchor",
    "positions summed",
    "positions of a pooling cell",
    "scores",
)
"""What `draw_at_limit` draws around, as the refusal names it."""


def attempt(
    seed: int, at_limit: bool, formats: tuple[str, ...], watch: Progress = lambda *_: None
) -> Trial:
    """Draw, export to all formats (each is replayed in its own runtime there), report."""
    drawn = (draw_at_limit if at_limit else draw)(seed)
    net = _words(drawn)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "bundle"
        try:
            check_sizes(drawn.plan, drawn.batch)
            export_drawn(drawn, formats, out, watch)
        except DfedgeError as error:
            clean = not any(Path(scratch).iterdir())
            named = drawn.limit is not None and drawn.limit in str(error)
            outcome = "refused" if clean and named else "failed"
            return Trial(seed, net, drawn.limit, outcome, str(error))
    return Trial(seed, net, drawn.limit, "agreed", "")


def export_drawn(
    drawn: Drawn, formats: tuple[str, ...], out: Path, watch: Progress = lambda *_: None
) -> Bundle:
    """A bundle of a drawn net, at its batch size, with golden batches of noise.

    Raises:
        DfedgeError: see `dfedge.exporters.assemble.assemble`.
    """
    plan, rng = drawn.plan, np.random.default_rng(0)
    x = rng.integers(0, 128, (STEPS, drawn.batch, *plan.input_shape), dtype=np.int8)
    live = np.flatnonzero(drawn.state["live"].numpy())
    y = rng.choice(live, (STEPS, drawn.batch)).astype(np.int32)
    names = tuple(str(k) for k in range(plan.classes))
    input = input_of(plan.input_shape)
    origin = Origin("random", "df", "random", names, input, [], 0.0, "random")
    source = ExportSource(plan, drawn.state, methods(plan, {drawn.batch}))
    golden, budget = replay(plan, drawn.state, x, y), budget_of(load_target("host"), "host")
    return assemble(source, origin, golden, formats, "host", budget, out, watch)


def input_of(shape: Shape) -> InputRule:
    """A rule that makes samples of a shape."""
    if shape[1] == 1:
        scale = ChannelScale(fraction=0, multiplier=1, offset=0, shift=0)
        return WindowRule(shape[0], (scale,) * shape[2])
    return ImageRule(*shape)


def _words(drawn: Drawn) -> str:
    plan = drawn.plan
    layers = [
        "+".join(
            f"{'dw' if c.depthwise else ''}{c.kernel[0]}x{c.kernel[1]}"
            f"{f'/{c.stride}' if c.stride > 1 else ''}>{c.channels}"
            for c in layer.convs
        )
        + ("r" if layer.join else "")
        + ("p" if layer.pool else "")
        for layer in plan.layers
    ]
    height, width, channels = plan.input_shape
    return (
        f"{height}x{width}x{channels} {' '.join(layers)}, {plan.classes} classes, {plan.form} "
        f"{plan.feedback}, cut {plan.cut}, batch {drawn.batch}"
    )
