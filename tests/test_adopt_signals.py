"""Nets of signals, trained in the units that the data stand in, adopted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.load import Model, open_model
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.inputs.window import WindowRule
from dfedge.data.reading import AS_THEY_ARE, Reading
from dfedge.data.sources import open_data
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.learn.run import Run

LENGTH, SIZES = 64, (4.0, 20.0, 500.0)
"""Of a window, and of its channels: g, m/s^2, degrees a second."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def motion(places: Path) -> Path:
    """Four classes of movement, each with its own rhythm and direction, around other means."""
    rng, path = np.random.default_rng(0), places / "motion.npz"
    y = np.arange(600) % 4
    rhythm, turn = (3.0, 5.0, 3.0, 5.0), (0.3, 0.3, 1.2, 1.2)
    time = np.arange(LENGTH) / LENGTH
    x = np.empty((len(y), LENGTH, 3))
    for i, k in enumerate(y):
        phase = rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * rhythm[k] * rng.uniform(0.9, 1.1) * time + phase)
        other = np.cos(2 * np.pi * rhythm[k] * time + phase)
        parts = np.stack([wave * np.cos(turn[k]), wave * np.sin(turn[k]), other], 1)
        x[i] = parts * rng.uniform(0.3, 0.6) + rng.normal(0, 0.25, parts.shape)
    x = x * SIZES + (1.0, 9.81, -40.0)
    np.savez(path, x=x.astype(np.float32), y=y)
    return path


@pytest.fixture(scope="module")
def table(places: Path) -> Path:
    """Thirty columns of cells, from 0.001 to 4,254, one that never changes, and one of 0 and 1."""
    found, path = load_breast_cancer(), places / "table.npz"
    x = np.column_stack([found.data, np.full(len(found.data), 1234.5), found.data[:, 0] > 14])
    np.savez(path, x=x, y=found.target)
    return path


class Waves(nn.Module):
    """Convolutions along time, padded, of windows [B, C, T]."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(3) if norm else nn.Identity(),
            nn.Conv1d(3, 12, 7, stride=2, padding=3), nn.BatchNorm1d(12), nn.ReLU(),
            nn.MaxPool1d(2), nn.Conv1d(12, 16, 5, padding=2), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(x).mean(2))


def perceptron(columns: int) -> nn.Module:
    return nn.Sequential(nn.Linear(columns, 24), nn.ReLU(), nn.Linear(24, 2))


Made = Callable[[torch.Tensor], torch.Tensor]
WINDOWS = Reading("window")


def turned(x: torch.Tensor) -> torch.Tensor:
    """Windows [N, T, C] as torch's convolutions take them."""
    return x.transpose(1, 2)


def flat(x: torch.Tensor) -> torch.Tensor:
    """Vectors, which data hold as windows of one sample."""
    return x.flatten(1)


def part(path: Path, name: str, reading: Reading = AS_THEY_ARE) -> Any:
    """Samples as they stand in the data, and labels."""
    return open_data(str(path), reading=reading).cut(0).part(name)[1]


def trained(net: nn.Module, seen: Made, own: Any) -> nn.Module:
    """By back-propagation on ``seen(x)``."""
    x, y = seen(torch.from_numpy(own.x).float()), torch.from_numpy(own.y)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(40):
        for index in torch.randperm(len(y)).split(32):
            optimiser.zero_grad()
            F.cross_entropy(net(x[index]), y[index]).backward()
            optimiser.step()
    return net.eval()


@torch.no_grad()
def right(net: nn.Module, seen: Made, test: Any) -> float:
    """Accuracy in float, on the values themselves."""
    scores = net(seen(torch.from_numpy(test.x).float()))
    return float((scores.argmax(1).numpy() == test.y).mean())


def saved(net: nn.Module, example: torch.Tensor, path: Path) -> str:
    torch.export.save(torch.export.export(net, (example,), strict=False), path)
    return str(path)


@pytest.fixture(scope="module")
def waves(motion: Path, places: Path) -> dict[bool, tuple[str, float]]:
    """File and float accuracy of nets that begin with a batch norm, or with padding."""
    made = {}
    for norm in (True, False):
        torch.manual_seed(0)
        net = trained(Waves(norm), turned, part(motion, "train", WINDOWS))
        model = saved(net, torch.zeros(2, 3, LENGTH), places / f"{norm}.pt2")
        made[norm] = model, right(net, turned, part(motion, "test", WINDOWS))
    return made


