"""Bytes of a training step: dfedge's, and those of every way of `rivals.py`; all computed."""

import math
from dataclasses import dataclass

from dfedge.bench.rival import FloatNet
from dfedge.compile.blank import blank
from dfedge.exporters import planned
from dfedge.exporters.program import Method
from dfedge.plan import Plan
from dfedge.profile import rivals
from dfedge.profile.rival import BackpropPlan

BATCHES = (1, 16)
Bytes = dict[str, list[int]]
"""Arena and state of each way."""


@dataclass(frozen=True)
class Sparse:
    """What moves: the head, biases of the last layers, and weights of the last of these."""

    biases: int
    weights: int

    def names(self, net: FloatNet) -> set[str]:
        """The parameters."""
        count, found = len(net.layers), {"head.weight", "head.bias"}
        for kind, last in (("bias", self.biases), ("weight", self.weights)):
            found |= {f"layers.{i}.convs.0.inner.{kind}" for i in range(count - last, count)}
        return found


def schemes(plan: Plan) -> list[Sparse]:
    """The head alone, then wider ones."""
    count = len(plan.layers)
    some = {(1, 1), (count, 0), (count, 1), (count, count // 2)}
    return [Sparse(0, 0), *(Sparse(*one) for one in sorted(some))]


def bytes_of(plan: Plan, sparse: Sparse) -> dict[str, Bytes]:
    """Of every way, by batch."""
    return {str(batch): _at(plan, sparse, batch) for batch in BATCHES}


def _at(plan: Plan, sparse: Sparse, batch: int) -> Bytes:
    single, whole = rivals.back_propagation(plan, 1), rivals.back_propagation(plan, batch)
    ideal, state = rivals.int8_ideal(plan, batch), planned.state_bytes(blank(plan))
    found = {
        "back-propagation": whole,
        "back-propagation, momentum": BackpropPlan(
            whole.arena_bytes, 2 * whole.state_bytes, whole.source
        ),
        "back-propagation, checkpoints": rivals.checkpointed(plan, batch),
        "back-propagation, accumulated one by one": rivals.accumulated(single),
    }
    rows = {
        "dfedge": [planned.native_arena(plan, Method("train", batch)), state],
        **{name: [one.arena_bytes, one.state_bytes] for name, one in found.items()},
        "int8, nothing but what must be kept": [ideal.arena_bytes, ideal.state_bytes],
        "int8, as NITI": [ideal.arena_bytes + _sums(plan, batch), ideal.state_bytes],
        "sparse, as MCUNetV3": _sparse(plan, sparse, batch),
    }
    features = plan.layers[-1].features
    inference = planned.native_arena(plan, Method("infer", 1))
    rows["head alone"] = [inference + 4 * batch * features, 4 * (features + 1) * plan.classes]
    return rows


def _sums(plan: Plan, batch: int) -> int:
    """What NITI adds: int32 sums of a whole map, or of a gradient, before their shift is known."""
    convs = [conv for layer in plan.layers for conv in layer.convs]
    maps = [4 * batch * math.prod(conv.output) for conv in convs]
    return max(*maps, *(4 * conv.taps * conv.in_channels * conv.channels for conv in convs))


def _sparse(plan: Plan, sparse: Sparse, batch: int) -> list[int]:
    """In int8: inputs of layers whose weights move, a bit for every ReLU that an error passes.

    Two errors are alive at a time; what lies below runs first, an image at a time.
    """
    convs = [layer.convs[0] for layer in plan.layers]
    count, features = len(convs), plan.layers[-1].features
    passed = convs[count - max(sparse.biases, sparse.weights) :]
    inputs = [c.height * c.width * c.in_channels for c in convs[count - sparse.weights :]]
    outputs = [math.prod(conv.output) for conv in passed]
    kept = sum(inputs) + sum(-(-size // 8) for size in outputs) + features
    arena = batch * (kept + 2 * max(outputs, default=0))
    arena = max(arena, batch * kept + planned.native_arena(plan, Method("infer", 1)))
    weights = sum(c.taps * c.in_channels * c.channels for c in convs[count - sparse.weights :])
    biases = 4 * sum(conv.channels for conv in convs[count - sparse.biases :])
    return [arena, weights + biases + (features + 4) * plan.classes]
