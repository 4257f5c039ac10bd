import json
from pathlib import Path

import pytest
import torch

from dfedge.errors import DfedgeError
from dfedge.learn.memory import peak_step_bytes
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, load_rule
from dfedge.learn.samples import Samples
from dfedge.learn.spec import load_spec
from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort, images_per_second
from dfedge.reproduce.depth import measured_memory
from dfedge.reproduce.noise import CHANGES, cut_weights, impulse, mismatch, shot
from dfedge.reproduce.table import (
    Context,
    PaperTable,
    Row,
    TableCell,
    grid,
    load_results,
    reproduce,
)
from dfedge.reproduce.tables import TABLES, fill_readme, markdown
from dfedge.reproduce.workers import spread_step


def counting_table(log: list[str]) -> PaperTable:
    def job(key: str, status: str) -> TableCell:
        def run(context: Context) -> Row:
            log.append(key)
            if status == "not run":
                raise DfedgeError("data set 'moon' was not found: looked in /moon")
            return {"status": status, "accuracy": 0.5}

        return TableCell(key, run)

    jobs = [job("one", "done"), job("two", "short"), job("three", "not run")]
    return PaperTable("z", "a test", jobs, lambda rows: grid("", list(rows), ["x"], lambda r, c: r))


def test_results_are_kept_and_only_what_is_wanted_runs_again(tmp_path: Path) -> None:
    log: list[str] = []
    table, path = counting_table(log), tmp_path / "new" / "z.json"
    context = Context(tmp_path, None, "cpu")
    rows = reproduce(table, path, context, pending=False)
    assert log == ["one", "two", "three"]
    assert [row["status"] for row in rows.values()] == ["done", "short", "not run"]
    assert rows["three"]["why"] == "data set 'moon' was not found"
    assert {"seconds", "device", "commit"} <= rows["one"].keys()
    assert load_results(path) == rows
    reproduce(table, path, context, pending=False)
    assert log == ["one", "two", "three"]
    reproduce(table, path, context, pending=True)
    assert log == ["one", "two", "three", "three"]


def test_killed_between_jobs_goes_on_where_it_was(tmp_path: Path) -> None:
    log: list[str] = []
    table, path = counting_table(log), tmp_path / "z.json"
    one = reproduce(table, path, Context(tmp_path, None, "cpu"), pending=False)["one"]
    path.write_text(json.dumps({"rows": {"one": one}}))
    log.clear()
    reproduce(table, path, Context(tmp_path, None, "cpu"), pending=False)
    assert log == ["two", "three"]


def test_damaged_results_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "z.json").write_text("[]")
    with pytest.raises(DfedgeError, match="cannot be read"):
        load_results(tmp_path / "z.json")


def test_a_cell_trains_what_it_says(tmp_path: Path) -> None:
    cell = Cell(TrainOptions(qat=True), Effort(200, 2, 1), Effort(0, 3))
    run, row = cell.train("t", Context(tmp_path, None, "cpu"))
    assert (row["status"], row["images_seen"], row["layers"]) == ("short", 400, 3)
    assert 0 < row["accuracy"] <= 1
    assert 0 < row["qat"] <= 1
    assert images_per_second(run, "cpu", 128) > 0


def test_every_table_renders_without_any_result() -> None:
    for table in TABLES.values():
        text = markdown(table, {})
        assert f"`dfedge reproduce {table.name}`" in text
        assert "not run" in text or "-" in text


def test_readme_tables_stand_between_their_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table a -->\nold\n<!-- end a -->\nafter\n")
    assert fill_readme(readme, tmp_path) == ["a"]
    text = readme.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- table a -->\n**a.")
    assert text.endswith("<!-- end a -->\nafter\n")
    fill_readme(readme, tmp_path)
    assert readme.read_text() == text
    readme.write_text("nothing")
    with pytest.raises(DfedgeError, match="no marks"):
        fill_readme(readme, tmp_path)


def test_noise_does_what_its_name_says() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.full((4, 1, 50, 50), 64, dtype=torch.int8)
    bright = shot(x, 30, g).float()
    assert bright.mean() == pytest.approx(64, abs=1.5)
    assert bright.std() == pytest.approx(127 * (64 / 127 * 30) ** 0.5 / 30, rel=0.1)
    spots = impulse(x, 0.1, g)
    assert (spots == 0).float().mean() == pytest.approx(0.05, abs=0.01)
    assert (spots == 127).float().mean() == pytest.approx(0.05, abs=0.01)
    assert torch.equal(impulse(x, 0.0, g), x)
    net = Net(load_spec("digits"), (8, 8, 1), 10)
    before = net.units[1].first.weight.detach().clone()
    mismatch(net, 0.2, g)
    factor = net.units[1].first.weight.detach() / before
    assert factor.std() == pytest.approx(0.2, rel=0.1)
    cut_weights(net, 4, g)
    assert len(net.units[1].first.weight.unique()) <= 15
    assert "clean" in CHANGES
    assert CHANGES["clean"](net, Samples(x, x), g).x is x


def test_local_rule_needs_no_more_memory_for_more_layers() -> None:
    small = {"net": "plain-16", "form": "one-pass", "classes": 10, "device": "cpu"}
    peaks = {
        (rule, depth): measured_memory(depth=depth, rule=rule, **small)["step_bytes"]
        for rule in ("df", "bp")
        for depth in (4, 12)
    }
    assert peaks["df", 12] < 1.1 * peaks["df", 4]
    assert peaks["bp", 12] > 2 * peaks["bp", 4]
    assert peaks["df", 12] < 0.4 * peaks["bp", 12]


def test_measured_peak_is_at_least_what_a_layer_must_hold() -> None:
    net = Net(load_spec("digits"), (8, 8, 1), 10)
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 128, (64, 1, 8, 8), generator=g, dtype=torch.int8)
    batch = Batch(x, torch.randint(0, 10, (64,), generator=g), 0, g)
    step, kept = peak_step_bytes(net, load_rule("df"), load_spec("digits").train, batch)
    assert step > 2 * 64 * 64 * 64 * 4  # two maps of layer1: 64 channels of 8 x 8
    parameters = sum(p.numel() for p in net.parameters())
    assert kept >= 3 * 4 * parameters  # weights and AdamW's two moments


def test_a_step_spread_over_two_workers_ends_and_says_what_crosses_the_boundary() -> None:
    said = spread_step("digits", "df-r", batch=8, cut=1, classes=10)
    assert said["seconds_one"] > 0 and said["seconds_two"] > 0
    inputs = load_spec("digits").shapes((32, 32, 3))[1][0]
    assert said["boundary_bytes"] == 4 * 8 * inputs[0] * inputs[1] * inputs[2]