@pytest.mark.parametrize("norm", [True, False])
def test_a_net_of_windows_in_physical_units_keeps_its_accuracy(
    norm: bool, waves: dict[bool, tuple[str, float]], motion: Path, tmp_path: Path
) -> None:
    model, wanted = waves[norm]
    assert wanted > 0.9
    found = adopt(AdoptOptions(model, str(motion), reading=WINDOWS), tmp_path / "run")
    assert abs(found.float_accuracy - wanted) <= 0.01
    assert found.by_scores >= wanted - 0.02
    assert found.accuracy >= wanted - 0.02
    as_codes = AdoptOptions(model, str(motion), units="codes", reading=WINDOWS)
    assert adopt(as_codes, tmp_path / "other").float_accuracy < wanted - 0.1


def test_the_program_reads_the_same_file_of_readings(
    waves: dict[bool, tuple[str, float]], motion: Path, tmp_path: Path
) -> None:
    """The bundle has the rule; a device gives it readings in the data's units."""
    run = adopt(AdoptOptions(waves[True][0], str(motion), reading=WINDOWS), tmp_path / "run").run
    bundle = export(run, ExportOptions(("c",)), tmp_path / "bundle")
    test = part(motion, "test", WINDOWS)
    session = Session.open(bundle, "native", tmp_path / "state")
    codes = session.bundle.manifest.input.apply(test.x, "the test split")
    answers = np.array([session.predict(one).label for one in codes])
    assert (answers == test.y).mean() >= waves[True][1] - 0.02


def normalised(own: Any) -> tuple[Made, tuple[float, ...], tuple[float, ...]]:
    """As scikit-learn's StandardScaler."""
    x = own.x.reshape(len(own.x), -1)
    mean, std = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)

    def seen(x: torch.Tensor) -> torch.Tensor:
        return (flat(x) - torch.from_numpy(mean).float()) / torch.from_numpy(std).float()

    return seen, tuple(map(float, mean)), tuple(map(float, std))


@pytest.mark.parametrize("learn", ["head", "all"])
def test_a_net_of_columns_of_very_different_ranges_keeps_its_accuracy(
    learn: str, table: Path, tmp_path: Path
) -> None:
    own, test = part(table, "train"), part(table, "test")
    seen, mean, std = normalised(own)
    torch.manual_seed(0)
    net = trained(perceptron(32), seen, own)
    model = saved(net, torch.zeros(2, 32), tmp_path / "net.pt2")
    given = AdoptOptions(model, str(table), mean=mean, std=std, learn=learn)
    found, wanted = adopt(given, tmp_path / "run"), right(net, seen, test)
    assert wanted > 0.9
    assert abs(found.float_accuracy - wanted) <= 0.01
    assert min(found.by_scores, found.accuracy) >= wanted - 0.02


def test_a_value_that_never_changed_is_what_it_was(table: Path) -> None:
    """A code says nothing of it."""
    own = part(table, "train")
    rule = open_data(str(table)).cut(0).own_rule()
    low, step = rule.units(own.x)
    found = low + step * rule.apply(own.x, "").reshape(len(own), -1)
    assert step[30] == 0
    assert (found[:, 30] == 1234.5).all()
    inside = (rule.apply(own.x, "") > 0) & (rule.apply(own.x, "") < 255)
    error = np.abs(found - own.x[:, 0])[inside[:, 0, 0]]
    assert (error <= np.broadcast_to(step, found.shape)[inside[:, 0, 0]] * 1.01).all()


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * LENGTH, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_a_function_that_takes_windows_in_any_order_is_refused() -> None:
    with pytest.raises(DfedgeError, match=r"any order.*\[64, 3\].*export it to .pt2"):
        Model("a:b", Rows().eval()).graph((LENGTH, 1, 3))


