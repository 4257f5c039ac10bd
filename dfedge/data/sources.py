"""The table of named data sets, and the one way in: a name or a path."""

import logging
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Protocol

from dfedge.data.catalogue import Catalogue, Cut, SplitPart, labels_in
from dfedge.data.dataset import Dataset, Split
from dfedge.data.door import SampleFilter
from dfedge.data.files import open_path
from dfedge.data.inputs import InputRule
from dfedge.data.inputs.rule import DEFAULT_NET
from dfedge.data.reading import Reading
from dfedge.data.shift import parse_shift
from dfedge.data.stored import StoredSamples
from dfedge.errors import unknown_name
from dfedge.plugins import Records, trust
from dfedge.regular import is_file, is_folder

LOG = logging.getLogger(__name__)
GROUP = "dfedge.data_sets"


@dataclass(frozen=True)
class DataSource:
    """One named data set.

    Attributes:
        load: ``module:function``, called with the data folder (None: not named) and the arguments;
            gives a `dfedge.data.dataset.Dataset`, or what `Opens`.
        net: the net that `train` takes where none is named.
        arguments: words that the function takes besides.
    """

    load: str
    net: str = DEFAULT_NET
    arguments: tuple[str, ...] = ()


class Opens(Protocol):
    """Data that know how they are cut, and of which kind of input they are."""

    def catalogue(
        self, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
    ) -> Catalogue:
        """See `open_data`."""


SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
OWN: dict[str, DataSource] = {
    "digits": DataSource("dfedge.data.digits:load", "digits"),
    "mnist": DataSource("dfedge.data.idx:mnist", "mnist"),
    "fashion-mnist": DataSource("dfedge.data.idx:fashion_mnist", "fashion"),
    "cifar10": DataSource("dfedge.data.cifar:cifar10", "cifar"),
    "cifar100": DataSource("dfedge.data.cifar:cifar100", "cifar"),
    "svhn": DataSource("dfedge.data.svhn:svhn", "cifar"),
    "imagenette-32": DataSource("dfedge.data.imagenette:imagenette_32", "cifar"),
    "imagenette-64": DataSource("dfedge.data.imagenette:imagenette_64", "cifar"),
    "fsdd": DataSource("dfedge.data.fsdd:load", "speech"),
    **{
        f"fsdd-without-{name}": DataSource("dfedge.data.fsdd:load", "speech", (name,))
        for name in SPEAKERS
    },
    "watch": DataSource("dfedge.data.watch:load", "imu"),
    "basic-motions": DataSource("dfedge.data.series:basic_motions", "imu"),
    "gestures": DataSource("dfedge.data.series:gestures", "imu"),
    "vowels": DataSource("dfedge.data.series:vowels", "imu"),
}
"""Those that come with dfedge; reading the table imports nothing.  An installed package adds one by
an entry point of the group `GROUP`."""


def _source(place: str, made: object) -> DataSource | None:
    return DataSource(place) if callable(made) else None


SOURCES = Records(OWN, GROUP, DataSource, _source)
"""A ``package:function`` is called with the data folder and gives a data set."""


def find(name: str) -> DataSource | None:
    """The record of a name; None: it is none of a data set, as a path never is."""
    return None if "/" in name or name.endswith(".npz") else SOURCES.find(name)


def default_net(data: str, rule: InputRule, features: str = "") -> str:
    """The net that `train` takes for a data set; by the rule for a path, and for ``features``."""
    found = None if features else find(data)
    return found.net if found else rule.net


def named(data: str) -> str:
    """As a run keeps it: the name of a data set, or the whole path."""
    return data if find(data) else str(Path(data).resolve())


def load(
    data: str,
    data_dir: Path | None = None,
    rule: InputRule | None = None,
    classes: tuple[str, ...] | None = None,
    door: SampleFilter | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Read a data set by name or by path, brought to a model's shape and labels where given.

    Raises:
        UsageError, DfedgeError: as `open_data`, and images that cannot be read.
    """
    trust(data)
    return open_data(data, data_dir, classes, door, reading).read(rule)


def open_data(
    data: str,
    data_dir: Path | None = None,
    classes: tuple[str, ...] | None = None,
    door: SampleFilter | None = None,
    reading: Reading | None = None,
) -> Catalogue:
    """Which samples a data set has, by name or by path.

    Args:
        classes: a model's, told by name, or by place where it does not know all of the names;
            None takes the data's own.
        door: what becomes of bad samples; None stops at the first.
        reading: what the files do not say themselves.

    Raises:
        UsageError: neither a known name nor an existing path.
        DfedgeError: files that are missing or damaged, labels that the model does not know.
    """
    source = find(data)
    if source is None:
        path = Path(data)
        if not (is_file(path) or is_folder(path)) and path.suffix != ".npz" and "/" not in data:
            raise unknown_name(
                "data set", data, list(SOURCES.all()), "or give a file .npz or .csv, or a folder"
            )
        return open_path(path, classes, door, reading)
    dataset: Dataset | Opens = resolve_name(source.load)(data_dir, *source.arguments)
    if not isinstance(dataset, Dataset):
        return dataset.catalogue(classes, door or SampleFilter(), reading or Reading())
    by_name = labels_in(data, dataset.classes, classes)
    parts: dict[str, SplitPart] = {
        name: StoredSamples(own.x, own.y, f"{data}, split {name}")
        for name, own in ((name, split.labelled(by_name)) for name, split in dataset.splits.items())
    }
    return Catalogue(data, classes or dataset.classes, parts)


def open_cut(
    data: str,
    data_dir: Path | None,
    classes: tuple[str, ...] | None,
    door: SampleFilter | None,
    cut: Cut | None,
    reading: Reading | None,
) -> Catalogue:
    """`open_data`; where they are the data that a model was trained on, cut as they were then.

    Raises:
        UsageError, DfedgeError: as `open_data`.
    """
    found = open_data(data, data_dir, classes, door, reading)
    return found.cut(cut.seed) if cut is not None and found.record(cut.seed) == cut else found


def load_split(
    data: str,
    data_dir: Path | None,
    rule: InputRule,
    classes: tuple[str, ...],
    wanted: tuple[str, ...],
    shift: str | None,
    door: SampleFilter | None = None,
    cut: Cut | None = None,
    reading: Reading | None = None,
    only: str = "",
) -> tuple[str, Split]:
    """One split for a trained model, shifted: the first of ``wanted`` that is there, and its name.

    Args:
        door: what becomes of bad samples; None stops at the first.
        cut: how the data that the model was trained on were cut; those data are cut so again.
        reading: what the files do not say themselves.
        only: whose samples, as ``person:3``; empty: everybody's.  They belong to the split's name.

    Raises:
        UsageError, DfedgeError: as `open_data` and `Catalogue.only`; a split or shift that does not
            exist.
    """
    move = parse_shift(shift, rule) if shift else None
    found = open_cut(data, data_dir, classes, door, cut, reading)
    if only:
        if found.trained_on(only):
            LOG.info("%s: all samples of %s were trained on, the tested ones too", data, only)
        found = found.only(only, cut.seed if cut is not None else 0)
    name, part = found.part(*wanted)
    name = f"{name} of {only}" if only else name
    split = part.read(rule)
    return name, Split(move(split.x), split.y) if move else split
