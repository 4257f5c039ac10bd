"""The demo on photos, on a folder of a person's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfedge.data.sources import load
from dfedge.demo import photos


def photos_of(folder: Path, classes: int, count: int) -> Path:
    split = load("digits").splits["train"]
    for name in range(classes):
        (folder / f"digit-{name}").mkdir(parents=True)
        for i, x in enumerate(split.x[split.y == name][:count]):
            Image.fromarray(x.squeeze()).resize((20, 20)).save(
                folder / f"digit-{name}" / f"{i}.jpg"
            )
    return folder


@pytest.mark.slow
def test_it_adopts_a_net_and_teaches_a_class_and_turned_photos(
    dfedge, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(photos, "LARGE", 16)
    monkeypatch.setattr(photos, "PRESENTATIONS", 640)
    data = photos_of(tmp_path / "own", 4, 60)
    out = tmp_path / "out"
    done = dfedge("demo", "--photos", "--data", data, "--out", out)
    assert done.code == 0, done.err
    verdict, *figures = done.out.splitlines()[:4]
    assert "class 'digit-3'" in verdict
    assert [line.split(":")[0].strip() for line in figures] == [
        "adopted", "the other classes", "upright photos",
    ]  # fmt: skip
    page = (out / "report.html").read_text()
    assert page.index("class &#x27;digit-3&#x27;") < page.index("<svg")
    again = dfedge("demo", "--photos", "--data", data, "--out", out)
    assert (again.code, "is not empty" in again.err) == (1, True)


def test_figures_are_of_photos_that_neither_net_has_seen(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(photos, "LARGE", 16)
    names, lesson, meets, test = photos._photos(str(photos_of(tmp_path, 3, 20)), 16, 0)
    assert names == ("digit-0", "digit-1", "digit-2")
    assert set(lesson.y) == {0, 1}
    assert set(meets.y) == set(test.y) == {0, 1, 2}
    seen = {x.tobytes() for x in np.concatenate([lesson.x, meets.x])}
    assert not seen & {x.tobytes() for x in test.x}
    assert not {x.tobytes() for x in lesson.x} & {x.tobytes() for x in meets.x}


def test_data_need_three_classes_and_the_option(dfedge, tmp_path: Path) -> None:
    two = photos_of(tmp_path / "two", 2, 12)
    refused = dfedge("demo", "--photos", "--data", two, "--out", tmp_path / "out")
    assert (refused.code, "needs three or more" in refused.err) == (1, True)
    assert not (tmp_path / "out").exists()
    assert dfedge("demo", "--data", two).code == 2
