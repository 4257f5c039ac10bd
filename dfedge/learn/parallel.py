"""Data-parallel training under ``torchrun``: gradients are averaged layer by layer.

Every process holds the whole data set and takes its own part of each batch.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from dfedge.errors import UsageError


def join() -> tuple[int, int]:
    """Join the group that torchrun started; this process's rank and the number of processes.

    Raises:
        UsageError: torchrun's variables are incomplete.
    """
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        except ValueError as error:
            raise UsageError(f"WORLD_SIZE is set, but {error}; start with torchrun") from error
    return dist.get_rank(), dist.get_world_size()


def average(tensors: Iterable[Tensor | None]) -> None:
    """Mean over all processes, in place; nothing where there is one."""
    if not dist.is_initialized():
        return
    for tensor in tensors:
        if tensor is not None and tensor.is_floating_point():
            dist.all_reduce(tensor)
            tensor /= dist.get_world_size()


def any_of(here: bool) -> bool:
    """Whether it holds in any process, so that all of them act alike."""
    if not dist.is_initialized():
        return here
    said = torch.tensor(float(here), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(said)
    return bool(said > 0)


def wait() -> None:
    """Until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def leave() -> None:
    """End the group."""
    if dist.is_initialized():
        dist.destroy_process_group()
