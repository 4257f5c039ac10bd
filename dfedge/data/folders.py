"""A person's samples in files, one in each, in a folder for every class.

FOLDER/CLASS/*.png                                      in one piece; or recordings *.wav
FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png
FOLDER/CLASS/SPEAKER/*.wav                              whose they are (`InputRule.owner`)

What a file is called tells its kind of input (`InputRule.suffixes`); one folder is of one kind.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfedge.data.catalogue import Catalogue, Filed, SplitPart
from dfedge.data.door import SampleFilter
from dfedge.data.inputs import KINDS as INPUTS
from dfedge.data.inputs import InputRule, called, record_of
from dfedge.data.reading import NORMAL, Reading
from dfedge.errors import DfedgeError, UsageError
from dfedge.names import checked_names, spelled

PLAIN = "image"
"""The kind that is thought of where no file tells it."""
LOG = logging.getLogger(__name__)


def open_folder(
    path: Path, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
) -> Catalogue:
    """The samples of a folder; see `dfedge.data.files.open_path`.

    Raises:
        DfedgeError: files of two kinds, a class without one, or none that can be used.
    """
    named = [path / name for name in ("train", "test") if (path / name).is_dir()]
    places = {place.name: place for place in named} if len(named) == 2 else {"all": path}
    bare = reading.unlabelled
    kind = kind_of(list(places.values()), reading.input, bare)
    files = {
        name: files_by_class(place, kind, classes or (), bare) for name, place in places.items()
    }
    if not any(group for by_class in files.values() for group in by_class.values()):
        raise DfedgeError(
            f"{path}: no images or recordings; expected: CLASS/*.png, or train/CLASS/*.png and "
            "test/CLASS/*.png; or *.wav"
        )
    classes = classes or tuple(sorted({name for by_class in files.values() for name in by_class}))
    record = record_of(kind)
    parts = {
        name: _filed(by_class, classes, path, door, record, places[name])
        for name, by_class in files.items()
    }
    _check_left_out(path, reading.leave_out, parts, record)
    named_parts: dict[str, SplitPart] = {
        name: replace(part, leave_out=reading.leave_out) for name, part in parts.items()
    }
    return Catalogue(str(path), classes, named_parts, kind)


def _check_left_out(path: Path, who: str, parts: dict[str, Filed], record: type[InputRule]) -> None:
    if not who:
        return
    if "all" not in parts:
        raise UsageError(f"--leave-out {who}: {path} has a test split of its own")
    if record.owner and not parts["all"].groups:
        raise UsageError(
            f"--leave-out {who}: {path} does not say to whom its samples belong; put those of each "
            f"{record.owner} in a folder of their own, CLASS/{record.owner.upper()}/"
            f"*{record.suffixes[0]}"
        )


def kind_of(folders: Sequence[Path], asked: str = "", unlabelled: bool = False) -> str:
    """The kind of input of the files by class in all of the folders.

    Args:
        asked: the kind that a person names; files of others are then skipped.
        unlabelled: see `named_folders`.

    Raises:
        DfedgeError: files of two kinds.
    """
    if asked:
        return asked
    kinds = {suffix: name for name, one in INPUTS.all().items() for suffix in one.suffixes}
    found: dict[str, Path] = {}
    for folder in folders:
        for _, sub in named_folders(folder, unlabelled):
            for file in samples_in(sub, tuple(kinds)) or _owned(sub):
                found.setdefault(kinds[file.suffix.lower()], file)
    if len(found) > 1:
        (one, a), (other, b) = sorted(found.items())[:2]
        raise DfedgeError(
            f"{a} and {b}: {called(one)} and {called(other)} together; put them in folders of "
            f"their own, or give --input {one} or --input {other}"
        )
    return next(iter(found), PLAIN)


def samples_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder that hold samples, by name; hidden files are none."""
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")
    )


def _owned(sub: Path, record: type[InputRule] | None = None) -> list[Path]:
    """The files of a class that lie in a folder of their owner; None: of any kind."""
    records = [record] if record else list(INPUTS.all().values())
    suffixes = tuple(suffix for one in records if one.owner for suffix in one.suffixes)
    return [file for owner in class_folders(sub) for file in samples_in(owner, suffixes)]


