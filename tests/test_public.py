"""What `import dfedge` offers: the whole route, each name from its own room, no torch before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dfedge

PACKAGE = Path(dfedge.__file__).parent


def test_types_and_names_are_of_one_home() -> None:
    tree = ast.parse(Path(dfedge.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {
        one.asname: f"{line.module}:{one.name}"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for one in line.names
    }
    wanted = {}
    for name, home in dfedge._HOMES.items():
        module, _, own = home.partition(":")
        wanted[name] = f"dfedge.{module}:{own or name}"
    assert found == wanted


@pytest.mark.parametrize("name", dfedge.__all__)
def test_every_name_is_there_and_told_in_the_docstring(name: str) -> None:
    assert callable(getattr(dfedge, name))
    assert name in dir(dfedge)
    assert name.removesuffix("Options").lower() in dfedge.__doc__.lower()


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lower'"):
        _ = dfedge.lower


def test_a_device_that_opens_a_session_imports_no_torch() -> None:
    code = "import sys, dfedge; dfedge.Session; dfedge.Bundle; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


FORMATS_OF_OTHERS = {"dfedge.adoption.pt2_schema"}
"""Classes named as the format names them."""


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        classes = (n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef))
        for name in classes:
            if module not in FORMATS_OF_OTHERS and not name.startswith("_"):
                homes.setdefault(name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
