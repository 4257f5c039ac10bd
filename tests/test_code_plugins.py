"""Rules and data by their place, ``package:object``: imported where a person names them alone."""

from pathlib import Path

import pytest
from conftest import refused

from dfedge import plugins
from dfedge.data.sources import find, load
from dfedge.errors import UsageError
from dfedge.learn.rules import load_rule
from dfedge.learn.run import Run
from dfedge.rules import RULES

CODE = """
from dfedge.data.digits import load
from dfedge.learn.rules.df import DF
from dfedge.rules import Rule

OURS = DF
RULE = Rule("lab:OURS", "none")
NUMBER = 3


def digits(folder):
    return load(folder)


def broken(folder):
    return 3
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module on the path; nobody has named anything of it yet."""
    (tmp_path / "lab.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_named", set())
    monkeypatch.delenv(plugins.TRUST, raising=False)
    return tmp_path


@pytest.mark.parametrize("rule", ["lab:RULE", "lab:OURS"])
def test_code_that_is_named_trains_and_exports(rule: str, lab: Path, dfedge) -> None:
    run, out = lab / "run", lab / "bundle"
    args = ("--epochs", 1, "--qat", "--qat-epochs", 1, "--samples", 128, "--out", run)
    made = dfedge("train", "--data", "lab:digits", "--rule", rule, *args)
    assert made.code == 0, made.err
    plan = Run.open(run).plan
    assert (plan.data, plan.rule) == ("lab:digits", rule)
    made = dfedge("export", run, "--format", "c", "--no-trial", "--out", out)
    assert made.code == 0, made.err
    assert dfedge("evaluate", out, "--data", "lab:digits").code == 0


def test_code_that_only_a_file_names_is_not_imported(
    lab: Path, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab / "run"
    args = ("--data", "lab:digits", "--epochs", 1, "--samples", 64, "--out", run)
    assert dfedge("train", *args).code == 0
    monkeypatch.setattr(plugins, "_named", set())  # as a new process has it
    found = dfedge("calibrate", run)
    assert found.code == 1 and "'lab:digits' is code that a file names" in found.err
    assert "DFEDGE_TRUST_CODE=1" in found.err
    monkeypatch.setenv(plugins.TRUST, "1")
    assert dfedge("calibrate", run).code == 0


def test_a_function_of_anything_is_not_called_by_opening_a_run(lab: Path) -> None:
    assert "'os:system' is code" in refused(lambda: find("os:system"))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: load("lab:nothing"), "lab:nothing: cannot be imported"),
        (lambda: load("nowhere:load"), "nowhere:load: cannot be imported"),
        (lambda: load("lab:NUMBER"), "lab:NUMBER is of type int; expected: data set"),
    ],
)
def test_code_that_is_no_data_is_one_clear_error(call, why: str, lab: Path) -> None:
    assert why in refused(call, UsageError)


def test_code_that_is_no_rule_is_one_clear_error(lab: Path) -> None:
    plugins.trust("lab:digits")
    plugins.trust("lab:NUMBER")
    assert "lab:digits is of type function; expected: rule" in refused(
        lambda: RULES.find("lab:digits")
    )
    assert "is not a dfedge.learn.rules.HostRule" in refused(lambda: load_rule("lab:NUMBER"))
