"""Where accuracy is lost, as a picture: of adopted nets and of trained ones."""

import re
import sys
from pathlib import Path

import pytest
from test_adopt import adopted_run, weights  # noqa: F401  fixtures

from dfedge.learn.explain import Lost
from dfedge.learn.loss_chart import BAR, MARKED, MOST, losses_figure
from dfedge.learn.run import Run


def test_a_net_is_adopted_with_a_picture_of_every_result(dfedge, weights, tmp_path: Path) -> None:  # noqa: F811
    picture = tmp_path / "losses.svg"
    said = dfedge("adopt", "foreign_nets:tiny", "--data", "digits", "--out", tmp_path / "run",
                  "--explain", picture, "--json")  # fmt: skip
    assert said.code == 0, said.err
    text = picture.read_text()
    names = [f"{loss['name']} ({loss['op']})" for loss in said.json["losses"]]
    assert "deep (conv)" in names
    for name in [*names, *(f"layer{i}" for i in range(len(said.json["learns"])))]:
        assert f"<!-- {name} -->" in text, name
    assert "dB" in text


def test_an_adopted_run_is_drawn_again(dfedge, adopted_run: Run, tmp_path: Path) -> None:  # noqa: F811
    picture = tmp_path / "losses.svg"
    said = dfedge("calibrate", adopted_run.folder, "--plot", picture)
    assert said.code == 0, said.err
    losses = adopted_run.metrics()[0]["losses"]
    found = re.findall(r"<!-- (.*) -->", picture.read_text())
    assert {f"{loss['name']} ({loss['op']})" for loss in losses} | {"layer0", "layer1"} <= {*found}
    assert str(picture) in said.out


def test_the_lowest_bars_are_marked_and_names_may_repeat() -> None:
    values = [30.0, 12.0, 25.0, 226.4, 5.0, 20.0]
    axes = losses_figure([Lost("same", snr) for snr in values]).axes[0]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert [bar.get_width() for bar in axes.patches] == [30.0, 12.0, 25.0, MOST, 5.0, 20.0]
    assert "above 100" in [text.get_text() for text in axes.texts]
    marked = [values[i] for i, colour in enumerate(colours) if colour == colours[4]]
    assert marked == [12.0, 5.0, 20.0]
    assert len({*colours}) == 2 and BAR != MARKED


@pytest.mark.parametrize(
    ("place", "said"),
    [("losses.xyz", r"no kind of picture.*\.svg"), ("none/losses.svg", "a folder that exists")],
)
def test_a_picture_without_a_place_is_refused_first(
    dfedge, tmp_path: Path, place: str, said: str
) -> None:
    result = dfedge("adopt", "foreign_nets:tiny", "--data", "digits", "--out", tmp_path / "run",
                    "--explain", tmp_path / place)  # fmt: skip
    assert result.code == 1
    assert re.search(said, result.err) and result.err.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_there_is_one_clear_error(
    dfedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = dfedge("adopt", "foreign_nets:tiny", "--data", "digits", "--out", tmp_path / "run",
                    "--explain", tmp_path / "losses.svg")  # fmt: skip
    assert result.code == 1
    assert "plots need matplotlib; pip install matplotlib" in result.err
    assert "Traceback" not in result.err and not list(tmp_path.iterdir())
