"""Whether a plan's own statements agree: every map fits the one before it, and what a state holds.

The C interpreter checks the same of its table (``check.c``); the other runtimes
take their programs as they are, so that a plan which tells another shape would be believed.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from dfedge.limits import MOST_TAPS
from dfedge.maps import most_cells
from dfedge.plan import FIXED, Conv, Layer, Plan, Shape
from dfedge.trunk import MOST_VALUES, text

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Name of a tensor -> its type and shape, in order."""


def plan_flaws(plan: Plan) -> Iterator[str]:
    """What does not fit, one after the other; a later one is right only without those before."""
    if not plan.layers or not all(layer.convs for layer in plan.layers):
        yield "layers: there are none, or one has no convolution"
        return
    if not 0 <= plan.cut < len(plan.layers):
        yield f"cut: {plan.cut} of {len(plan.layers)} layers"
    plane = plan.form == "label-plane"
    if plane and (plan.feedback != "none" or plan.cut or plan.trunk or not plan.negatives):
        yield f"form: {plan.form} goes with no feedback, all layers and negatives, and no trunk"
    if plan.trunk is not None:
        yield from (f"trunk: {flaw}" for flaw in plan.trunk.flaws())
    given = plan.trunk.output_shape if plan.trunk else plan.seen_shape
    if plane:
        given = (*given[:2], given[2] + 2)
    if not any(layer.counted for layer in plan.layers):
        yield "layers: the score of none is counted"
    for i, layer in enumerate(plan.layers):
        yield from (f"layers[{i}]: {flaw}" for flaw in _layer_flaws(layer, given, plane))
        given = layer.hands_on


def _layer_flaws(layer: Layer, given: Shape, plane: bool) -> Iterator[str]:
    wanted = {layer.chain, layer.chain + (layer.join is not None)}
    if len(layer.convs) not in wanted or layer.chain > 3:
        yield f"it has {len(layer.convs)} convolutions"
        return
    for j, conv in enumerate(layer.convs):
        yield from (f"convs[{j}]: {flaw}" for flaw in _conv_flaws(conv))
    chain = layer.convs[: layer.chain]
    if _takes(chain[0]) != given:
        yield f"it takes {text(_takes(chain[0]))} and is given {text(given)}"
    for j, (before, after) in enumerate(pairwise(chain)):
        if _takes(after) != before.output:
            yield f"convs[{j + 1}] takes {text(_takes(after))}, given {text(before.output)}"
    made, skip = layer.ends.output, layer.skip
    if layer.join is not None:
        passed = given if skip is None else skip.output
        plain = skip is None or (_takes(skip) == given and skip.taps == 1 and not skip.depthwise)
        if passed != made or not plain or layer.ends.depthwise:
            yield f"its branches are {text(made)} and {text(passed)}"
    if layer.pool and made[:2] == (1, 1):
        yield f"it halves {text(made)}"
    if layer.mean and (layer.pool or plane):
        yield "it hands on its mean and something else as well"
    if layer.cells > most_cells(made[:2]):
        yield f"it has {layer.cells} cells a side, of {text(made)}"
    if layer.features > 40_000:
        yield f"an anchor has {layer.features:,} features"


def _conv_flaws(conv: Conv) -> Iterator[str]:
    if conv.out_height < 1 or conv.out_width < 1:
        yield "its kernel is larger than its input"
    if conv.taps > MOST_TAPS:
        yield f"its kernel has {conv.taps:,} taps"
    if conv.depthwise and conv.channels != conv.in_channels:
        yield "it is depthwise and changes the number of channels"
    if max(prod(_takes(conv)), prod(conv.output)) > MOST_VALUES:
        yield "its map is too large"


def _takes(conv: Conv) -> Shape:
    return conv.height, conv.width, conv.in_channels


def state_layout(plan: Plan) -> Layout:
    """The tensors of a plan's state, in state order: `dfedge.compile.state` says what they are."""
    found: Layout = {}
    for i, layer in enumerate(plan.layers):
        for j, conv in enumerate(layer.convs):
            name = f"layer{i}.conv{j}"
            weight = (conv.taps, conv.in_channels, 1 if conv.depthwise else conv.channels)
            found[f"{name}.weight"] = ("int8", weight)
            found[f"{name}.bias"] = ("int32", (conv.channels,))
            if plan.feedback in FIXED:
                found[f"{name}.feedback"] = ("int8", weight)
        if plan.form == "one-pass":
            found[f"layer{i}.anchors"] = ("int8", (plan.classes, layer.features))
    if plan.form == "label-plane":
        height, width, _ = plan.seen_shape
        found["planes"] = ("int8", (plan.classes, height * width * 2))
    found["live"] = ("int8", (plan.classes,))
    found["weight_shift"] = ("int8", (plan.convolutions,))
    if plan.form == "one-pass":
        found["anchor_shift"] = ("int8", (len(plan.layers),))
    return found | dict.fromkeys(("phase", "error", "usual_error", "pace"), ("int32", ()))
