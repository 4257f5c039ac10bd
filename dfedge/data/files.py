"""A user's own data: an .npz file with x and y, a table, or a folder of files by class.

FILE.npz                x [N, H, W(, C)] of images, [N, T, C] of signals or [N, C] of vectors,
                        y [N], and perhaps classes [K] (names) and groups [N] (``person:3``)
FILE.csv                a table (`dfedge.data.tables`)
FOLDER/CLASS/*.png      in one piece; or recordings *.wav, or *.csv
FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png
"""

import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.catalogue import Catalogue, Part, Pictures, Stored
from dfedge.data.dataset import Dataset, Images, Labels, check_labels
from dfedge.data.door import Door
from dfedge.data.inputs import KINDS, InputRule
from dfedge.data.inputs.image import READ, ImageRule, image_files
from dfedge.data.picture import opened, seen
from dfedge.data.reading import Reading
from dfedge.data.signals import open_by_class, open_table, table_files
from dfedge.data.tables import SUFFIX as TABLE
from dfedge.errors import DfedgeError, UsageError, foreign, unknown_name
from dfedge.names import class_flaw, places, spelled
from dfedge.regular import is_file, is_folder, open_file

ENTRIES = {"x.npy", "y.npy", "classes.npy", "groups.npy"}
MAX_UNPACKED_BYTES = 1 << 33
MAX_UNNAMED = 10_000
LOG = logging.getLogger(__name__)


def load_path(
    path: Path,
    rule: InputRule | None,
    classes: tuple[str, ...] | None,
    door: Door | None = None,
) -> Dataset:
    """Read all of the data at a path: see `open_path`.

    Args:
        rule: a trained model's; None takes the data's own.
    """
    return open_path(path, classes, door).read(rule)


def open_path(
    path: Path,
    classes: tuple[str, ...] | None = None,
    door: Door | None = None,
    reading: Reading | None = None,
) -> Catalogue:
    """Which samples there are at a path.

    Args:
        classes: a model's, told by name; by number where a file names none, or names that the
            model does not know; None takes the data's own.
        door: what becomes of bad samples; None stops at the first.
        reading: what the files do not say themselves.

    Raises:
        UsageError: neither a file .npz or .csv nor a folder.
        DfedgeError: contents that cannot be used.
    """
    door, reading = door or Door(), reading or Reading()
    if is_folder(path):
        return _open_folder(path, classes, door, reading)
    if path.suffix == ".npz" and is_file(path):
        return _open_npz(path, classes, door, reading)
    if path.suffix.lower() == TABLE and is_file(path):
        return open_table(path, classes, door, reading)
    raise UsageError(
        f"{path}: no such data; give a data set's name, a file .npz or .csv, or a folder"
    )


def _open_npz(
    path: Path, classes: tuple[str, ...] | None, door: Door, reading: Reading
) -> Catalogue:
    found = _arrays(path)
    if not {"x", "y"} <= found.keys():
        raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; wanted: x and y")
    names = None
    if "classes" in found:
        names = _spelled_names([str(name) for name in found["classes"].reshape(-1)], path)
    by_name = places(names, classes) if names and classes else None
    known = names if by_name is not None else classes
    x, y = found["x"], found["y"]
    kind = _kind_of(x, reading.input, path)
    record = _record(kind)
    most = MAX_UNNAMED if known is None else len(known)
    x, y = door.sift(x, y, most, str(path), record.unusable)
    x = record.checked(x, str(path))
    if y.ndim != 1 or len(y) != len(x) or not np.issubdtype(y.dtype, np.integer):
        raise DfedgeError(
            f"{path}: y is {y.dtype} of shape {y.shape}; wanted: integers of shape ({len(x)},)"
        )
    y = y.astype(np.int64)
    known = known or names or _numbers(y, path)
    check_labels(y, len(known), str(path))
    y = y if by_name is None else np.asarray(by_name, np.int64)[y]
    part = Stored(x, y, str(path))
    return Catalogue(str(path), classes or known, {"all": part}, kind)


def _kind_of(x: NDArray[Any], asked: str, where: Path) -> str:
    """The kind of input: what is asked for; else vectors have two axes, images more.

    Raises:
        DfedgeError: three axes, and values that no image has.
    """
    if asked or x.ndim != 3 or not len(x) or not np.issubdtype(x.dtype, np.number):
        return asked or ("window" if x.ndim == 2 else "image")
    if ImageRule.unusable(x).mean() > 1 / 2:
        raise DfedgeError(
            f"{where}: x ({x.dtype} {list(x.shape)}) reaches from {x.min()} to {x.max()}; allowed: "
            "0 to 255 of integers and 0 to 1 of floats; of signals [N, T, C] any: give --input "
            "window"
        )
    return "image"


def _record(kind: str) -> type[InputRule]:
    found = KINDS.find(kind)
    if found is None:
        raise unknown_name("--input", kind, list(KINDS.all()))
    return found


def _numbers(y: Labels, path: Path) -> tuple[str, ...]:
    """Names of labels that have none: the numbers up to the largest."""
    count = int(y.max()) + 1 if len(y) else 0
    if count > MAX_UNNAMED:
        raise DfedgeError(
            f"{path}: a label of {count - 1:,}; allowed without names (classes): below "
            f"{MAX_UNNAMED:,}"
        )
    return tuple(str(number) for number in range(count))


