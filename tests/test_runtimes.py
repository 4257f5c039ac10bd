"""A runtime is one record: dfedge's own, and one that an installed package adds."""

import importlib
import json
from pathlib import Path

import pytest
from outside import dfedge, install, together

from dfedge.bundle import Bundle
from dfedge.runtimes import GROUP, OWN, STOCK, formats, listed

OUTSIDE = '''"""A package that dfedge does not know: the step in PyTorch, as a runtime."""

from dfedge.runtimes import Runtime
from dfedge.verify.reference import TorchRunner

REFERENCE = Runtime(runner="outside:Reference", packages=(("torch",),), remedy="pip install torch")


class Reference(TorchRunner):
    def __init__(self, bundle, threads=1):
        super().__init__(bundle)
'''


@pytest.mark.parametrize("name", OWN)
def test_what_a_record_names_is_there(name: str) -> None:
    record = OWN[name]
    for place in filter(None, (record.runner, record.writer)):
        module, thing = place.split(":")
        assert callable(getattr(importlib.import_module(module), thing))
    assert record.stock in ("", *STOCK)
    assert record.remedy or record.compilers
    assert set(record.compilers) <= {"c", "c++"}


def test_names_are_listed_as_people_write_them() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"
    assert set(STOCK) < set(formats()) < set(OWN)


def test_a_package_adds_a_runtime_in_one_file_and_one_line(bundle: Bundle, tmp_path: Path) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, "outside:REFERENCE")
    args = ["--data", "digits", "--samples", 64, "--state", tmp_path / "state"]
    installed, verified, tried, learned = together(
        env,
        ("doctor",),
        ("verify", bundle.folder, "--json"),
        ("doctor", bundle.folder),
        ("finetune", bundle.folder, *args, "--runtime", "reference", "--json"),
    )
    assert "reference" in installed.stdout
    found = json.loads(verified.stdout)
    assert found["identical"], verified.stderr
    assert found["runtimes"]["reference"] == found["runtimes"]["native"]
    assert "reference" in tried.stdout
    assert json.loads(learned.stdout)["runtime"] == "reference", learned.stderr


@pytest.mark.parametrize(
    ("value", "name", "why"),
    [
        ("outside:MISSING", "reference", "AttributeError"),
        ("outside:Reference", "reference", "is not a dfedge.runtimes.Runtime"),
        ("outside:REFERENCE", "onnx", "there is a runtime of this name"),
    ],
)
def test_a_package_that_adds_none_is_named_and_nothing_else_breaks(
    value: str, name: str, why: str, bundle: Bundle, tmp_path: Path
) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, value, name)
    assert dfedge(env, "--version").returncode == 0
    done = dfedge(env, "verify", bundle.folder)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert f"runtime '{name}', which an installed package adds" in said and why in said
    assert "Traceback" not in done.stderr
