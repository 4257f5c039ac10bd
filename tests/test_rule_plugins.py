"""A learning rule that an installed package adds, on the host and on the device."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from outside import dfedge, install, together

from dfedge.bundle import Bundle
from dfedge.rules import GROUP, OF_DEVICES, OWN

PLAIN = dict(os.environ)
OUTSIDE = '''"""A package that dfedge does not know: errors go down through the signs alone."""

import torch

from dfedge.learn.rules.df_r import through
from dfedge.rules import Rule


def even(name, shape):
    return torch.full(shape, (2 / shape[1:].numel()) ** 0.5)


HOST = through("sign-concordant", even)
RULE = Rule("outside:HOST", "sign-concordant")
'''
FORMATS = [f"--format={name}" for name in ("onnx", "litert", "executorch", "c")]


@pytest.mark.slow
def test_a_package_adds_a_rule_in_one_file_and_one_line(tmp_path: Path) -> None:
    """Trained, exported to every format, each of which is replayed in its own runtime there."""
    run, out = tmp_path / "run", tmp_path / "bundle"
    train = ("train", "--rule", "signs", "--qat", "--epochs", 1, "--out", run)
    unknown = dfedge(PLAIN, *train)
    assert unknown.returncode == 2 and "unknown rule 'signs'" in unknown.stderr
    env = install(tmp_path, OUTSIDE, GROUP, "outside:RULE", "signs")
    export = ("export", run, "--out", out, *FORMATS, "--no-trial", "--batch", 4)
    for done in together(env, train, export):
        assert done.returncode == 0, done.stderr
    bundle = Bundle.open(out)
    assert bundle.manifest.plan.feedback == "sign-concordant"
    for name, value in bundle.initial_state().items():
        if name.endswith(".feedback"):
            sizes = np.abs(value.astype(int)).reshape(-1, value.shape[-1])
            assert (sizes == sizes[:1]).all() and sizes.min() > 0
    # a bundle says how errors go down, so a device need not know the package
    verify, show = ("verify", out, "--steps", 20, "--json"), ("show", out, "--json")
    found, shown = together(PLAIN, verify, show)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["identical"] and len(said["runtimes"]) >= 4
    assert json.loads(shown.stdout)["feedback"] == "sign-concordant"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Rule('outside:NOTHING')", "rule 'mine': outside:NOTHING cannot be loaded"),
        ("Rule('outside:even')", "rule 'mine': outside:even is not a dfedge.learn.rules.HostRule"),
        ("HOST", "outside:RULE is not a dfedge.rules.Rule"),
    ],
)
def test_a_rule_that_is_none_is_said_by_name(value: str, why: str, tmp_path: Path) -> None:
    code = OUTSIDE.replace('RULE = Rule("outside:HOST", "sign-concordant")', f"RULE = {value}")
    env = install(tmp_path, code, GROUP, "outside:RULE", "mine")
    done = dfedge(env, "train", "--rule", "mine", "--out", tmp_path / "run")
    assert done.returncode == 1 and why in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_names_the_rules_of_the_table() -> None:
    told = dfedge(PLAIN | {"COLUMNS": "300"}, "train", "--help").stdout
    assert all(name in told for name in OWN)
    told = dfedge(PLAIN | {"COLUMNS": "300"}, "export", "--help").stdout
    assert all(name in told for name in OF_DEVICES)
