"""What tests share: one small trained run and one bundle of it, made once for all workers."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.device.runners import RUNTIMES
from dfedge.export.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train

torch.set_num_threads(1)
keep_freed_memory()

SHORT = {"epochs": 12, "qat_epochs": 3}


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker to ask for it makes, and the others find."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(root / f"{name}.lock"):
        folder = root / name
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        train(TrainOptions(qat=True, settings=SHORT), folder)

    return once(tmp_path_factory, "run", make)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Bundle:
    """All formats, batches 1 and 16. Nothing may write into it."""

    def make(folder: Path) -> None:
        export(Run.open(run_folder), ExportOptions(tuple(RUNTIMES)), folder)

    return Bundle.open(once(tmp_path_factory, "bundle", make))
