"""Continual runs by name: what to train, how to export it, and what stream to learn (TOML files).

Host code: a preset's net is trained and exported the first time; the run itself is the device's.
"""

from pathlib import Path
from typing import Any

import msgspec

from dfedge import configs
from dfedge.bundle import Bundle
from dfedge.continual.settings import StreamSettings
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train
from dfedge.progress import Progress

PRESETS = Path(__file__).parent


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file.

    Attributes:
        about: one sentence for people.
        data, net, train: what `dfedge train` is told; ``net`` absent: the data's own.
        train_layers, spare_classes: what `dfedge export` is told.
        settings: of the continual run.
    """

    about: str
    data: str
    settings: StreamSettings
    net: str | None = None
    train: dict[str, Any] = {}
    train_layers: str = "all"
    spare_classes: int = 0


def load_preset(name: str) -> Preset:
    """Read a preset by name or by path.

    Raises:
        UsageError: no preset of that name.
        DfedgeError: a file that is not a preset.
    """
    return configs.read(configs.find(PRESETS, "preset", name), Preset, "preset")


def make_bundle(
    preset: Preset,
    out: Path,
    format: str = "onnx",
    data_dir: Path | None = None,
    watch: Progress = lambda *_: None,
) -> Bundle:
    """The preset's bundle in one format: as it lies under ``out``, or trained and exported now.

    Raises:
        UsageError, DfedgeError: data that are not there, an ``out`` that holds something else.
    """
    folder = out / f"bundle-{format}"
    if folder.exists():
        return Bundle.open(folder)
    options = TrainOptions(preset.data, data_dir, preset.net, qat=True, settings=preset.train)
    run = train(options, out / "run", watch=watch)
    chosen = ExportOptions(
        (format,), train_layers=preset.train_layers, spare_classes=preset.spare_classes
    )
    return export(run, chosen, folder, watch)
