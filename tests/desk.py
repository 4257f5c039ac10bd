"""A folder with what the pages' command lines name: data, nets, runs and bundles, all small.

Data sets of the pages' names lie in it in their official forms, with a few hundred samples.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from foreign_nets import Residual
from motion import CHANNELS, SPEED, wave, write_table
from numpy.typing import NDArray
from pages import ROOT
from PIL import Image
from sounds import folder_of_tones

from dfedge.data.sources import load
from dfedge.quiet import quiet

NET = """anchors = 2

[train]
epochs = 1
qat_epochs = 1

[[block]]
channels = 4
pool = true

[[block]]
channels = 6
"""
NETS = """import torch
from foreign_nets import Residual


def mine():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), Residual())
"""
MADE = (
    "train --net two.toml --qat --out out/digits",
    "export out/digits --format onnx --format c --spare-classes 3 --out out/bundle",
    "export out/digits --format onnx --out out/update --version 2",
    "train --data motion --window 24 --qat --out out/motion --epochs 2 --qat-epochs 1",
    "export out/motion --format onnx --out out/motion-bundle",
)
"""What the pages take for granted, made by dfedge itself."""
COPIES = {
    "out/mine": "out/digits", "out/small": "out/digits", "out/mnist": "out/digits",
    "out/mnist-bundle": "out/bundle",
    "out/demo/bundle": "out/bundle", "out/demo/run": "out/digits",
}  # fmt: skip
EACH = 24
"""Images of a class."""


def make(folder: Path, dfedge: Callable[[str], None]) -> None:
    """Write it all; ``dfedge`` runs a command line in the folder."""
    folder.mkdir()
    (folder / "two.toml").write_text(NET)
    (folder / "nets.py").write_text(NETS)
    (folder / "examples" / "pictures").mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "mcu_net.toml", folder / "examples")
    shutil.copy(ROOT / "targets" / "nrf52840.toml", folder / "my-board.toml")
    _pictures(folder)
    _signals(folder)
    with quiet():
        torch.manual_seed(0)
        blank = torch.zeros(3, 1, 8, 8)
        torch.onnx.export(Residual().eval(), (blank,), folder / "model.onnx", dynamo=False)
    for line in MADE:
        dfedge(line)
    for copy, made in COPIES.items():
        shutil.copytree(folder / made, folder / copy)


def photo_folders(folder: Path, suffix: str) -> NDArray[np.uint8]:
    """Digits as photos: known ones, turned ones, another class; all of them, uint8 [N, H, W]."""
    split = load("digits").splits["train"]
    grey = split.x[..., 0]
    for name in range(10):
        of_class = grey[split.y == name]
        _write(of_class[:EACH], folder / "photos" / str(name), suffix)
        turned = np.rot90(of_class[EACH : EACH + 12], axes=(1, 2))
        _write(turned, folder / "new-photos" / str(name), suffix)
    _write(255 - grey[split.y == 0][:10], folder / "photos-of-mugs", suffix)
    Image.fromarray(grey[split.y == 7][-1]).save(folder / "photo.png")
    return grey


def _write(images: NDArray[np.uint8], folder: Path, suffix: str) -> None:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}{suffix}", quality=95)


def _pictures(folder: Path) -> None:
    """Photos, and MNIST, Fashion-MNIST, CIFAR-10 in their own files."""
    grey, split = photo_folders(folder, ".png"), load("digits").splits["train"]
    large = np.tile(np.pad(grey.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2))), (6, 1, 1))
    y = np.tile(split.y, 6)
    for name in ("mnist", "fashion-mnist"):
        for prefix, part in (("train", slice(5200)), ("t10k", slice(5200, 5400))):
            start = folder / "data" / name / prefix
            _idx(Path(f"{start}-images-idx3-ubyte"), large[part])
            _idx(Path(f"{start}-labels-idx1-ubyte"), y[part].astype(np.uint8))
    colour = np.repeat(grey.repeat(4, 1).repeat(4, 2)[:, None], 3, 1).reshape(len(grey), -1)
    records = np.concatenate([split.y.astype(np.uint8)[:, None], colour], 1)
    place = folder / "data" / "cifar10"
    place.mkdir()
    for i in range(5):
        batch = records[i * 100 : i * 100 + 100]
        (place / f"data_batch_{i + 1}.bin").write_bytes(batch.tobytes())
    (place / "test_batch.bin").write_bytes(records[700:900].tobytes())
    (place / "batches.meta.txt").write_text("\n".join(map(str, range(10))))


def _idx(path: Path, x: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(n.to_bytes(4, "big") for n in x.shape)
    path.write_bytes(bytes([0, 0, 8, x.ndim]) + sizes + x.tobytes())


def _signals(folder: Path) -> None:
    """Recordings by class, one long table, rows, sounds, and a pump that runs as it should."""
    rng = np.random.default_rng(0)
    for name in SPEED:
        for number in range(8):
            write_table(folder / "motion" / name / f"{number}.csv", wave(name, 640, number))
        for number in range(8, 12):
            new = wave(name, 640, number) * 0.8
            write_table(folder / "new-user" / name / f"{number}.csv", new)
    columns = {"label": [], "person": []}
    signal = []
    for person in range(1, 5):
        for name in SPEED:
            signal.append(wave(name, 900, person))
            columns["label"] += [name] * 900
            columns["person"] += [person] * 900
    write_table(folder / "log.csv", np.concatenate(signal), **columns)
    kinds = rng.integers(0, 2, 300)
    rows = rng.normal(kinds[:, None] * 3.0, 1.0, (300, 3))
    write_table(folder / "rows.csv", rows, kind=[("ham", "eggs")[kind] for kind in kinds])
    for number in range(6):
        write_table(folder / "pump" / f"{number}.csv", wave("slow", 1300, number))
        write_table(folder / "pump-later" / f"{number}.csv", 1.1 * wave("slow", 700, number + 9))
    write_table(folder / "now.csv", wave("slow", 128, 20))
    judged = np.concatenate([wave("slow", 640, 21), wave("fast", 640, 22)])
    write_table(folder / "judged.csv", judged, label=["normal"] * 640 + ["anomaly"] * 640)
    (folder / "sensor.csv").write_text((folder / "motion" / "slow" / "0.csv").read_text())
    folder_of_tones(folder / "words")
    assert len(CHANNELS) == 3
