"""A kind of input that an installed package adds, and what comes with dfedge's own."""

import json
from pathlib import Path

import numpy as np
import pytest
from outside import dfedge, install, together

from dfedge.data.inputs import GROUP, KINDS

OUTSIDE = '''"""A package that dfedge does not know: places where an event camera saw a change."""

import msgspec
import numpy as np

from dfedge.data.inputs import InputRule
from dfedge.data.shift_forms import ShiftForm
from dfedge.errors import DfedgeError


class EventRule(InputRule, msgspec.Struct, frozen=True, tag_field="kind", tag="events"):
    side: int
    samples = "the events"
    shifts = {"late": ShiftForm()}

    @property
    def shape(self):
        return self.side, self.side, 1

    @classmethod
    def checked(cls, x, where):
        if x.ndim != 3 or x.shape[2] != 2:
            raise DfedgeError(f"{where}: x has shape {x.shape}; allowed: [N, events, 2]")
        return x

    @classmethod
    def suited(cls, x, names=()):
        return cls(int(x.max()) + 1)

    @classmethod
    def unusable(cls, x):
        return (x < 0).reshape(len(x), -1).any(1)

    def apply(self, x, where):
        if x.dtype == np.uint8 and x.shape[1:] == self.shape:
            return x
        codes = np.zeros((len(x), *self.shape), np.uint8)
        for code, events in zip(codes, self.checked(x, where)):
            np.add.at(code, (events[:, 0], events[:, 1], 0), 60)
        return codes

    def shift(self, name, numbers):
        return lambda x: np.roll(x, 1, 1)
'''


def events(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes along a row or along a column, [N, 4, 2]."""
    rng = np.random.default_rng(seed)
    y = np.arange(120) % 2
    place, along = rng.integers(0, 8, (120, 1)), np.stack([rng.permutation(8)[:4] for _ in y])
    rows = np.where(y[:, None] == 0, place, along)
    columns = np.where(y[:, None] == 0, along, place)
    return np.stack([rows, columns], 2).astype(np.int32), y


@pytest.mark.slow
def test_a_package_adds_a_kind_of_input_in_one_file_and_one_line(tmp_path: Path) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, "outside:EventRule", "events")
    for name, seed in (("own", 0), ("new", 1)):
        x, y = events(seed)
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    run, out = tmp_path / "run", tmp_path / "bundle"
    new = ("evaluate", out, "--data", tmp_path / "new.npz", "--json")
    made = together(
        env,
        ("train", "--data", tmp_path / "own.npz", "--input", "events", "--net", "digits", "--qat",
         "--epochs", 8, "--qat-epochs", 2, "--out", run),
        ("export", run, "--format", "onnx", "--format", "litert", "--format", "c", "--out", out),
        ("verify", out),
        ("finetune", out, "--data", tmp_path / "new.npz", "--samples", 32),
        new,
        (*new, "--shift", "late"),
        (*new, "--shift", "rotate:90"),
    )  # fmt: skip
    for done in made[:-1]:
        assert done.returncode == 0, done.stderr
    assert json.loads(made[4].stdout)["accuracy"] > 0.7
    assert "known: late" in made[-1].stderr
    without = {k: v for k, v in env.items() if k != "PYTHONPATH"}
    assert "kind 'events'; known: image, sound, window" in dfedge(without, *new).stderr


@pytest.mark.parametrize("name", list(KINDS.all()))
def test_every_kind_says_what_its_samples_are_and_refuses_others(name: str) -> None:
    from dfedge.errors import DfedgeError

    kind = KINDS.all()[name]
    assert kind.samples.startswith("the ")
    assert kind.shifts
    with pytest.raises(DfedgeError, match="here: "):
        kind.checked(np.zeros((2, 2, 2, 2, 2)), "here")