def _open_folder(
    path: Path, classes: tuple[str, ...] | None, door: Door, reading: Reading
) -> Catalogue:
    if table_files(path):
        return open_by_class(path, classes, door, reading)
    named = [path / name for name in ("train", "test") if (path / name).is_dir()]
    places = {place.name: place for place in named} if len(named) == 2 else {"all": path}
    files = {name: images_by_class(folder, classes or ()) for name, folder in places.items()}
    if not any(group for by_class in files.values() for group in by_class.values()):
        raise DfedgeError(
            f"{path}: no images; wanted: CLASS/*.png, or train/CLASS/*.png and test/CLASS/*.png"
        )
    classes = classes or tuple(sorted({name for by_class in files.values() for name in by_class}))
    parts: dict[str, Part] = {
        name: _pictures(by_class, classes, path, door) for name, by_class in files.items()
    }
    return Catalogue(str(path), classes, parts)


def images_by_class(folder: Path, classes: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Class -> the images of its folder, by name; hidden folders are passed over.

    Args:
        classes: of a model; a folder that is one of them bears its very name.

    Raises:
        DfedgeError: two folders of one name, or one without an image.
    """
    every = sorted(folder.iterdir())
    subs = [sub for sub in every if sub.is_dir() and not _is_hidden(sub)]
    names = _spelled_names([sub.name for sub in subs], folder)
    known = {spelled(name): name for name in classes}
    found = {known.get(name, name): image_files(sub) for name, sub in zip(names, subs, strict=True)}
    for name, sub in zip(found, subs, strict=True):
        if not found[name]:
            raise DfedgeError(_nothing_in(sub))
    _tell_of_passed_over(folder, every, subs)
    return found


def _is_hidden(folder: Path) -> bool:
    """Whether a person does not mean it: a notebook's checkpoints, an archive's resource forks."""
    return folder.name.startswith(".") or folder.name in ("__MACOSX", "__pycache__")


def _suffixes(files: Sequence[Path]) -> str:
    """``.heic, .txt``."""
    return ", ".join(sorted({file.suffix.lower() or "no suffix" for file in files}))


def _nothing_in(sub: Path) -> str:
    files = [file for file in sub.iterdir() if file.is_file() and not file.name.startswith(".")]
    held = f"{len(files)} files of other kinds ({_suffixes(files)})" if files else "no files"
    return (
        f"{sub}: a class without an image: {held}; images are {', '.join(READ)}; convert them, "
        "or remove the folder"
    )


def _tell_of_passed_over(folder: Path, every: Sequence[Path], subs: Sequence[Path]) -> None:
    hidden = [one for one in every if one.is_dir() and _is_hidden(one)]
    inside = [file for sub in subs for file in sub.iterdir() if file.is_file()]
    other = [file for file in inside if file.suffix.lower() not in READ]
    if hidden:
        names = ", ".join(one.name for one in hidden)
        LOG.info("%s: passed over folders that are hidden: %s", folder, names)
    if other:
        LOG.info("%s: passed over %d files that are no images (%s)", folder, len(other),
                 _suffixes(other))  # fmt: skip


def _spelled_names(names: Sequence[str], where: Path) -> tuple[str, ...]:
    flaw = class_flaw(names)
    if flaw is not None:
        raise DfedgeError(f"{where}: invalid names of classes: {flaw}; rename one")
    return tuple(map(spelled, names))


def _pictures(
    by_class: dict[str, list[Path]], classes: tuple[str, ...], where: Path, door: Door
) -> Pictures:
    files: list[Path] = []
    labels: list[int] = []
    for name, group in by_class.items():
        if name not in classes:
            known = ", ".join(classes)
            error = DfedgeError(f"{where}: class '{name}' is unknown to the model; known: {known}")
            door.refuse(error, "label", len(group))
            continue
        good = [file for file in group if _passes(file, door)]
        files += good
        labels += [classes.index(name)] * len(good)
    if not files:
        raise DfedgeError(f"{where}: no image of {sum(map(len, by_class.values()))} can be used")
    return Pictures(tuple(files), np.asarray(labels, np.int64), where)


def _passes(file: Path, door: Door) -> bool:
    """Whether a file can be read; looked at here only where one that cannot is passed over."""
    if door.policy == "stop":
        return True
    try:
        with opened(file) as image:
            seen(image, file)
    except DfedgeError as error:
        door.refuse(error, "file")
        return False
    return True


def read_inputs(path: Path, rule: InputRule) -> list[tuple[str, Images]]:
    """Samples without labels: (name, codes [H, W, C]) each.

    Args:
        path: an image, a recording .wav or .csv, a file .npz with x, or a folder of such files.

    Raises:
        DfedgeError: missing, empty, or not readable.
    """
    if is_folder(path):
        files = sorted([*image_files(path), *path.glob(f"*{TABLE}")])
        if not files:
            raise DfedgeError(f"{path}: no images or recordings; wanted: *.png, *.wav, *.csv, ...")
        return [one for file in files for one in read_inputs(file, rule)]
    if not is_file(path):
        raise DfedgeError(f"{path}: no such file; give images, recordings, or files .npz with x")
    if path.suffix == ".npz":
        found = _arrays(path)
        if "x" not in found:
            raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; wanted: x")
        codes = rule.apply(found["x"], str(path))
    else:
        codes = rule.read(path)
        if len(codes) == 1:
            return [(str(path), codes[0])]
    return [(f"{path}[{i}]", code) for i, code in enumerate(codes)]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    # Opened here, because NumPy leaves a file open that turns out to be no zip archive.
    with foreign(path, ".npz"), open_file(path) as raw, zipfile.ZipFile(raw) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename in ENTRIES]
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise DfedgeError(f"{path}: unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        return {entry.filename[:-4]: _array(archive.read(entry)) for entry in entries}


def _array(raw: bytes) -> NDArray[Any]:
    return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
