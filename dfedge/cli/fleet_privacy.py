"""Options of differential privacy, for ``dfedge fleet merge`` and ``simulate``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfedge.errors import UsageError

if TYPE_CHECKING:
    from dfedge.fleet.privacy import Privacy

NoiseMultiplier = Annotated[
    float | None,
    typer.Option(
        help="Differential privacy of each device: standard deviation of the noise on the sum, in "
        "clip norms.",
        show_default="no noise",
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(help="L2 norm to which each device's delta is clipped before noise is added."),
]
DpDelta = Annotated[
    float, typer.Option(help="Delta of (epsilon, delta), well below one over all devices.")
]


def privacy_of(noise: float | None, clip: float | None, delta: float) -> "Privacy | None":
    """What the options mean together; None: no noise.

    Raises:
        UsageError: one without the other.
    """
    from dfedge.fleet.privacy import Privacy

    if noise is None and clip is None:
        return None
    if noise is None or clip is None:
        raise UsageError("--noise-multiplier and --clip-norm: give both, or neither")
    return Privacy(noise, clip, delta)
