"""Whether a plan's own statements agree: every map fits the one before it, and what a state holds.

The C interpreter checks the same of its table (``check.c``, ``trunk_check.c``); the other runtimes
take their programs as they are, so that a plan which tells another shape would be believed.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from dfedge.plan import FEEDBACK, Conv, Layer, Plan, Shape
from dfedge.trunk import AnyStep, Concat, Convolve, Gate, Largest, Mean, Mix, Surround, Swish, Trunk

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Name of a tensor -> its type and shape, in order."""

MOST_TAPS = 1024
MOST_VALUES = 1 << 30


def plan_flaws(plan: Plan) -> Iterator[str]:
    """What does not fit, one after the other; a later one is right only without those before."""
    if not plan.layers or not all(layer.convs for layer in plan.layers):
        yield "layers: there are none, or one has no convolution"
        return
    if not 0 <= plan.cut < len(plan.layers):
        yield f"cut: {plan.cut} of {len(plan.layers)} layers"
    plane = plan.form == "label-plane"
    if plane and (plan.rule != "df" or plan.cut or plan.trunk or not plan.negatives):
        yield f"form: {plan.form} goes with rule df, all layers and negatives, and without a trunk"
    if plan.trunk is not None:
        yield from (f"trunk: {flaw}" for flaw in trunk_flaws(plan.trunk))
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
        yield f"it takes {_text(_takes(chain[0]))} and is given {_text(given)}"
    for j, (before, after) in enumerate(pairwise(chain)):
        if _takes(after) != _makes(before):
            yield f"convs[{j + 1}] takes {_text(_takes(after))}, given {_text(_makes(before))}"
    made, skip = _makes(layer.ends), layer.skip
    if layer.join is not None:
        passed = given if skip is None else _makes(skip)
        plain = skip is None or (_takes(skip) == given and skip.taps == 1 and not skip.depthwise)
        if passed != made or not plain or layer.ends.depthwise:
            yield f"its branches are {_text(made)} and {_text(passed)}"
    if layer.pool and min(made[:2]) < 2:
        yield f"it halves {_text(made)}"
    if layer.mean and (layer.pool or plane):
        yield "it hands on its mean and something else as well"
    if layer.cells > min(made[:2]):
        yield f"it has {layer.cells} cells a side, of {_text(made)}"
    if layer.features > 40_000:
        yield f"an anchor has {layer.features:,} features"


def _conv_flaws(conv: Conv) -> Iterator[str]:
    if conv.out_height < 1 or conv.out_width < 1:
        yield "its kernel is larger than its input"
    if conv.taps > MOST_TAPS:
        yield f"its kernel has {conv.taps:,} taps"
    if conv.depthwise and conv.channels != conv.in_channels:
        yield "it is depthwise and changes the number of channels"
    if max(prod(_takes(conv)), prod(_makes(conv))) > MOST_VALUES:
        yield "its map is too large"


def _takes(conv: Conv) -> Shape:
    return conv.height, conv.width, conv.in_channels


def _makes(conv: Conv) -> Shape:
    return conv.out_height, conv.out_width, conv.channels


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def trunk_flaws(trunk: Trunk) -> Iterator[str]:
    """What does not fit in a trunk; a later one is right only without those before."""
    if not trunk.sound:
        yield "a step reads what is not there yet"
        return
    shapes = [trunk.input_shape]
    for i, step in enumerate(trunk.steps):
        given = [shapes[read] for read in step.reads]
        if max(prod(step.shape), *map(prod, given)) > MOST_VALUES:
            yield f"steps[{i}]: its map is too large"
        elif not _step_fits(step, given):
            yield f"steps[{i}]: it makes {_text(step.shape)} of {' and '.join(map(_text, given))}"
        shapes.append(step.shape)


def _step_fits(step: AnyStep, given: list[Shape]) -> bool:
    height, width, channels = given[0]
    made, two = step.shape, len(given) == 2
    if isinstance(step, Concat):
        return made[2] == sum(one[2] for one in given) and {one[:2] for one in given} == {made[:2]}
    if isinstance(step, Gate):
        return two and made == given[0] and given[1] in (made, (1, 1, channels))
    if isinstance(step, Mix):
        return len(step.factors) == len(given) <= 2 and set(given) == {made}
    if len(given) != 1:
        return False
    if isinstance(step, Swish):
        return made == given[0]
    if isinstance(step, Surround):
        top, bottom, left, right = step.pads
        return made == (height + top + bottom, width + left + right, channels)
    return _windows_fit(step, given[0])


def _windows_fit(step: Convolve | Mean | Largest, given: Shape) -> bool:
    top, bottom, left, right = (0, 0, 0, 0) if isinstance(step, Mean) else step.pads
    sides = (
        (given[0] + top + bottom - step.kernel[0]) // step.stride + 1,
        (given[1] + left + right - step.kernel[1]) // step.stride + 1,
    )
    most = MOST_TAPS if isinstance(step, Convolve) else 1 << 22
    if min(sides) < 1 or step.shape[:2] != sides or prod(step.kernel) > most:
        return False
    return (isinstance(step, Convolve) and not step.depthwise) or step.shape[2] == given[2]


def state_layout(plan: Plan) -> Layout:
    """The tensors of a plan's state, in state order: `dfedge.lower.state` says what they are."""
    found: Layout = {}
    convs = 0
    for i, layer in enumerate(plan.layers):
        for j, conv in enumerate(layer.convs):
            name = f"layer{i}.conv{j}"
            weight = (conv.taps, conv.in_channels, 1 if conv.depthwise else conv.channels)
            found[f"{name}.weight"] = ("int8", weight)
            found[f"{name}.bias"] = ("int32", (conv.channels,))
            if plan.rule in FEEDBACK:
                found[f"{name}.feedback"] = ("int8", weight)
            convs += 1
        if plan.form == "one-pass":
            found[f"layer{i}.anchors"] = ("int8", (plan.classes, layer.features))
    if plan.form == "label-plane":
        height, width, _ = plan.seen_shape
        found["planes"] = ("int8", (plan.classes, height * width * 2))
    found["live"] = ("int8", (plan.classes,))
    found |= dict.fromkeys(("weight_shift", "bias_shift"), ("int32", (convs,)))
    if plan.form == "one-pass":
        found["anchor_shift"] = ("int32", (len(plan.layers),))
    return found | dict.fromkeys(("phase", "error", "usual_error", "pace"), ("int32", ()))
