"""A user's own data: an .npz file with x and y, a table, or a folder of files by class.

FILE.npz      x [N, H, W(, C)] or [N, C, H, W] of images, [N, T, C] of signals, [N, C] of vectors
              or [N, L] of sounds, y [N], and perhaps classes [K] (names) and groups [N]
              (``person:3``)
FILE.csv      a table (`dfedge.data.tables`)
FOLDER        of tables by class (`dfedge.data.signals`), or of files that are a sample each
              (`dfedge.data.folders`)
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.catalogue import Catalogue
from dfedge.data.dataset import Dataset, Images, Labels, check_labels
from dfedge.data.door import SampleFilter
from dfedge.data.folders import open_folder, samples_in
from dfedge.data.inputs import InputRule, record_of
from dfedge.data.inputs.image import ImageRule
from dfedge.data.reading import NORMAL, Reading
from dfedge.data.recordings import RecordedWindows
from dfedge.data.signals import open_by_class, open_table, table_files
from dfedge.data.stored import StoredSamples
from dfedge.data.tables import SUFFIX as TABLE
from dfedge.errors import DfedgeError, UsageError, foreign
from dfedge.names import checked_names, places, some
from dfedge.regular import is_file, is_folder, open_file, read_bytes

ENTRIES = {"x.npy", "y.npy", "classes.npy", "groups.npy"}
MAX_UNPACKED_BYTES = 1 << 33
MAX_UNNAMED = 10_000


def load_path(
    path: Path,
    rule: InputRule | None,
    classes: tuple[str, ...] | None,
    door: SampleFilter | None = None,
) -> Dataset:
    """Read all of the data at a path: see `open_path`.

    Args:
        rule: a trained model's; None takes the data's own.
    """
    return open_path(path, classes, door).read(rule)


def open_path(
    path: Path,
    classes: tuple[str, ...] | None = None,
    door: SampleFilter | None = None,
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
    door, reading = door or SampleFilter(), reading or Reading()
    if is_folder(path):
        by_class = open_by_class if table_files(path, reading.unlabelled) else open_folder
        return by_class(path, classes, door, reading)
    if path.suffix == ".npz" and is_file(path):
        return _open_npz(path, classes, door, reading)
    if path.suffix.lower() == TABLE and is_file(path):
        return open_table(path, classes, door, reading)
    raise UsageError(
        f"{path}: no such data; give a data set's name, a file .npz or .csv, or a folder"
    )


def _open_npz(
    path: Path, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
) -> Catalogue:
    found = _arrays(path)
    if reading.unlabelled and "x" in found and "y" not in found:
        found |= {"y": np.zeros(len(found["x"]), np.int64), "classes": np.array([NORMAL])}
    if not {"x", "y"} <= found.keys():
        raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; expected: x and y")
    names = None
    if "classes" in found:
        names = checked_names([str(name) for name in found["classes"].reshape(-1)], path)
    by_name = places(names, classes) if names and classes else None
    known = names if by_name is not None else classes
    x, y = found["x"], found["y"]
    kind = _kind_of(x, reading.input, path)
    record = record_of(kind)
    most = MAX_UNNAMED if known is None else len(known)
    x, y = door.sift(x, y, most, str(path), record.unusable)
    x = record.checked(x, str(path))
    if y.ndim != 1 or len(y) != len(x) or not np.issubdtype(y.dtype, np.integer):
        raise DfedgeError(
            f"{path}: y is {y.dtype} of shape {y.shape}; expected: integers of shape ({len(x)},)"
        )
    y = y.astype(np.int64)
    known = known or names or _numbers(y, path)
    check_labels(y, len(known), str(path))
    y = y if by_name is None else np.asarray(by_name, np.int64)[y]
    part = _grouped(x, y, found.get("groups"), path, reading.leave_out)
    return Catalogue(str(path), classes or known, {"all": part}, kind)


def _grouped(
    x: NDArray[Any], y: Labels, groups: NDArray[Any] | None, path: Path, leave_out: str
) -> StoredSamples:
    """Samples, and whose they are, where a file says it: ``person:3`` each."""
    if groups is None:
        if leave_out:
            raise UsageError(f"--leave-out {leave_out}: {path} has no array groups")
        return StoredSamples(x, y, str(path))
    names = [str(name) for name in groups.reshape(-1)]
    kinds = {name.partition(":")[0] for name in names}
    if len(names) != len(y) or len(kinds) != 1:
        raise DfedgeError(
            f"{path}: groups are {groups.dtype} {list(groups.shape)} of the kinds "
            f"{some(sorted(kinds))}; expected: one word for each of {len(y)} samples, as person:3"
        )
    owners = np.array([name.partition(":")[2] for name in names], np.str_)
    whose = np.unique(owners, return_inverse=True)[1].astype(np.int64)
    return RecordedWindows(
        x, y, str(path), whose, np.zeros(len(y), np.int64), {kinds.pop(): owners}, leave_out
    )


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


def _numbers(y: Labels, path: Path) -> tuple[str, ...]:
    """Names of labels that have none: the numbers up to the largest."""
    count = int(y.max()) + 1 if len(y) else 0
    if count > MAX_UNNAMED:
        raise DfedgeError(
            f"{path}: a label of {count - 1:,}; allowed without names (classes): below "
            f"{MAX_UNNAMED:,}"
        )
    return tuple(str(number) for number in range(count))


def read_inputs(path: Path, rule: InputRule) -> list[tuple[str, Images]]:
    """Samples without labels: (name, codes [H, W, C]) each.

    Args:
        path: an image, a recording .wav or .csv, a file .npz with x or .npy that is x, or a folder
            of such files.

    Raises:
        DfedgeError: missing, empty, or not readable.
    """
    if is_folder(path):
        suffixes = rule.suffixes or (TABLE,)
        files = samples_in(path, suffixes)
        if not files:
            wanted = ", ".join(f"*{one}" for one in suffixes)
            raise DfedgeError(f"{path}: no files of {rule.samples}; expected: {wanted}")
        return [one for file in files for one in read_inputs(file, rule)]
    if not is_file(path):
        raise DfedgeError(f"{path}: no such file; give images, recordings, or files .npz or .npy")
    if path.suffix in (".npz", ".npy"):
        found = _arrays(path)
        if "x" not in found:
            raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; expected: x")
        codes = rule.apply(found["x"], str(path))
    else:
        codes = rule.read(path)
        if len(codes) == 1:
            return [(str(path), codes[0])]
    return [(f"{path}[{i}]", code) for i, code in enumerate(codes)]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.suffix == ".npy":
        with foreign(path, ".npy"):
            return {"x": _array(read_bytes(path))}
    # Opened here, because NumPy leaves a file open that turns out to be no zip archive.
    with foreign(path, ".npz"), open_file(path) as raw, zipfile.ZipFile(raw) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename in ENTRIES]
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise DfedgeError(f"{path}: unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        return {entry.filename[:-4]: _array(archive.read(entry)) for entry in entries}


def _array(raw: bytes) -> NDArray[Any]:
    return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
