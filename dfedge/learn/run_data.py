"""The data that a run was planned on, as they were then."""

from pathlib import Path

from dfedge.data.catalogue import Catalogue
from dfedge.data.dataset import Dataset, Split
from dfedge.data.door import SampleFilter
from dfedge.data.modes import in_modes, normal_parts
from dfedge.data.order import shuffled
from dfedge.data.sources import open_data
from dfedge.errors import DfedgeError
from dfedge.learn.run import RunPlan


def open_run_data(plan: RunPlan) -> Catalogue:
    """The data that a run was planned on, cut as they were then.

    Raises:
        DfedgeError: they are gone, or others lie there now.
    """
    folder = Path(plan.data_dir) if plan.data_dir else None
    door, own = SampleFilter(plan.on_bad_sample), None if plan.normal else plan.classes
    data = open_data(plan.data, folder, own, door, plan.reading)
    if plan.cut is not None and (now := data.record(plan.seed)) != plan.cut:
        count = f"{now.samples:,}" if now else "two splits"
        raise DfedgeError(
            f"{plan.data}: not the data of this run: other samples lie there now "
            f"({plan.cut.samples:,} then, {count} now); bring them back, or train again"
        )
    return cut_for(plan, data)


def cut_for(plan: RunPlan, data: Catalogue) -> Catalogue:
    """Data cut as the run's are; of a run that learns what is normal, in its modes."""
    data = data.cut(plan.seed)
    return data if plan.normal is None else in_modes(normal_parts(data, plan.seed), plan.normal)


def load_data(plan: RunPlan) -> Dataset:
    """All of `open_run_data`."""
    return open_run_data(plan).read(plan.input)


def tested(plan: RunPlan, data: Catalogue) -> Split:
    """The test split; of an adopted net the part that it asks for."""
    test, count = data.part("test")[1], plan.settings.test_samples
    if plan.trunk is not None and 0 < count < len(test):
        test = test.take(shuffled(len(test), plan.seed, 0, count))
    return test.read(plan.input)