@pytest.mark.parametrize("shape", [(3, LENGTH), (LENGTH, 3)])
def test_a_file_says_in_which_order_it_takes_windows(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    net, path = Rows().eval(), tmp_path / "net.pt2"
    saved(net, torch.zeros(2, *shape), path)
    x = torch.randn(4, *shape)
    map_ = (x if shape[0] == 3 else x.transpose(1, 2))[..., None]
    found = open_model(str(path)).graph((LENGTH, 1, 3)).result(map_)
    assert torch.allclose(found.flatten(1), net(x), atol=1e-5)


class Long(nn.Module):
    """A net of windows of three channels, of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(3, 4, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1))
        self.last = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(self.layers(x).flatten(1))
        return scores


def long() -> nn.Module:
    return Long()


def rows() -> nn.Module:
    return perceptron(32)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test_adopt_signals:long"], "windows of 128 samples of 3 channels, 5 scores"),
        (["test_adopt_signals:long", "--window", 50], "windows of 50 samples of 3 channels"),
        (["test_adopt_signals:rows"], "vectors of 32 values, 2 scores"),
    ],
)
def test_a_net_of_signals_is_checked_without_data(
    arguments: list[Any], said: str, dfedge: Any
) -> None:
    found = dfedge("adopt", *arguments, "--check")
    assert found.code == 0, found.err
    assert said in found.out


def test_recordings_are_read_as_a_person_says(tmp_path: Path, dfedge: Any) -> None:
    """Tables by class, cut in windows; the RUN remembers it."""
    rng = np.random.default_rng(0)
    for name, rhythm in (("slow", 2.0), ("fast", 9.0)):
        (tmp_path / "motion" / name).mkdir(parents=True)
        for number in range(5):
            wave = np.sin(rhythm * np.arange(300)[:, None] / 20 + np.arange(3)) * 9.81
            x = wave + rng.normal(0, 1, wave.shape)
            np.savetxt(tmp_path / "motion" / name / f"{number}.csv", x, "%.3f", ",",
                       header="x,y,z", comments="")  # fmt: skip
    out = tmp_path / "run"
    found = dfedge("adopt", "test_adopt_signals:long", "--data", tmp_path / "motion", "--window",
                   50, "--hop", 25, "--head", "new", "--out", out)  # fmt: skip
    assert found.code == 0, found.err
    assert "values in the data's units" in found.err
    plan = Run.open(out).plan
    assert (plan.reading.window, plan.reading.hop) == (50, 25)
    assert isinstance(plan.input, WindowRule)
    assert plan.trunk is not None
    assert plan.trunk.input_shape == plan.input.shape == (50, 1, 3)


class Picture(nn.Module):
    """Windows as grey pictures, [B, 1, T, C], as many nets of activities see them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 12, (7, 1), (2, 1), (3, 0)),
            nn.ReLU(),
            nn.Conv2d(12, 16, (5, 3)),
            nn.ReLU(),
        )
        self.last = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(self.layers(x).mean((2, 3)))
        return scores


def test_a_net_that_sees_windows_as_pictures_keeps_its_accuracy(
    motion: Path, places: Path, tmp_path: Path
) -> None:
    """One scale for all channels: these are in one unit, as those of an accelerometer."""
    alike = np.load(motion)
    path = tmp_path / "alike.npz"
    np.savez(path, x=20 * (alike["x"] - (1.0, 9.81, -40.0)) / SIZES, y=alike["y"])
    torch.manual_seed(0)
    net = trained(Picture(), lambda x: x[:, None], part(path, "train", WINDOWS))
    wanted = right(net, lambda x: x[:, None], part(path, "test", WINDOWS))
    assert wanted > 0.9
    model = saved(net, torch.zeros(2, 1, LENGTH, 3), tmp_path / "net.pt2")
    found = adopt(AdoptOptions(model, str(path), reading=WINDOWS), tmp_path / "run")
    assert abs(found.float_accuracy - wanted) <= 0.01
    assert min(found.by_scores, found.accuracy) >= wanted - 0.02
    rule, test = found.run.plan.input, part(path, "test", WINDOWS)
    codes = rule.apply(test.x, "test")
    assert codes.shape[1:] == rule.shape == (LENGTH, 3, 1)
    louder = rule.shift("gain", [1.5])(codes)
    assert louder.shape == codes.shape
    apart = np.abs(louder.astype(int) - rule.apply(1.5 * test.x, "test"))
    assert np.median(apart) <= 1


def test_a_layer_that_reads_a_whole_map_learns_below_the_last(motion: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(3, 4, 8, stride=8), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    trained(net, turned, part(motion, "train", WINDOWS))
    model = saved(net, torch.zeros(2, 3, LENGTH), tmp_path / "net.pt2")
    found = adopt(AdoptOptions(model, str(motion), learn="last:1", reading=WINDOWS), tmp_path / "a")
    assert found.by_scores >= found.float_accuracy - 0.03


@pytest.mark.parametrize(("shape", "word"), [((49, 10, 1), "49x10"), ((32, 32, 1), "32x32")])
def test_a_net_of_sounds_is_fed_the_features_of_its_size(
    shape: tuple[int, int, int], word: str
) -> None:
    assert SoundRule().sized(shape) == SoundRule(f"log-mel {word}")
    assert SoundRule().sized((None, None, 1)) == SoundRule()
