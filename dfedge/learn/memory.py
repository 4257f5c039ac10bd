"""Peak memory of one training step on the host, from the allocator's own account."""

import json
import tempfile
from pathlib import Path

import torch

from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, HostRule
from dfedge.learn.spec import Settings
from dfedge.learn.trainer import Trainer


def peak_step_bytes(net: Net, rule: HostRule, settings: Settings, batch: Batch) -> tuple[int, int]:
    """(Peak bytes that one step allocates beyond what was there, bytes of weights and optimiser).

    The second step is measured: the first one makes the optimiser's moments.  On the CPU every
    allocation is reported by PyTorch's profiler, on CUDA by the caching allocator.
    """
    trainer = Trainer(net, rule, settings, 0, 1)
    net.train()
    trainer.step(batch)
    held = [*net.parameters(), *net.buffers()]
    moments = [
        value
        for optimiser in trainer.optimisers
        for slots in optimiser.state.values()
        for value in slots.values()
    ]
    kept = sum(t.numel() * t.element_size() for t in [*held, *moments])
    if batch.x.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        trainer.step(batch)
        return torch.cuda.max_memory_allocated() - before, kept
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        trainer.step(batch)
    return _peak(profile), kept


def _peak(profile: torch.profiler.profile) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    moves = sorted(
        (event["ts"], i, event["args"]["Bytes"])
        for i, event in enumerate(events)
        if event["name"] == "[memory]"
    )
    total = peak = 0
    for _, _, size in moves:
        total += size
        peak = max(peak, total)
    return peak
