"""A program as a list: what `dfedge show` prints is the program that runs."""

import json
import re
from math import prod
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pages import ROOT
from random_trunks import draw_adopted
from trials.random_nets import draw

from dfedge.bundle import Bundle
from dfedge.exporters.golden import to_arrays
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import load_spec
from dfedge.listing import INT_BYTES, OperationRow, listing
from dfedge.native import build
from dfedge.native.table import make_table
from dfedge.plan import Plan
from dfedge.sound import state_layout


def learned_bytes(plan: Plan) -> int:
    layout = state_layout(plan)
    return sum(
        INT_BYTES[kind] * prod(shape)
        for name, (kind, shape) in layout.items()
        if name.startswith("layer")
    )


def sound(plan: Plan, rows: list[OperationRow]) -> None:
    """Every value is made before it is read, and every byte is somewhere once."""
    made = {"image", "label"}
    carried = {row.name for row in rows if row.name.endswith(".carried")}
    for number, row in enumerate(rows):
        assert row.number == number
        assert set(row.reads) <= made | carried, row  # an error comes down from a later row
        made.add(row.name)
    assert sum(row.state_bytes for row in rows) == learned_bytes(plan)
    trunk = plan.trunk.constants() if plan.trunk else {}
    wanted = sum(INT_BYTES[kind] * prod(shape) for kind, shape in trunk.values())
    assert sum(row.constant_bytes for row in rows) == wanted
    sources = "".join(path.read_text() for path in build.SOURCES.glob("*.[ch]"))
    for row in rows:
        assert not row.kernel or row.kernel.removeprefix("dfe_run_") in sources
        assert row.kernel.startswith("dfe_run_") or not row.kernel or f"{row.kernel}(" in sources


@pytest.mark.parametrize("seed", range(40))
def test_every_net_is_listed_whole(seed: int) -> None:
    for drawn in (draw(seed), draw_adopted(seed)[0]):
        plan = drawn.plan
        sound(plan, listing(plan))
        learning = {row.where for row in listing(plan) if row.training}
        assert learning == {f"layer{i}" for i in range(plan.cut, len(plan.layers))}


def test_a_bundle_is_shown_for_people_and_for_machines(bundle: Bundle, dfedge) -> None:
    found = json.loads(dfedge("show", bundle.folder, "--json").out)
    assert found["input"] == [8, 8, 1]
    assert len(found["operations"]) == len(listing(bundle.manifest.plan))
    said = dfedge("show", bundle.folder).out
    assert "weights and anchors" in said
    fewer = json.loads(dfedge("show", bundle.folder, "--inference", "--json").out)
    assert not any(row["training"] for row in fewer["operations"])


def test_what_is_no_bundle_is_said(dfedge, tmp_path: Path) -> None:
    result = dfedge("show", tmp_path)
    assert result.code == 1
    assert str(tmp_path) in result.err.replace("\n", "")


def markdown(rows: list[dict[str, Any]]) -> str:
    """As docs/design.md prints a program."""
    lines = ["| | operation | reads | makes | bytes | state | place | C kernel |", "|" + "---|" * 8]
    for row in rows:
        number = "+" if row["training"] else str(row["number"])
        makes = f"{row['name']}, {' x '.join(map(str, row['makes']))}"
        state = str(row["state_bytes"] or "")
        cells = [number, row["operation"], ", ".join(row["reads"]), makes, str(row["bytes"]), state]
        lines.append("| " + " | ".join([*cells, row["place"], row["kernel"]]) + " |")
    return "\n".join(lines)


def test_the_program_in_the_design_page_is_the_one_that_its_commands_print(
    tmp_path: Path, dfedge
) -> None:
    page = Path(__file__).parent.parent / "docs" / "design.md"
    text = page.read_text()
    net = re.search(r"```toml\n(.*?)```", text, re.S)
    shown = re.search(r"<!-- program -->\n(.*?)\n?<!-- end program -->", text, re.S)
    assert net and shown
    (tmp_path / "two.toml").write_text(net[1])
    run, out = tmp_path / "run", tmp_path / "bundle"
    train = ("train", "--net", tmp_path / "two.toml", "--qat", "--out", run)
    for command in (train, ("export", run, "--format", "c", "--no-trial", "--out", out)):
        assert dfedge(*command).code == 0
    wanted = markdown(json.loads(dfedge("show", out, "--json").out)["operations"])
    assert shown[1] == wanted, f"{page}: between its two marks there should be\n{wanted}"


def test_what_the_design_page_names_is_there() -> None:
    root = Path(__file__).parent.parent
    for name in re.findall(
        r"`((?:dfedge|tests|native)/[\w/.]+)`", (root / "docs" / "design.md").read_text()
    ):
        assert (root / name).exists() or (root / "dfedge" / name).exists(), name


@pytest.mark.parametrize(("net", "image"), [("plain-64", (32, 32, 3)), ("digits", (8, 8, 1))])
def test_the_page_of_the_design_tells_what_records_and_a_list_take(
    net: str, image: tuple[int, int, int]
) -> None:
    plan = replace(skeleton(load_spec(net), image, 10), feedback="transpose")
    drawn = draw(0)
    _, record, conv, operation = make_table(drawn.plan, to_arrays(drawn.state)).structure_words
    records = 4 * (record * len(plan.layers) + conv * plan.convolutions)
    page = (ROOT / "docs" / "design.md").read_text()
    for told in (records, 4 * operation * len(listing(plan))):
        assert f"{told:,} B" in page
