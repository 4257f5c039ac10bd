"""The geometry of a net as the integer step has it: a plan whose shifts are still zero.

Written once, so that sizes are checked before training and lowered after it on the same figures.
"""

from dfedge.errors import DfedgeError
from dfedge.int8.bounds import check_sizes
from dfedge.int8.ops.values import NO_PULL
from dfedge.learn.spec import NetSpec
from dfedge.maps import most_cells
from dfedge.plan import Form, Join, Layer, Plan, Shape

PLANE_CHANNELS = 2
"""A label's plane enters as its positive and its negative part: operands are 0..127."""
PULL = 3
"""lambda = 1/8 for samples that violate the margin."""


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
        adds = block.made_of.adds
        layers.append(
            Layer(
                convs=block.convs(shape),
                join=Join(adds) if adds else None,
                pool=block.pool,
                mean=block.mean,
                cells=min(spec.anchors, most_cells(output[:2])),
                margin=spec.integer_margin(form),
                pull=NO_PULL if plane else PULL,
            )
        )
    return Plan(tuple(layers), classes, form=form, negatives=spec.plane.negatives if plane else 0)


def obstacle(spec: NetSpec, image: Shape, classes: int, form: Form) -> str | None:
    """Why the integer step does not know this net, or None."""
    if form == "label-plane" and not spec.plane.negatives:
        return "the label-plane form with all wrong labels shown; give --negatives"
    if form == "label-plane" and not spec.block[0].made_of.plane:
        return f"a label's plane before a {spec.block[0].kind} layer; begin with a conv layer"
    try:
        check_sizes(skeleton(spec, image, classes, form), batch=1)
    except DfedgeError as error:
        return str(error)
    return None
