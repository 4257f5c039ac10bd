"""The largest batch and the deepest trainable suffix that fit a device, before any export."""

import msgspec
from msgspec.structs import replace

from dfedge.errors import DfedgeError
from dfedge.exporters.budget import advice, deepest, largest_batch, needs_bytes
from dfedge.exporters.options import ExportOptions, device_rule, first_learning
from dfedge.exporters.program import Method
from dfedge.learn.run import Run
from dfedge.learn.skeleton import skeleton
from dfedge.plan import Plan
from dfedge.rules import feedback_of
from dfedge.target import Budget, budget_of, check_runtimes, load_target
from dfedge.units import apart

LIMIT = 64
"""The largest batch that is tried."""


class Fit(msgspec.Struct, frozen=True):
    """What fits in one format.

    Attributes:
        allowed_bytes: of arena and state together.
        batch: the largest power of two at which the wanted layers train; 0: not even one sample.
        batch_bytes: arena and state there.
        train_layers: ``all``, or the deepest ``last:N`` that trains at batch 1; empty: none.
        train_layers_bytes: arena and state there.
        infer_bytes: arena and state of inference at batch 1.
        instead: where not all of the wanted layers train: what would.
    """

    allowed_bytes: int
    format: str
    batch: int
    batch_bytes: int
    train_layers: str
    train_layers_bytes: int
    infer_bytes: int
    instead: str = ""


def sized(run: Run, options: ExportOptions) -> Plan:
    """A run's plan as far as sizes go: no weights are read.

    Raises:
        UsageError: an unknown rule, or ``--train-layers`` beyond the net.
    """
    own = run.plan
    rows = len(own.classes) + options.spare_classes
    plan = skeleton(own.net, own.seen_shape, rows, own.form)
    cut = first_learning(options.train_layers, len(plan.layers))
    feedback = feedback_of(device_rule(options.rule, run))
    assert feedback is not None
    return replace(plan, feedback=feedback, cut=cut, trunk=own.trunk)


def fit(run: Run, options: ExportOptions, limit: int = LIMIT) -> list[Fit]:
    """Find what fits in each of the formats, by its computed plan (in small tiles, where it cuts).

    Raises:
        UsageError: an unknown target, budget, format or rule.
        DfedgeError: not even inference fits, in any of them.
    """
    target = load_target(options.target)
    check_runtimes(target, options.target, list(options.formats))
    budget = budget_of(target, options.target, options.budget)
    plan = sized(run, options)
    found = [_fit(plan, budget, format, options.train_layers, limit) for format in options.formats]
    least = min(found, key=lambda one: one.infer_bytes)
    if least.infer_bytes > budget.ram_bytes:
        needed, allowed = apart(least.infer_bytes, budget.ram_bytes)
        raise DfedgeError(
            f"even inference at batch 1 needs {needed} of RAM by the computed plan "
            f"of {least.format}; {budget.words} allows {allowed}. "
            + advice(budget, least.format, plan, 1)
        )
    return found


def _fit(plan: Plan, budget: Budget, format: str, wanted: str, limit: int) -> Fit:
    infer = needs_bytes(plan, Method("infer", 1), format, budget)
    batch = largest_batch(budget, format, plan, limit)
    if batch:
        layers = wanted, needs_bytes(plan, Method("train", 1), format, budget)
    else:
        last = deepest(budget, format, plan, 1)
        layers = (f"last:{last[0]}", last[1]) if last else ("", 0)
    instead = "" if batch else advice(budget, format, plan, 1)
    return Fit(budget.ram_bytes, format, *(batch or (0, 0)), *layers, infer, instead)
