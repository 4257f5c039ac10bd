"""A data set that an installed package adds: a name like any other."""

import json
from pathlib import Path

import pytest
from outside import dfedge, install, together

from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.scale import CONSTANT
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.inputs.window import WindowRule
from dfedge.data.sources import GROUP, OWN, default_net, find

OUTSIDE = '''"""A package that dfedge does not know: digits upside down."""

from dfedge.data.dataset import Dataset, Split
from dfedge.data.digits import load
from dfedge.data.sources import DataSource

SET = DataSource("outside:turned", "digits", ("twice",))


def turned(folder, how):
    assert how == "twice"
    found = load(folder)
    splits = {n: Split(s.x[:, ::-1, ::-1].copy(), s.y) for n, s in found.splits.items()}
    return Dataset("turned-digits", found.classes, splits)
'''


def test_what_has_no_name_takes_the_default_net() -> None:
    assert find("digits") is OWN["digits"]
    assert default_net("cifar100", ImageRule(32, 32, 3)) == "cifar"
    assert default_net("somewhere/photos", ImageRule(28, 28, 1)) == "mnist"
    assert default_net("somewhere/motion", WindowRule(128, (CONSTANT,) * 6)) == "imu"
    assert default_net("somewhere/words", SoundRule()) == "speech"
    assert default_net("somewhere/rows.csv", WindowRule(1, (CONSTANT,))) == "vector"


@pytest.mark.slow
def test_a_package_adds_a_data_set_in_one_file_and_one_line(tmp_path: Path) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, "outside:SET", "turned-digits")
    run, out = tmp_path / "run", tmp_path / "bundle"
    made = together(
        env,
        ("train", "--data", "turned-digits", "--qat", "--epochs", 1, "--out", run),
        ("export", run, "--out", out, "--format", "c", "--no-trial"),
        ("evaluate", out, "--data", "turned-digits", "--json"),
        ("evaluate", out, "--data", "digits", "--json"),
        ("finetune", out, "--data", "turned-digits", "--samples", 64),
        ("evaluate", out, "--data", "nothing"),
    )
    for done in made[:-1]:
        assert done.returncode == 0, done.stderr
    turned, upright = (json.loads(found.stdout)["accuracy"] for found in made[2:4])
    assert turned > upright
    assert made[-1].returncode == 2 and "turned-digits" in made[-1].stderr


@pytest.mark.parametrize(
    ("value", "name", "why"),
    [
        ("outside:MISSING", "mine", "data set 'mine', which an installed package adds"),
        ("outside:turned", "mine", "is not a dfedge.data.sources.DataSource"),
        ("outside:SET", "mnist", "there is a data set of this name"),
    ],
)
def test_a_record_that_is_none_is_said_by_name(
    value: str, name: str, why: str, tmp_path: Path
) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, value, name)
    done = dfedge(env, "train", "--data", "unheard-of", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert why in done.stderr.replace("\n", " ")
