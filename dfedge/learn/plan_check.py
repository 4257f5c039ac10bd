"""What is refused before a run is planned: options that do not suit the data, or one another."""

from dfedge.data.catalogue import Catalogue
from dfedge.data.dataset import Dataset
from dfedge.data.grouped import Grouped
from dfedge.data.inputs import called
from dfedge.data.reading import Reading
from dfedge.data.signals import WINDOW
from dfedge.errors import DfedgeError, UsageError
from dfedge.learn.run import RunPlan
from dfedge.learn.skeleton import obstacle, skeleton
from dfedge.learn.spec import Loss


def check_reading(reading: Reading, name: str, data: Catalogue) -> None:
    """Refuse what is asked of signals alone where the data are none, or belong to nobody."""
    grouped = any(
        isinstance(part, Grouped) and (part.groups or data.kind == WINDOW)
        for part in data.parts.values()
    )
    for part in ("window", "hop", "label", "leave_out"):
        value = getattr(reading, part)
        if value and not (grouped if part == "leave_out" else data.kind == WINDOW):
            option = part.replace("_", "-")
            raise UsageError(f"--{option} {value}: {name} holds {called(data.kind)}; leave it out")


def check_plan(plan: RunPlan, dataset: Dataset) -> None:
    """Refuse numbers that do not suit the data, and a net that does not suit the integer step.

    Raises:
        UsageError, DfedgeError: naming the number, or what the net has.
    """
    plane, classes = plan.form == "label-plane", len(plan.classes)
    loss: Loss = plan.net.plane if plane else plan.net.loss
    if classes < 2:
        raise DfedgeError(
            f"{plan.data}: one class ({plan.classes[0]}) leaves no wrong label to learn from; "
            "give data of two classes or more"
        )
    if loss.negatives >= classes:
        raise UsageError(
            f"--negatives {loss.negatives}: {plan.data} has {classes} classes, so at most "
            f"{classes - 1} wrong labels; 0 shows them all"
        )
    count = len(dataset.split("train")[1])
    if plan.settings.samples > count:
        raise UsageError(f"--samples {plan.settings.samples}: only {count} training samples")
    count = plan.settings.samples or count
    if plan.settings.validation >= count:
        raise UsageError(f"--validation {plan.settings.validation}: only {count} training samples")
    if plan.form == "one-pass":
        skeleton(plan.net, dataset.shape, classes)
    if plan.qat:
        why = obstacle(plan.net, dataset.shape, classes, plan.form)
        if why is not None:
            raise UsageError(f"--qat: not supported by the integer runtime: {why}")
