"""Real fine-tunes, real processes, SIGKILL at random instants: nothing lost, every byte resumed."""

import multiprocessing as mp
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.finetune import steps
from dfedge.device.session import Session
from dfedge.device.store import SLOTS, FinetuneJob, Saving, Store

PRELOADED = ["dfedge.device.onnx", "trials.kills", "sklearn.datasets"]
"""Imported once by the server that forks the processes, so that 500 of them start quickly."""


@dataclass(frozen=True)
class Work:
    """A fine-tune of the digits, turned, on ONNX Runtime."""

    bundle: Path
    steps: int
    save_every: int


@dataclass
class Kills:
    """What was done and found.

    Attributes:
        kills: processes ended by SIGKILL.
        after_a_save: those that had acknowledged a save.
        finished: fine-tunes that reached their end, each after some kills.
        lost: kills after which less than the last acknowledged save was found.
        different: finished fine-tunes whose slots were not, byte for byte, those of one run that
            was never interrupted.
    """

    kills: int = 0
    after_a_save: int = 0
    finished: int = 0
    lost: int = 0
    different: int = 0


def kill_finetunes(
    work: Work, root: Path, kills: int, seed: int, watch: Callable[[Kills], None] = lambda _: None
) -> Kills:
    """Start fine-tunes under ``root`` and kill them, until so many were and all have ended."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    draw, found, bundle = random.Random(seed), Kills(), Bundle.open(work.bundle)
    _run(context, work, root / "warm", None)
    whole = root / "whole"
    start = time.monotonic()
    _run(context, work, whole, None)
    lifetime = time.monotonic() - start
    folder, acknowledged = root / "0", 0
    while found.kills < kills or folder.exists():
        wait = draw.uniform(0, lifetime) if found.kills < kills else None
        killed, last = _run(context, work, folder, wait)
        acknowledged = max(acknowledged, last)
        stored = Store(folder, read_only=True).load(bundle)
        found.lost += (stored.record.samples if stored else 0) < acknowledged
        # The machine is busier at times: keep the instants within a fine-tune's life.
        lifetime *= 1.03 if killed else 0.93
        if killed:
            found.kills += 1
            found.after_a_save += acknowledged > 0
            watch(found)
        else:
            found.finished += 1
            found.different += any(
                (folder / slot).read_bytes() != (whole / slot).read_bytes() for slot in SLOTS
            )
            folder, acknowledged = root / str(found.finished), 0
    return found


def _run(
    context: mp.context.ForkServerContext, work: Work, state: Path, wait: float | None
) -> tuple[bool, int]:
    """One process: whether it was killed after ``wait`` seconds, and its last acknowledged save."""
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_finetune, args=(work, state, writer))
    process.start()
    writer.close()
    process.join(wait)
    process.kill()
    process.join()
    last = 0
    try:
        while True:
            last = int.from_bytes(reader.recv_bytes(), "little")
    except EOFError:
        reader.close()
    if process.exitcode not in (0, -9):
        raise RuntimeError(f"a fine-tune ended with {process.exitcode}")
    return process.exitcode != 0, last


def _finetune(work: Work, state: Path, saves: Connection) -> None:
    session = Session.open(work.bundle, "onnx", state)
    manifest = session.bundle.manifest
    name, split = load_split(
        "digits", None, manifest.input, manifest.classes, ("stream",), "rotate:90"
    )
    job = FinetuneJob("digits", name, "rotate:90", 0, 16, work.steps * 16, total=True)

    def acknowledge(samples: int) -> None:
        saves.send_bytes(samples.to_bytes(8, "little"))

    for _ in steps(session, split, job, Saving(work.save_every), acknowledge):
        pass
