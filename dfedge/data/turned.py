"""Images turned."""

import numpy as np

from dfedge.data.dataset import Images
from dfedge.errors import DfedgeError


def rotate(x: Images, degrees: float) -> Images:
    """Turn counter-clockwise; quarter turns of square images move pixels and change none."""
    quarters, rest = divmod(degrees, 90)
    if not rest and (x.shape[1] == x.shape[2] or quarters % 2 == 0):
        return np.ascontiguousarray(np.rot90(x, int(quarters), axes=(1, 2)))
    try:
        from PIL import Image
    except ImportError as error:
        raise DfedgeError(
            "turns by other than 90 degrees need Pillow; pip install Pillow"
        ) from error
    turned = [
        np.asarray(
            Image.fromarray(one.squeeze(2) if one.shape[2] == 1 else one).rotate(
                degrees, Image.Resampling.BILINEAR
            )
        ).reshape(one.shape)
        for one in x
    ]
    return np.stack(turned)