def files_by_class(
    folder: Path, kind: str, classes: Sequence[str] = (), unlabelled: bool = False
) -> dict[str, list[Path]]:
    """Class -> the files of its folder, by name; hidden folders are skipped.

    Args:
        kind: of input.
        classes: of a model; a folder that is one of them bears its very name.
        unlabelled: see `named_folders`.

    Raises:
        UsageError: no such kind.
        DfedgeError: two folders of one name, or one without a file of that kind.
    """
    record, named = record_of(kind), named_folders(folder, unlabelled)
    subs = [sub for _, sub in named]
    names = checked_names([name for name, _ in named], folder)
    known = {spelled(name): name for name in classes}
    found = {
        known.get(name, name): [*samples_in(sub, record.suffixes), *_owned(sub, record)]
        for name, sub in zip(names, subs, strict=True)
    }
    for name, sub in zip(found, subs, strict=True):
        if not found[name]:
            raise DfedgeError(_nothing_in(sub, kind))
    _tell_of_passed_over(folder, subs, kind)
    return found


def class_folders(folder: Path) -> list[Path]:
    """The folders that stand for classes, by name; those that are hidden do not."""
    return [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not _is_hidden(sub)]


def named_folders(folder: Path, unlabelled: bool = False) -> list[tuple[str, Path]]:
    """The class of each folder of samples, and the folder.

    Args:
        unlabelled: where no folder stands for a class, the samples lie in this one, of `NORMAL`.
    """
    found = [(sub.name, sub) for sub in class_folders(folder)]
    return found or ([(NORMAL, folder)] if unlabelled else [])


def _is_hidden(folder: Path) -> bool:
    """Whether a person does not mean it: a notebook's checkpoints, an archive's resource forks."""
    return folder.name.startswith(".") or folder.name in ("__MACOSX", "__pycache__")


def _suffixes(files: Sequence[Path]) -> str:
    """``.heic, .txt``."""
    return ", ".join(sorted({file.suffix.lower() or "no suffix" for file in files}))


def _nothing_in(sub: Path, kind: str) -> str:
    record = record_of(kind)
    files = [file for file in sub.iterdir() if file.is_file() and not file.name.startswith(".")]
    held = f"{len(files)} files of other kinds ({_suffixes(files)})" if files else "no files"
    taken = ", ".join(record.suffixes) or "not in files of their own"
    return (
        f"{sub}: a class without {record.sample}: {held}; {called(kind)} are {taken}; convert "
        "them, or remove the folder"
    )


def _tell_of_passed_over(folder: Path, subs: Sequence[Path], kind: str) -> None:
    hidden = [one for one in sorted(folder.iterdir()) if one.is_dir() and _is_hidden(one)]
    inside = [file for sub in subs for file in sub.iterdir() if file.is_file()]
    other = [file for file in inside if file.suffix.lower() not in record_of(kind).suffixes]
    if hidden:
        names = ", ".join(one.name for one in hidden)
        LOG.info("%s: skipped folders that are hidden: %s", folder, names)
    if other:
        LOG.info("%s: skipped %d files that are not %s (%s)", folder, len(other),
                 called(kind), _suffixes(other))  # fmt: skip


def _filed(
    by_class: dict[str, list[Path]], classes: tuple[str, ...], where: Path, door: SampleFilter,
    record: type[InputRule], place: Path,
) -> Filed:  # fmt: skip
    """The samples of a split; ``place``: in which its classes' folders lie."""
    files: list[Path] = []
    labels: list[int] = []
    for name, group in by_class.items():
        if name not in classes:
            door.refuse_class(name, classes, where, len(group))
            continue
        good = [file for file in group if _passes(file, door, record)]
        files += good
        labels += [classes.index(name)] * len(good)
    if not files:
        count = sum(map(len, by_class.values()))
        raise DfedgeError(f"{where}: none of {count} files of {record.samples} can be used")
    owners = np.array(["/".join(file.relative_to(place).parts[1:-1]) for file in files], np.str_)
    groups = {record.owner: owners} if owners.astype(bool).any() else {}
    return Filed(tuple(files), np.asarray(labels, np.int64), str(where), groups)


def _passes(file: Path, door: SampleFilter, record: type[InputRule]) -> bool:
    """Whether a file can be read; looked at here only where one that cannot is skipped."""
    if door.policy == "stop":
        return True
    try:
        record.try_file(file)
    except DfedgeError as error:
        door.refuse(error, "file")
        return False
    return True
