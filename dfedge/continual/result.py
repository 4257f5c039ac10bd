"""What a continual run found: the object that ``--json`` prints and the report draws."""

from typing import Any

import msgspec
import numpy as np

from dfedge import state
from dfedge.continual import metrics
from dfedge.continual.run import StreamRun


def result_of(run: StreamRun) -> dict[str, Any]:
    """The figures of a run, as far as it is.

    Bytes are of what must be kept between steps: ``replay_bytes`` of the strategy's memory,
    ``guard_bytes`` of the guard's samples and its good state, ``state_bytes`` of the state itself.
    """
    progress, session = run.progress, run.session
    r = np.array(progress.matrix)
    forgotten = progress.known[0] - progress.known[-1] if progress.known else None
    return {
        **msgspec.to_builtins(run.settings),
        "experiences": [e.name for e in run.stream.experiences],
        "accuracy_matrix": progress.matrix,
        "average_accuracy": metrics.average_accuracy(r),
        "forgetting": metrics.forgetting(r),
        "backward_transfer": metrics.backward_transfer(r),
        "forward_transfer": metrics.forward_transfer(r),
        "known_accuracy": progress.known,
        "known_lost": forgotten,
        "test_then_train": run.accuracy(len(run.right)),
        "test_then_train_last_500": run.accuracy(500),
        "samples": progress.samples,
        "steps": progress.steps,
        "skipped": progress.skipped,
        "rollbacks": run.rollbacks,
        "resumed": run.resumed,
        "replay_bytes": state.size_bytes(run.strategy.arrays()),
        "guard_bytes": run.guard_bytes,
        "state_bytes": session.state_bytes,
        "ms_per_step": 1000 * progress.seconds / max(progress.steps, 1),
        "runtime": session.runtime,
        "classes": list(session.classes),
        "state": str(session.folder),
        "state_sha256": session.digest(),
    }
