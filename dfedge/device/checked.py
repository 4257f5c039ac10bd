"""A runner whose programs may be a stranger's: what they give back is what the plan says, or one
line says that it is not.

The hashes of a bundle say that its programs are those that it was sent with, not that they take
and give what its manifest tells.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError, ResourceError
from dfedge.state import State

Result = tuple[type, tuple[int, ...]]
"""Type and shape."""


class CheckedRunner:
    """See `dfedge.device.runners.Runner`; whatever else the inner runner has is reached as its own.

    Attributes:
        inner: what runs.
    """

    def __init__(self, inner: Any, bundle: Bundle, name: str) -> None:
        self.inner, self._bundle, self._name = inner, bundle, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def infer(self, x: NDArray[np.int8]) -> NDArray[np.int32]:
        """Scores [B, K].

        Raises:
            ResourceError: the runtime failed.
            DfedgeError: another result.
        """
        (scores,) = self._called("infer", x)
        self._check("infer", [scores], [(np.int32, (len(x), self._bundle.manifest.plan.classes))])
        return scores

    def features(self, x: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """What each layer's anchors see, [B, d] a layer, then the latent; raises as `infer`."""
        plan = self._bundle.manifest.plan
        found = self._called("features", x)
        shapes = [(len(x), layer.features) for layer in plan.layers]
        self._check(
            "features", found, [(np.int8, one) for one in (*shapes, (len(x), *plan.latent_shape))]
        )
        return found

    def train(
        self, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Learn one batch: scores [B, K] before it, active samples [L].

        Raises:
            DfedgeError: another result; whatever the runtime raises.
        """
        return self._learned("train", x, y)

    def train_from(
        self, z: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """As `train`, from latents on."""
        return self._learned("train_from", z, y)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        state: dict[str, NDArray[Any]] = self.inner.get_state()
        return state

    def set_state(self, state: State) -> None:
        """Overwrite the whole state."""
        self.inner.set_state(state)

    def _learned(
        self, kind: str, x: NDArray[np.int8], y: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        plan = self._bundle.manifest.plan
        scores, active = getattr(self.inner, kind)(x, y)
        wanted = [(np.int32, (len(x), plan.classes)), (np.int32, (len(plan.layers),))]
        self._check(kind, [scores, active], wanted)
        return scores, active

    def _called(self, kind: str, x: NDArray[np.int8]) -> list[NDArray[Any]]:
        try:
            found = getattr(self.inner, kind)(x)
        except DfedgeError:
            raise
        except Exception as error:  # every runtime raises classes of its own
            text = " ".join(f"{type(error).__name__} {error}".split())[-160:]
            raise ResourceError(
                f"{self._bundle.folder}: {self._name} failed in {kind}_b{len(x)} ({text}); free "
                "memory and repeat, or export the bundle again"
            ) from error
        return found if isinstance(found, list) else [found]

    def _check(self, kind: str, found: list[NDArray[Any]], wanted: Sequence[Result]) -> None:
        got: list[Result] = [(value.dtype.type, value.shape) for value in found]
        if got != list(wanted):
            raise DfedgeError(
                f"{self._bundle.folder}: {self._name}'s program for {kind} gives {_text(got)}, not "
                f"the plan's {_text(wanted)}; export again"
            )


def _text(shapes: Sequence[Result]) -> str:
    return ", ".join(f"{kind.__name__} {list(shape)}" for kind, shape in shapes)[:200]
