"""What tests share: one small trained run and one bundle of it, made once for all workers."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from motion import T, write_motion
from trials.runner import compile_runner

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.cli.app import main
from dfedge.data.reading import Reading
from dfedge.errors import DfedgeError
from dfedge.exporters import learning
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.runtimes import formats

# Two workers on two cores: more threads wait for each other, ten times as long as they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start
torch.set_num_threads(1)
keep_freed_memory()
# Where the suite runs in the background, Ctrl-C is ignored, and the commands that tests start would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent

SLOW_FILES = {
    "adopt", "adopt_torchvision", "agreement", "docs_lines", "ecosystems", "examples", "firmware",
    "installed",
    "memory", "on_device", "quick_starts", "random_nets", "renderings", "reproduce", "rivals",
    "signals", "store_c",
}  # fmt: skip
SLOW_FIXTURES = {"bundle", "spare_bundle"}
"""What makes a test slow: it needs programs for every runtime."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make fast` leaves out."""
    for item in items:
        name = item.path.stem.removeprefix("test_")
        if name in SLOW_FILES or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


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
        export(Run.open(run_folder), ExportOptions(tuple(formats())), folder)

    return Bundle.open(once(tmp_path_factory, "bundle", make))


@pytest.fixture(scope="session")
def slowed_bundle(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Bundle:
    """One whose rates the trial at export halved twice; in C alone."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learning, "RATES", (2,))
            export(Run.open(run_folder), ExportOptions(("c",)), folder)

    return Bundle.open(once(tmp_path_factory, "slowed", make))


@pytest.fixture(scope="session")
def spare_bundle(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Bundle:
    """Ten spare rows, the last layer learns: what class-incremental streams and replay need."""

    def make(folder: Path) -> None:
        options = ExportOptions(("onnx",), train_layers="last:1", spare_classes=10)
        export(Run.open(run_folder), options, folder)

    return Bundle.open(once(tmp_path_factory, "spare", make))


@pytest.fixture(scope="session")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings by class."""
    return once(tmp_path_factory, "motion", write_motion)


@pytest.fixture(scope="session")
def motion_bundle(tmp_path_factory: pytest.TempPathFactory, motion: Path) -> Path:
    """Of these recordings; a spare row. Nothing may write into it."""

    def make(folder: Path) -> None:
        settings = {"epochs": 6, "qat_epochs": 2}
        options = TrainOptions(str(motion), qat=True, settings=settings, reading=Reading(window=T))
        run = train(options, folder.parent / "motion-run")
        export(run, ExportOptions(("onnx", "c"), spare_classes=1), folder)

    return once(tmp_path_factory, "motion-bundle", make)


@pytest.fixture(scope="session")
def mcu_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A net of 3,528 weights."""

    def make(folder: Path) -> None:
        net = str(ROOT / "examples" / "mcu_net.toml")
        train(TrainOptions(net=net, qat=True, settings=SHORT), folder)

    return Run.open(once(tmp_path_factory, "mcu-run", make))


@pytest.fixture(scope="session")
def mcu(tmp_path_factory: pytest.TempPathFactory, mcu_run: Run) -> Bundle:
    """As C for the Cortex-M4."""

    def make(folder: Path) -> None:
        export(mcu_run, ExportOptions(("c",), "mps2-an386", batch=1), folder)

    return Bundle.open(once(tmp_path_factory, "mcu", make))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, mcu_run: Run) -> Bundle:
    """A net of 3,528 weights with three spare rows."""

    def make(folder: Path) -> None:
        export(mcu_run, ExportOptions(("c",), batch=16, spare_classes=3), folder)

    return Bundle.open(once(tmp_path_factory, "small", make))


@pytest.fixture(scope="session")
def dfedge_run(tmp_path_factory: pytest.TempPathFactory, mcu: Bundle) -> Path:
    """The program in the same bundle, compiled."""
    name = "dfedge-run"
    folder = once(tmp_path_factory, name, lambda folder: folder.mkdir())
    sources = mcu.folder / "c"
    return compile_runner(folder / f"{name}-{os.getpid()}", sources / "run", sources / "dfedge")


def refused(call: Callable[[], object], error: type[DfedgeError] = DfedgeError) -> str:
    """What a call is refused with: one line."""
    with pytest.raises(error) as found:
        call()
    assert "\n" not in str(found.value)
    return str(found.value)


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def dfedge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """A command in this process: its exit code and what it wrote."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["dfedge", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capfd.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call
