"""Does a runtime give this bundle's golden integers?  Asked at export, and by ``dfedge doctor``."""

import numpy as np

from dfedge.bundle import Bundle
from dfedge.device.runners import Runner
from dfedge.errors import DfedgeError
from dfedge.state import digest


def check_parity(bundle: Bundle, runner: Runner, runtime: str) -> int:
    """Train the golden batches at the largest batch size; the number of steps that agreed.

    The runner is left at the bundle's own state.

    Raises:
        DfedgeError: the first integers that differ.
    """
    golden = bundle.golden()
    runner.set_state(bundle.initial_state())
    for i, (x, y, expected) in enumerate(
        zip(golden["x"], golden["y"], golden["scores"], strict=True)
    ):
        scores, _ = runner.train(x, y)
        _compare(scores, expected, f"{runtime}, golden step {i + 1}: scores")
    found, wanted = digest(runner.get_state()), bundle.manifest.golden_sha256
    if found != wanted:
        raise DfedgeError(
            f"{runtime}: the state after the golden steps is {found[:12]}, should be "
            f"{wanted[:12]}; "
            "this runtime computes other integers: do not train with it"
        )
    batch = bundle.manifest.batches("infer")[0]
    x = golden["x"][-1]
    scores = np.concatenate(
        [runner.infer(x[i : i + batch]) for i in range(0, len(x) // batch * batch, batch)]
    )
    _compare(scores, golden["infer"][: len(scores)], f"{runtime}, after the golden steps: scores")
    runner.set_state(bundle.initial_state())
    return len(golden["x"])


def _compare(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    if not np.array_equal(found, expected):
        place = tuple(int(i[0]) for i in np.nonzero(found != expected))
        raise DfedgeError(
            f"{what} differ at {place}: {found[place]}, should be {expected[place]}; "
            "this runtime computes other integers: do not train with it"
        )
