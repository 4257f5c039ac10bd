"""What a stranger names is shown, and steers neither a terminal nor a page."""

import json
import shutil
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from trials.manifests import rehashed

from dfedge.bundle import Bundle
from dfedge.cli import console
from dfedge.manifest import MANIFEST
from dfedge.page import figure, svg
from dfedge.visible import visible

RED, TITLE, UP = "\x1b[31m", "\x1b]0;owned\x07", "\x1b[2A\x1b[K"
OVERRIDE = "\u202egnp.exe"
HOSTILE = [RED, TITLE, UP, OVERRIDE, "a\rb", "a\nb", "\x9b2J", "\u2066x", "\u200bx", "[bold]x[/]",
           "[/]", "$\\frac{", "<script>alert(1)</script>", "\"' onload=x", "\udce9"]  # fmt: skip
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
RAW = ("\x1b[31m", "\x1b]0", "\x1b[2A", "\x07", "\u202e", "\u2066", "\u200b", "\r", "\x9b")


@pytest.fixture
def hostile(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle whose classes bear such names."""
    shutil.copytree(bundle.folder, tmp_path / "copy")
    tree = json.loads((tmp_path / "copy" / MANIFEST).read_bytes())
    tree["classes"] = [f"{k}{HOSTILE[k]}" for k in range(10)]
    tree["net"] = HOSTILE[12] + OVERRIDE
    (tmp_path / "copy" / MANIFEST).write_bytes(rehashed(tree))
    return tmp_path / "copy"


def test_what_steers_is_escaped_and_letters_stay() -> None:
    for text in HOSTILE:
        assert visible(text).isprintable()
    plain = "caf\u00e9 \u732b \u05d7\u05ea\u05d5\u05dc \U0001f408 \u0645\u06cc\u200c\u0634 a\\b [x]"
    assert visible(plain) == plain
    assert visible("\x1b\u202e\n\udce9") == "\\x1b\\u202e\\n\\udce9"


def test_all_ways_to_the_terminal_escape(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        console.fail(text, 1)
        console.warn([text])
        console.say(text, next_command=text)
        console.table(text, [text, "n"], [[text, text]])
    said = "".join(capsys.readouterr())
    assert not [raw for raw in RAW if raw in said]
    assert "[bold]x[/]" in said and "[/]" in said  # a name is no markup either


def test_progress_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    monkeypatch.setattr(console, "err", Console(file=out, force_terminal=True, width=100))
    with console.progress() as watch:
        for text in HOSTILE:
            watch(text, 1, 2)
    assert "\u202e" not in out.getvalue() and "\x1b]0" not in out.getvalue()


def test_commands_show_hostile_classes_and_paths(dfedge, hostile: Path, tmp_path: Path) -> None:
    names = tmp_path / f"{RED}{OVERRIDE}.npz"
    np.savez(names, x=np.random.default_rng(0).integers(0, 255, (10, 8, 8), np.uint8))
    said = []
    for command in (
        ("predict", hostile, names, "--runtime", "native"),
        ("predict", hostile, f"{names}\x1b[2A"),
        ("evaluate", hostile, "--data", "digits", "--shift", OVERRIDE),
        ("add-class", hostile, HOSTILE[0], "--samples", names, "--state", tmp_path / TITLE),
        ("doctor", f"{hostile}{UP}"),
        ("predict", hostile, f"--{RED}"),
        (f"{TITLE}",),
        ("train", "--epochs", RED),
    ):
        result = dfedge(*command)
        said.append(result.out + result.err)
        assert result.code in (0, 1, 2)
        assert result.code == 0 or result.err.count("\n") == 1, result.err
    assert not [raw for raw in RAW if raw in "".join(said)]
    assert "0\\x1b[31m" in said[0] or "3\\u202e" in said[0]


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(path: Path) -> Page:
    page = Page()
    text = path.read_text()
    page.feed(text)
    assert not [tag for tag, _ in page.elements if tag in ("script", "img", "iframe", "object")]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert not [raw for raw in RAW if raw in text]
    return page


@pytest.mark.filterwarnings("error")
def test_a_profile_of_hostile_names_is_a_page_of_text(
    dfedge, hostile: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    args = ("--runtime", "native", "--calls", 1, "--no-rivals", "--html", out)
    assert dfedge("profile", hostile, *args).code == 0
    assert "<script>alert(1)</script>\\u202egnp.exe" in checked(out).text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: an HTML parser alone reads pages")
def test_a_browser_shows_hostile_names_as_text(dfedge, hostile: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "report.html", Page()
    args = ("--runtime", "native", "--calls", 1, "--no-rivals", "--html", out)
    assert dfedge("profile", hostile, *args).code == 0
    seen.feed(rendered(out))
    assert "<script>alert(1)</script>\\u202egnp.exe" in seen.text
    assert not [tag for tag, _ in seen.elements if tag in ("script", "img", "iframe")]
    assert [tag for tag, _ in seen.elements].count("svg") >= 2


def rendered(page: Path) -> str:
    """What a browser makes of a page, once its scripts have run."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={page.parent / 'profile'}", page.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_continual_report_of_hostile_names_is_a_page_of_text(
    dfedge, spare_bundle: Bundle, tmp_path: Path
) -> None:
    folder, rng = tmp_path / "stream", np.random.default_rng(0)
    from PIL import Image

    for name in ("<b>0</b>", f"1{OVERRIDE}", "$\\frac{", f"3{RED}"):
        (folder / name.replace("/", "")).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8))
            image.save(folder / name.replace("/", "") / f"{number}.png")
    out = tmp_path / "report.html"
    result = dfedge("continual", spare_bundle.folder, "--data", folder, "--stream",
                    "class-incremental", "--runtime", "native",
                    "--state", tmp_path / "state", "--report", out)  # fmt: skip
    assert result.code == 0, result.err
    assert not [raw for raw in RAW if raw in result.out + result.err]

    checked(out)


def test_names_in_a_picture_are_no_formulas_and_no_markup() -> None:
    picture = figure(4, 3)
    axes = picture.subplots()
    axes.plot([0, 1], label="$\\frac{")
    axes.legend()
    axes.set_title(HOSTILE[12] + OVERRIDE)
    axes.set_xticks([0, 1], ["$x$", RED])
    axes.set_ylabel("two\nlines, \u732b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = Page()
        page.feed(svg(picture))
    assert not [tag for tag, _ in page.elements if tag == "script"]
