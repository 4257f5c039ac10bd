"""The notebook: its cells run in order, and what it claims is so."""

import json
import shutil
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@pytest.mark.skipif(shutil.which("cc") is None, reason="the native runtime needs a C compiler")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = json.loads(NOTEBOOK.read_text())
    assert book["nbformat"] == 4
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    (upright, turned), (upright_after, turned_after) = names["before"], names["after"]
    assert turned < 0.4 and turned_after > turned + 0.2 and upright_after > upright - 0.1
    assert (tmp_path / "out/notebook/state").is_dir()
