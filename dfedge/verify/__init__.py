"""Do all runtimes hold the same bits?  PyTorch as the reference, and random nets exported."""

from dfedge.bundle import Bundle
from dfedge.device.replay import Verification, open_runners, replay
from dfedge.device.runners import Runner
from dfedge.progress import Progress

__all__ = ["verify"]


def verify(
    bundle: Bundle, steps: int, runtimes: list[str] | None = None, watch: Progress = lambda *_: None
) -> Verification:
    """Replay golden batches in the wanted runtimes (else all installed ones) beside PyTorch.

    Raises:
        UsageError: an unknown runtime; more steps than were recorded where torch is missing.
        DfedgeError: a wanted runtime that is not installed, or one that refuses the program.
    """
    runners, missing = open_runners(bundle, runtimes)
    return replay(bundle, runners, steps, _reference(bundle), missing, watch)


def _reference(bundle: Bundle) -> Runner | None:
    try:
        from dfedge.verify.reference import TorchRunner
    except ImportError:  # a device without torch: what was recorded is the reference
        return None
    return TorchRunner(bundle)
