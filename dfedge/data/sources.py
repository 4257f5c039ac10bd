"""The table of named data sets, and the one way in: a name or a path."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from dfedge.data.dataset import Dataset, Split
from dfedge.data.door import Door
from dfedge.data.files import load_path
from dfedge.data.image import ImageRule
from dfedge.data.shift import parse_shift
from dfedge.errors import DfedgeError, unknown_name
from dfedge.regular import is_file, is_folder

SETS = {
    "digits": "dfedge.data.digits:load",
    "mnist": "dfedge.data.idx:mnist",
    "fashion-mnist": "dfedge.data.idx:fashion_mnist",
    "cifar10": "dfedge.data.cifar:cifar10",
    "cifar100": "dfedge.data.cifar:cifar100",
    "svhn": "dfedge.data.svhn:svhn",
    "imagenette-32": "dfedge.data.imagenette:imagenette_32",
    "imagenette-64": "dfedge.data.imagenette:imagenette_64",
    "fsdd": "dfedge.data.fsdd:load",
    "fsdd-without-george": "dfedge.data.fsdd:load:george",
    "fsdd-without-jackson": "dfedge.data.fsdd:load:jackson",
    "fsdd-without-lucas": "dfedge.data.fsdd:load:lucas",
    "fsdd-without-nicolas": "dfedge.data.fsdd:load:nicolas",
    "fsdd-without-theo": "dfedge.data.fsdd:load:theo",
    "fsdd-without-yweweler": "dfedge.data.fsdd:load:yweweler",
}
"""Name -> module:function, perhaps with an argument, called with the data folder and that; reading
the table imports nothing."""

DEFAULT_NETS = {
    "digits": "digits",
    "mnist": "mnist",
    "fashion-mnist": "fashion",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "svhn": "cifar",
    "imagenette-32": "cifar",
    "imagenette-64": "cifar",
    **dict.fromkeys([name for name in SETS if name.startswith("fsdd")], "speech"),
}
"""The net that `train` takes where none is named; data by path takes `mnist`."""


def load(
    data: str,
    data_dir: Path | None = None,
    rule: ImageRule | None = None,
    classes: tuple[str, ...] | None = None,
    door: Door | None = None,
) -> Dataset:
    """Read a data set by name or by path, brought to a model's shape and labels where given.

    Raises:
        UsageError: neither a known name nor an existing path.
        DfedgeError: files that are missing or damaged, labels that the model does not know.
    """
    if data not in SETS:
        path = Path(data)
        if not (is_file(path) or is_folder(path)) and path.suffix != ".npz" and "/" not in data:
            raise unknown_name("data set", data, list(SETS), "or give a file .npz or a folder")
        return load_path(path, rule, classes, door)
    module, function, *arguments = SETS[data].split(":")
    dataset: Dataset = getattr(import_module(module), function)(data_dir, *arguments)
    if classes is not None and len(dataset.classes) > len(classes):
        raise DfedgeError(
            f"{data} has {len(dataset.classes)} classes, the model knows {len(classes)}"
        )
    if rule is None or dataset.shape == rule.shape:
        return dataset
    splits = {
        name: Split(rule.apply(split.x, f"{data}, split {name}"), split.y)
        for name, split in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def load_split(
    data: str,
    data_dir: Path | None,
    rule: ImageRule,
    classes: tuple[str, ...],
    wanted: tuple[str, ...],
    shift: str | None,
    door: Door | None = None,
) -> tuple[str, Split]:
    """One split for a trained model, shifted: the first of ``wanted`` that is there, and its name.

    Args:
        door: what becomes of bad samples; None stops at the first.

    Raises:
        UsageError, DfedgeError: as `load`; a split or shift that does not exist.
    """
    move = parse_shift(shift) if shift else None
    name, split = load(data, data_dir, rule, classes, door).split(*wanted)
    return name, Split(move(split.x), split.y) if move else split
