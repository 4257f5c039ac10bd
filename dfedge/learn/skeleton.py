"""The geometry of a net as the integer step has it: a plan whose shifts are still zero.

Written once, so that sizes are checked before training and lowered after it on the same figures.
"""

from dfedge.errors import DfedgeError
from dfedge.int8.bounds import check_sizes
from dfedge.int8.ops.values import NO_PULL
from dfedge.learn.spec import Block, NetSpec, Shape
from dfedge.plan import Conv, Form, Join, Layer, Plan

JOINS = {"residual": Join(inner=2), "inverted": Join(inner=3)}
"""Of the kinds that add their input."""
PLANE_CHANNELS = 2
"""A label's plane enters as its positive and its negative part: operands are 0..127."""
PULL = 3
"""lambda = 1/8 for samples that violate the margin."""


def _conv(
    shape: Shape, channels: int, kernel: tuple[int, int], stride: int = 1, depthwise: bool = False
) -> Conv:
    """Same padding, more of it behind where it is odd, as `dfedge.learn.units` has it."""
    height, width = kernel
    pads = ((height - 1) // 2, height // 2, (width - 1) // 2, width // 2)
    return Conv(*shape, channels, kernel, stride, pads, depthwise)


def _convs(block: Block, shape: Shape) -> tuple[Conv, ...]:
    out, sides, stride = block.channels, block.sides, block.stride
    halved = block.output(shape)
    match block.kind:
        case "linear":
            return (Conv(*shape, out, (shape[0], shape[1])),)
        case "gain":
            return (Conv(*shape, out, (1, 1), depthwise=True),)
        case "separable":
            first = _conv(shape, shape[2], sides, stride, depthwise=True)
            return first, _conv((halved[0], halved[1], shape[2]), out, (1, 1))
        case "residual":
            inner = (_conv(shape, out, sides, stride), _conv(halved, out, sides))
            if stride == 1 and shape[2] == out:
                return inner
            return (*inner, _conv(shape, out, (1, 1), stride))
        case "inverted":
            wide = (*shape[:2], block.wide)
            return (
                _conv(shape, block.wide, (1, 1)),
                _conv(wide, block.wide, sides, depthwise=True),
                _conv(wide, out, (1, 1)),
            )
    return (_conv(shape, out, sides, stride),)


def skeleton(spec: NetSpec, image: Shape, classes: int, form: Form = "one-pass") -> Plan:
    """The plan of a net for images [H, W, C].

    Raises:
        DfedgeError: the image is too small for the net.
    """
    layers = []
    plane = form == "label-plane"
    for i, (block, (shape, output)) in enumerate(
        zip(spec.blocks(), spec.shapes(image), strict=True)
    ):
        if plane and i == 0:
            shape = (shape[0], shape[1], shape[2] + PLANE_CHANNELS)
        layers.append(
            Layer(
                convs=_convs(block, shape),
                join=JOINS.get(block.kind),
                pool=block.pool,
                mean=block.mean,
                cells=min(spec.anchors, *output[:2]),
                margin=spec.integer_margin(form),
                pull=NO_PULL if plane else PULL,
            )
        )
    return Plan(tuple(layers), classes, form=form, negatives=spec.plane.negatives if plane else 0)


def obstacle(spec: NetSpec, image: Shape, classes: int, form: Form) -> str | None:
    """Why the integer step does not know this net, or None."""
    if form == "label-plane" and not spec.plane.negatives:
        return "the label-plane form with all wrong labels shown; give --negatives"
    if form == "label-plane" and spec.block[0].kind not in ("conv", "linear"):
        return f"a label's plane before a {spec.block[0].kind} layer; begin with a conv layer"
    try:
        check_sizes(skeleton(spec, image, classes, form), batch=1)
    except DfedgeError as error:
        return str(error)
    return None
