"""Imagenette from its folders of images, brought to 32 x 32 or 64 x 64 in colour."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from dfedge.data.dataset import Dataset
from dfedge.data.files import load_path
from dfedge.data.inputs.image import ImageRule
from dfedge.data.locate import search_path
from dfedge.errors import DfedgeError

NAMES = {
    "n01440764": "tench", "n02102040": "springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute",
}  # fmt: skip
FOLDERS = ("imagenette2", "imagenette2-160", "imagenette2-320", "imagenette-64")
SITE = "Take imagenette2-160 from https://github.com/fastai/imagenette and unpack it there."


def _load(side: int, data_dir: Path | None = None) -> Dataset:
    looked = [root / name for root in search_path(data_dir) for name in FOLDERS]
    for folder in looked:
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            rule, known = ImageRule(side, side, 3), tuple(NAMES)
            parts = {
                name: load_path(folder / sub, rule, known).splits["all"]
                for name, sub in (("train", "train"), ("test", "val"))
            }
            whole = Dataset(f"imagenette-{side}", known, parts)
            return replace(whole, classes=tuple(NAMES.values()))
    raise DfedgeError(
        f"data set 'imagenette-{side}' was not found: looked for {', '.join(map(str, looked))}, "
        f"each with train/WNID and val/WNID. {SITE} Then pass --data-dir FOLDER or set DFEDGE_DATA."
    )


imagenette_32 = partial(_load, 32)
imagenette_64 = partial(_load, 64)
