"""The lineage of a run: which bundles can take each other's learned state.

A state is integers.  Two bundles give them one meaning where they come of one trained net with one
set of scales.  So the lineage is the SHA-256 of these, and of nothing that an export may choose.  A
run keeps them anyway, so that nothing need be written beside them, and a run of an older dfedge has
its lineage too.

Calibrated anew with other scales, a run has another lineage: its integers then stand for other
numbers.
"""

import hashlib
import json

from dfedge.learn.run import Run
from dfedge.state import digest


def lineage(run: Run) -> str:
    """SHA-256, hexadecimal, of a run's classes, weights, scales and frozen constants.

    Raises:
        DfedgeError: not trained to its end, or never calibrated.
    """
    scales = [
        [[[conv.weight, conv.activation] for conv in own.convs], own.handed, own.gain,
         own.norm_shift]
        for own in run.calibration().layers
    ]  # fmt: skip
    tensors = {f"net.{name}": value for name, value in run.load_net().state_dict().items()}
    tensors |= {f"trunk.{name}": value for name, value in run.constants().items()}
    weights = digest({name: value.numpy() for name, value in tensors.items()})
    said = {"classes": run.plan.classes, "scales": scales, "weights": weights}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
