"""A user's own data: an .npz file with x and y, or a folder of images by class.

FILE.npz                x [N, H, W(, C)], y [N], and perhaps classes [K] (names)
FOLDER/CLASS/*.png      in one piece
FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Dataset, Images, Split, check_labels
from dfedge.data.image import ImageRule, as_images, common_rule, image_files
from dfedge.data.logmel import log_mel
from dfedge.data.wav import read_wav
from dfedge.errors import DfedgeError, UsageError


def load_path(path: Path, rule: ImageRule | None, classes: tuple[str, ...] | None) -> Dataset:
    """Read data by path.

    Args:
        rule: a trained model's image rule; None takes the data's own shape (`common_rule`).
        classes: a trained model's class names; None takes the data's own.

    Raises:
        UsageError: neither a file .npz nor a folder.
        DfedgeError: contents that cannot be used.
    """
    if path.is_dir():
        return _load_folder(path, rule, classes)
    if path.suffix == ".npz" and path.is_file():
        return _load_npz(path, rule, classes)
    raise UsageError(f"{path}: no such data; give a data set's name, a file .npz or a folder")


def _load_npz(path: Path, rule: ImageRule | None, classes: tuple[str, ...] | None) -> Dataset:
    found = _arrays(path)
    if not {"x", "y"} <= found.keys():
        raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; wanted: x and y")
    x = as_images(found["x"], str(path))
    y = found["y"]
    if y.ndim != 1 or len(y) != len(x) or not np.issubdtype(y.dtype, np.integer):
        raise DfedgeError(
            f"{path}: y is {y.dtype} of shape {y.shape}; wanted: integers of shape ({len(x)},)"
        )
    y = y.astype(np.int64)
    if classes is None:
        count = int(y.max()) + 1 if len(y) else 0
        names = found.get("classes", np.arange(count).astype(str))
        classes = tuple(str(name) for name in names)
    check_labels(y, len(classes), str(path))
    return Dataset(
        str(path), classes, {"all": Split(x if rule is None else rule.apply(x, str(path)), y)}
    )


def _load_folder(path: Path, rule: ImageRule | None, classes: tuple[str, ...] | None) -> Dataset:
    named = [path / name for name in ("train", "test") if (path / name).is_dir()]
    parts = {part.name: part for part in named} if len(named) == 2 else {"all": path}
    files = {name: _by_class(folder) for name, folder in parts.items()}
    every = [file for by_class in files.values() for group in by_class.values() for file in group]
    if not every:
        raise DfedgeError(
            f"{path}: no images; wanted: CLASS/*.png, or train/CLASS/*.png and test/CLASS/*.png"
        )
    rule = rule or common_rule(every)
    classes = classes or tuple(sorted({name for by_class in files.values() for name in by_class}))
    splits = {name: _read_split(by_class, rule, classes, path) for name, by_class in files.items()}
    return Dataset(str(path), classes, splits)


def _by_class(folder: Path) -> dict[str, list[Path]]:
    found = {sub.name: image_files(sub) for sub in sorted(folder.iterdir()) if sub.is_dir()}
    return {name: files for name, files in found.items() if files}


def _read_split(
    by_class: dict[str, list[Path]], rule: ImageRule, classes: tuple[str, ...], where: Path
) -> Split:
    unknown = sorted(by_class.keys() - set(classes))
    if unknown:
        raise DfedgeError(
            f"{where}: class '{unknown[0]}' is unknown to the model; known: {', '.join(classes)}"
        )
    images = [rule.read(file) for files in by_class.values() for file in files]
    labels = [classes.index(name) for name, files in by_class.items() for _ in files]
    return Split(np.stack(images), np.asarray(labels, np.int64))


def read_inputs(path: Path, rule: ImageRule) -> list[tuple[str, Images]]:
    """Samples without labels: (name, [H, W, C]) each.

    Args:
        path: an image, a recording .wav, a file .npz with x, or a folder of images and recordings.

    Raises:
        DfedgeError: missing, empty, or not readable.
    """
    if path.is_dir():
        files = sorted([*image_files(path), *path.glob("*.wav")])
        if not files:
            raise DfedgeError(f"{path}: no images or recordings; wanted: *.png, *.jpg, *.wav, ...")
        return [one for file in files for one in read_inputs(file, rule)]
    if not path.is_file():
        raise DfedgeError(f"{path}: no such file; give images or files .npz with x")
    if path.suffix == ".wav":
        return [(str(path), rule.apply(log_mel(read_wav(path))[None], str(path))[0])]
    if path.suffix != ".npz":
        return [(str(path), rule.read(path))]
    found = _arrays(path)
    if "x" not in found:
        raise DfedgeError(f"{path}: holds {', '.join(found) or 'nothing'}; wanted: x")
    images = rule.apply(found["x"], str(path))
    return [(f"{path}[{i}]", image) for i, image in enumerate(images)]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, because NumPy leaves a file open that turns out to be no zip archive.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DfedgeError(f"{path}: cannot be read as .npz ({error})") from error
