"""The layers of a net spread over two worker processes: time of a step of ``df-o`` and ``df-r``.

The lower worker hands its last output up and waits for one error; in ``df-o`` that error has gone
through the upper worker's weights, in ``df-r`` through random ones.  While the lower worker works
on the next batch, the upper one finishes its other layers.
"""

import multiprocessing as mp
import socket
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed as dist
from torch import Tensor

from dfedge.learn.net import Net
from dfedge.learn.rules import load_rule
from dfedge.learn.rules.df_o import slide
from dfedge.learn.spec import load_spec
from dfedge.learn.trainer import Trainer

IMAGE = (32, 32, 3)
WARM, TIMED = 3, 12
BYTES = 4


class _Link:
    """The boundary as messages between two processes; ``shape`` is what crosses."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def up(self, activation: Tensor) -> None:
        dist.send(activation.contiguous(), 1)

    def error(self) -> Tensor:
        arrived = torch.empty(self.shape)
        dist.recv(arrived, 1)
        return arrived

    def down(self, error: Tensor) -> None:
        dist.send(error.contiguous(), 0)


def spread_step(net: str, rule: str, batch: int, cut: int, classes: int) -> dict[str, float]:
    """Seconds of a step with one worker and with two, each of one thread.

    Args:
        cut: the first layer of the upper worker.

    Returns:
        seconds_one, seconds_two, and the bytes that cross the boundary each way.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen, _ = load_spec(net).shapes(IMAGE)[cut]
    shape = (batch, seen[2], *seen[:2])
    context = mp.get_context("spawn")
    answers = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(rank, net, rule, shape, cut, classes, port, answers))
        for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"a worker ended with {[w.exitcode for w in workers]}")
    one, two = answers.get()
    return {
        "seconds_one": one,
        "seconds_two": two,
        "boundary_bytes": BYTES * torch.Size(shape).numel(),
    }


def _work(
    rank: int,
    name: str,
    rule: str,
    shape: tuple[int, ...],
    cut: int,
    classes: int,
    port: int,
    answers: "SimpleQueue[tuple[float, float]]",
) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.manual_seed(0)
    spec, made = load_spec(name), load_rule(rule)
    net = Net(spec, IMAGE, classes)
    made.prepare(net)
    net.train()
    trainer = Trainer(net, made, spec.train, 0, 1)
    layers = range(cut) if rank == 0 else range(cut, len(net.units))
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 128, (shape[0], IMAGE[2], *IMAGE[:2]), generator=g, dtype=torch.int8)
    y = torch.randint(0, classes, (shape[0],), generator=g)
    link = _Link(shape)

    def update(i: int) -> None:
        trainer.optimisers[i].step()
        trainer.optimisers[i].zero_grad(set_to_none=True)

    def alone() -> None:
        slide(net, range(len(net.units)), net.form.begin(x, y, g), y, update)

    def together() -> None:
        if rank == 0:
            slide(net, layers, net.form.begin(x, y, g), y, update, link)
        else:
            a = torch.empty(shape)
            dist.recv(a, 0)
            slide(net, layers, a, y, update, link)

    one = _seconds(alone) if rank == 0 else 0.0
    dist.barrier()
    two = _seconds(together)
    if rank == 0:
        answers.put((one, two))
    dist.destroy_process_group()


def _seconds(step: Callable[[], None]) -> float:
    for _ in range(WARM):
        step()
    start = time.perf_counter()
    for _ in range(TIMED):
        step()
    return (time.perf_counter() - start) / TIMED
