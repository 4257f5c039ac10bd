"""Manifests changed at random whose hashes were made right again: what a stranger could send.

From `Session.open` to the first learning step each must run or be refused with one line.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfedge.device.session import Session
from dfedge.manifest import BLANK, MANIFEST
from trials.structure import changed
from trials.trial import Trials, memory


def rehashed(tree: Any) -> bytes:
    """manifest.json's bytes with a digest of their own that fits."""
    if not isinstance(tree, dict):
        return json.dumps(tree).encode()
    raw = json.dumps(tree | {"digest": BLANK}).encode()
    return raw.replace(BLANK.encode(), hashlib.sha256(raw).hexdigest().encode())


def mutate_manifests(
    folder: Path, state: Path, runtimes: Sequence[str], trials: int, seed: int
) -> Trials:
    """Change a bundle's manifest, in place and back, and go as far as the first learning step.

    Args:
        folder: of the bundle; its programs stay as they are.
        state: a folder that is not there.
        runtimes: tried in turn.
    """
    draw, found = random.Random(seed), Trials()
    kept = (folder / MANIFEST).read_bytes()
    tree = json.loads(kept)
    for runtime in runtimes:
        _learn(folder, state, runtime)  # what is loaded once counts for none of the trials
    try:
        with memory():
            for number in range(trials):
                (folder / MANIFEST).write_bytes(rehashed(changed(tree, draw)))
                runtime = runtimes[number % len(runtimes)]
                found.judge(lambda: _learn(folder, state, runtime), folder.parent)  # noqa: B023
    finally:
        (folder / MANIFEST).write_bytes(kept)
    return found


def _learn(folder: Path, state: Path, runtime: str) -> None:
    session = Session.open(folder, runtime, state, read_only=True)
    image = np.zeros(session.bundle.manifest.input.shape, np.uint8)
    session.predict(image)
    session.learn(image, 0)
    session.learn_batch(np.stack([image] * 17), np.zeros(17, np.int64))
    session.predict(image)
    session.keeper.judge()
    session.bundle.footprints()
