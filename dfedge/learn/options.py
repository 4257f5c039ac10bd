"""What to train, and its plan: names resolved, data read, and whether they fit together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from dfedge.data.dataset import Dataset
from dfedge.data.door import SampleFilter
from dfedge.data.modes import NormalWish, in_modes, modes_of, normal_parts
from dfedge.data.reading import AS_THEY_ARE, Reading
from dfedge.data.sized import rule_for
from dfedge.data.sources import default_net, named, open_data
from dfedge.errors import UsageError, chosen
from dfedge.learn.forms import FORMS
from dfedge.learn.normal import with_readings
from dfedge.learn.plan_check import check_plan, check_reading
from dfedge.learn.rules import load_rule
from dfedge.learn.run import RunPlan
from dfedge.learn.spec import WITH_ANCHORS, Loss, Settings, load_spec

T = TypeVar("T", Loss, Settings)


@dataclass(frozen=True)
class TrainOptions:
    """What to train; ``settings`` and ``loss`` override single fields of the net's own.

    Attributes:
        keep: write samples into the run, for the trial of learning at export.
        image, fit: what pictures are brought to, ``HxW`` and one of `Fit`; empty: see `rule_for`.
        on_bad_sample: what becomes of a sample that cannot be read: ``stop`` or ``skip``.
        reading: what the files do not say themselves.
        features: that are computed from samples first; empty: what the net's file says.
        normal: the task is to learn what is normal; None: to tell classes apart.
    """

    data: str = "digits"
    data_dir: Path | None = None
    net: str | None = None
    rule: str = "df"
    qat: bool = False
    seed: int = 0
    settings: dict[str, Any] | None = None
    form: str = "one-pass"
    depth: int | None = None
    loss: dict[str, Any] | None = None
    keep: bool = True
    image: str = ""
    fit: str = ""
    on_bad_sample: str = "stop"
    reading: Reading = AS_THEY_ARE
    features: str = ""
    normal: NormalWish | None = None


def plan_run(options: TrainOptions) -> tuple[RunPlan, Dataset]:
    """Resolve names, read the data and check that the net, the loss and the data fit together.

    Raises:
        UsageError, DfedgeError: before anything is written.
    """
    rule = load_rule(options.rule)
    form = chosen("form", options.form, FORMS)
    part = "plane" if form == "label-plane" else "loss"
    # A net that is named is read before the data, which may take long.
    asked = load_spec(options.net, options.depth) if options.net else None
    door, wish = SampleFilter(options.on_bad_sample), options.normal
    reading = replace(options.reading, unlabelled=wish is not None)
    if wish is not None and form != "one-pass":
        raise UsageError(f"--task normal --form {form}: only the one-pass form has anchors")
    found = open_data(options.data, options.data_dir, door=door, reading=reading)
    door.tell()
    check_reading(options.reading, options.data, found)
    cut, found = found.record(options.seed), found.cut(options.seed)
    found = normal_parts(found, options.seed) if wish else found
    features = options.features or (asked.features if asked else "")
    size = rule_for(found, options.image, options.fit, features)
    normal = modes_of(found, size, wish, options.seed) if wish else None
    dataset = (in_modes(found, normal) if normal else found).read(size)
    name = options.net or default_net(options.data, size, features)
    spec = asked or load_spec(name, options.depth)
    spec = with_readings(spec, size.shape) if normal else spec
    own = _override(getattr(spec, part), options.loss or {}, "loss")
    if part == "plane" and own.kind in WITH_ANCHORS:
        raise UsageError(f"--loss {own.kind} needs anchors; the label-plane form has none")
    settings = _override(spec.train, options.settings or {}, "training settings")
    plan = RunPlan(
        data=named(options.data),
        data_dir=str(options.data_dir.resolve()) if options.data_dir else None,
        classes=dataset.classes,
        input=size,
        net_name=name,
        net=replace(spec, **{part: rule.loss(own)}),
        rule=options.rule,
        form=form,
        settings=settings,
        qat=options.qat,
        seed=options.seed,
        cut=cut,
        on_bad_sample=door.policy,
        reading=reading,
        normal=normal,
    )
    check_plan(plan, dataset)
    return plan, dataset


def _override(given: T, changes: dict[str, Any], what: str) -> T:
    known = {name: value for name, value in changes.items() if value is not None}
    try:
        return msgspec.convert(msgspec.structs.asdict(given) | known, type(given))
    except msgspec.ValidationError as error:
        raise UsageError(f"{what}: {error}") from error
