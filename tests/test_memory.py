"""Targets, budgets and footprints: what is known before a program ships, and that it is true."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trials.random_nets import draw, filled

from dfedge import configs
from dfedge.bench.rival import LEARNING_RATE, FloatLoss, example
from dfedge.blocks import Block
from dfedge.bundle import Bundle
from dfedge.compile.blank import blank
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters import executorch, planned
from dfedge.exporters.budget import advice, largest_batch, needs_bytes
from dfedge.exporters.fit import fit, sized
from dfedge.exporters.formats import ExportSource
from dfedge.exporters.golden import to_arrays
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.program import Method
from dfedge.exporters.write import export
from dfedge.int8.bounds import broken_bounds
from dfedge.learn.run import Run
from dfedge.learn.skeleton import skeleton
from dfedge.learn.spec import NetSpec
from dfedge.plan import Plan
from dfedge.profile import rivals
from dfedge.profile.untrained import plan_of
from dfedge.target import Budget, budget_of, load_target, parse_bytes
from dfedge.units import apart, size

GOOD = """
about = "a board"
kind = "mcu"
ram_bytes = 65536
flash_bytes = 1048576
arena_alignment = 16
model_share = 0.5
runtimes = ["onnx", "executorch"]
[sources]
ram_bytes = "https://example.org/board : 64 KB"
flash_bytes = "https://example.org/board : 1 MB"
arena_alignment = "chosen: as the planner's"
model_share = "chosen: half"
"""


def test_at_least_twelve_devices_are_shipped_each_number_with_its_source() -> None:
    names = configs.names("targets")
    assert len(names) >= 13  # twelve devices and this computer
    for name in names:
        target = load_target(name)
        assert 0 < target.allowed_bytes <= target.ram_bytes
    assert load_target("rp2350").allowed_bytes == 425_984  # 0.8 * 520 KiB


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ram_bytes = 65536", "", "required field `ram_bytes`"),
        ("ram_bytes = 65536", "ram_bytes = -1", r"`int` >= 1024 - at `\$.ram_bytes`"),
        ("model_share = 0.5", "model_share = 1.5", r"`float` <= 1.0 - at `\$.model_share`"),
        ("arena_alignment = 16", "arena_alignment = 24", "24 is not a power of two"),
        ('kind = "mcu"', 'kind = "mcu"\ncolour = 1', "unknown field `colour`"),
        ('"onnx", ', '"tflite", ', "'tflite'"),
        ('model_share = "chosen: half"', "", r"required field `model_share` - at `\$.sources`"),
        ('"chosen: half"', '"I guess"', r"matching regex .* at `\$.sources.model_share`"),
    ],
)
def test_a_targets_file_with_a_fault_is_one_clear_error(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "board.toml"
    path.write_text(GOOD)
    assert load_target(str(path)).allowed_bytes == 32_768
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DfedgeError, match=rf"board\.toml: cannot be read as a target .*{message}"):
        load_target(str(path))


@given(st.integers(1, 1 << 40), st.sampled_from(["", "B", "K", "kB", "KiB", "MB", "gib"]))
def test_sizes_are_read_back(count: int, unit: str) -> None:
    scale = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[unit[:1].upper()]
    assert parse_bytes(f"{count} {unit}") == count * scale


@pytest.mark.parametrize("size", ["", "much", "-1KB", "0", "12 XB", "1e3", "KB", "١KBs"])
def test_a_budget_of_nonsense_is_refused(size: str) -> None:
    with pytest.raises(UsageError, match="no size; write it as 256KB"):
        parse_bytes(size)


BUDGET = budget_of(load_target("host"), "host", "600KB")
"""So small that advice is computed in the smallest tiles."""


def test_a_budget_beyond_the_target_is_refused() -> None:
    with pytest.raises(UsageError, match=r"target 'rp2350' leaves a model 416 KiB"):
        budget_of(load_target("rp2350"), "rp2350", "1MB")


def test_a_program_beyond_its_budget_is_refused_with_what_would_fit(
    run_folder: Path, tmp_path: Path
) -> None:
    run = Run.open(run_folder)
    options = ExportOptions(("onnx",), batch=4, budget="600KB")
    with pytest.raises(DfedgeError) as refused:
        export(run, options, tmp_path / "bundle")
    message = str(refused.value)
    found = re.match(
        r"onnx method train_b4 needs ([\d.]+) KiB of RAM \(arena ([\d.]+) KiB, "
        r"state ([\d.]+) KiB\); "
        r"--budget 600KB allows 600 KiB\. Largest at its fullest: (.*?) of layer(\d) ",
        message,
    )
    assert found, message
    total, arena, state = (float(n) for n in found.groups()[:3])
    assert total > 600 and abs(total - arena - state) <= 1  # each to three digits
    plan = plan_of("digits", "1x8x8", 10, None, "df")
    fused = needs_bytes(plan, Method("train", 4), "c", BUDGET)
    told = f"these fit: --format c at --batch 4 ({size(fused)}); --rendering native ({size(fused)})"
    assert told in message
    assert "channels" not in message
    assert list(tmp_path.iterdir()) == []


def test_counts_that_look_alike_are_told_exactly() -> None:
    assert apart(61_440, 65_536) == ("60 KiB", "64 KiB")
    assert apart(61_441, 61_440) == ("61,441 B", "61,440 B")


def allowing(ram_bytes: int) -> Budget:
    return Budget("a target", ram_bytes, 1 << 30)


def train_bytes(plan: Plan) -> int:
    return needs_bytes(plan, Method("train", 1), "c", BUDGET)


def test_where_no_layer_trains_fewer_cells_and_a_net_by_name_are_told() -> None:
    plan = plan_of("digits", "1x8x8", 10, None, "df")
    cells = train_bytes(replace(plan, layers=tuple(replace(one, cells=1) for one in plan.layers)))
    last = train_bytes(replace(plan, cut=1))
    assert cells < last
    found = advice(allowing(cells), "c", plan, 1)
    assert f"anchors = 1 in the net's file, trained again, at --batch 1 ({size(cells)})" in found
    told = re.search(r"dfedge train --net (\S+), at --batch 1 \((.*?)\)", found)
    assert told, found
    named = plan_of(told[1], "1x8x8", 10, None, "df")
    assert train_bytes(named) <= cells and told[2] == size(train_bytes(named))
    assert advice(allowing(last), "c", plan, 1).startswith(
        f"By the computed plan these fit: --train-layers last:2 at --batch 1 ({size(last)})."
    )
    nothing = advice(allowing(1_000), "c", plan, 1)
    assert nothing.startswith("Nothing tried fits: no smaller batch, no frozen layers, no single")
    assert "channels" not in found + nothing


def test_an_adopted_net_is_told_of_its_head_and_never_to_be_trained_again() -> None:
    blocks = [Block(24), Block(24, mean=True), Block(10, "linear")]
    plan = skeleton(NetSpec(blocks, anchors=1), (12, 12, 3), 10, "one-pass")
    last = train_bytes(replace(plan, cut=2))
    found = advice(allowing(last - 1), "c", plan, 1)
    told = re.fullmatch(
        r"By the computed plan these fit: dfedge adopt with --learn head, at --batch 1 "
        r"\(about (.*)\)\.", found,
    )  # fmt: skip
    assert told, found
    flash = sum(
        v.nbytes for name, v in to_arrays(blank(plan)).items() if name.startswith("layer0.")
    )
    assert told[1] == size(train_bytes(replace(plan, cut=1)) - flash)
    nothing = advice(allowing(1_000), "c", plan, 1)
    assert nothing.endswith("no frozen layers, not its head alone; choose a larger --target.")


def test_a_budget_below_inference_says_so_and_writes_nothing(
    run_folder: Path, tmp_path: Path
) -> None:
    for budget in ("8KB", "64KB"):
        with pytest.raises(DfedgeError, match=r"even inference at batch 1 needs 6[78]"):
            export(Run.open(run_folder), ExportOptions(budget=budget), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_fit_finds_what_the_computed_plan_allows(run_folder: Path) -> None:
    run = Run.open(run_folder)
    plan = plan_of("digits", "1x8x8", 10, None, "df")
    formats = ("executorch", "c")
    found, fused = fit(run, ExportOptions(formats, budget="200KB"), limit=16)
    assert found.train_layers == fused.train_layers == "all"
    assert found.batch_bytes <= 204_800
    assert found.batch < fused.batch == 16
    assert needs_bytes(plan, Method("train", 2 * found.batch), "executorch", BUDGET) > 204_800
    assert fused.train_layers_bytes == needs_bytes(plan, Method("train", 1), "c", BUDGET)
    (tight,) = fit(run, ExportOptions(("executorch",), budget="130KB"), limit=1)
    assert (tight.batch, tight.train_layers) == (0, "")
    last = replace(plan, cut=2)
    assert needs_bytes(last, Method("train", 1), "executorch", BUDGET) > 133_120
    tight, fused = fit(run, ExportOptions(formats, budget="70KB"), limit=1)
    assert tight.infer_bytes > 70 * 1024 >= fused.infer_bytes
    with pytest.raises(DfedgeError, match=r"even inference .* of c; --budget 60KB allows 60 KiB"):
        fit(run, ExportOptions(formats, budget="60KB"), limit=1)


def test_fit_stops_at_the_largest_batch_that_the_sums_of_the_step_hold(run_folder: Path) -> None:
    run, options = Run.open(run_folder), ExportOptions(("c",))
    (found,) = fit(run, options, limit=1 << 13)
    plan = sized(run, options)
    assert found.batch < 1 << 13
    assert not broken_bounds(plan, found.batch)
    assert broken_bounds(plan, 2 * found.batch)


def test_the_largest_batch_is_that_of_a_search_from_below() -> None:
    plan = plan_of("digits", "1x8x8", 10, None, "df")
    needs = {b: needs_bytes(plan, Method("train", b), "c", BUDGET) for b in (1, 2, 4, 8, 16)}
    for bytes in (0, *needs.values(), *(need - 2 for need in needs.values())):
        budget = budget_of(load_target("host"), "host", f"{bytes + 1}B")
        fits = [None, *((batch, need) for batch, need in needs.items() if need <= bytes + 1)]
        assert largest_batch(budget, "c", plan, 16) == fits[-1]


def test_blank_state_has_the_tensors_of_a_real_one() -> None:
    for seed in range(24):
        drawn = draw(seed)
        made = blank(drawn.plan)
        assert {n: (v.shape, v.dtype) for n, v in made.items()} == {
            n: (v.shape, v.dtype) for n, v in drawn.state.items()
        }
        assert list(made) == list(drawn.state)


NETS = [("plain-16", "3x16x16", 6), ("ten-slim", "3x32x32", None), ("resnet8", "3x32x32", None)]


@pytest.mark.parametrize(("net", "input", "depth"), NETS)
@pytest.mark.parametrize("batch", [1, 4])
def test_df_stores_no_activations(net: str, input: str, depth: int | None, batch: int) -> None:
    """At every boundary of two layers, nothing but the hand-over is left for learning."""
    plan = plan_of(net, input, 10, depth, "df")
    assert planned.native(plan, Method("train", batch)).stored_activation_bytes == 0


@pytest.mark.parametrize("rule", ["df-o", "df-r"])
def test_df_o_and_df_r_store_one_boundary_at_any_depth(rule: str) -> None:
    # the lower layer's input and its own error, int8 [2, 16, 16, 16] each
    for depth in (3, 6, 12):
        plan = plan_of("plain-16", "3x16x16", 10, depth, rule)
        stored = planned.native(plan, Method("train", 2)).stored_activation_bytes
        assert stored == 2 * (2 * 16 * 16 * 16)


def test_an_activation_kept_for_learning_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same measure on a step that keeps what back-propagation would keep."""
    plan = plan_of("plain-16", "3x16x16", 10, 4, "df")
    from dfedge.compile import step

    real = step.sweep

    def hoarding(plan, state, x, y, settle):
        kept: list = []
        yield from real(plan, state, x, y, lambda *layer: kept.append(layer))
        for layer in kept:
            settle(*layer)

    monkeypatch.setattr(step, "sweep", hoarding)
    found = planned.native(plan, Method("train", 1)).stored_activation_bytes
    assert found >= 2 * 16 * 16 * 16  # the inputs of the layers below, at least


def test_the_exported_graphs_of_all_formats_store_no_activations(bundle: Bundle) -> None:
    footprints = bundle.footprints()
    assert set(footprints) == set(bundle.manifest.formats)
    for format, methods in footprints.items():
        assert set(methods) == {method.name for method in bundle.manifest.methods}
        for name, found in methods.items():
            assert found.stored_activation_bytes == 0, (format, name)
            plan = bundle.manifest.formats[format].memory[name]
            assert found.lower_bound_bytes <= plan.arena_bytes


def _arena(plan, method: Method, folder: Path, tile_bytes: int = 32_768) -> tuple[int, bytes]:
    state = filled(plan, random.Random(0), 1, None).state
    source = ExportSource(plan, state, (method,), tile_bytes=tile_bytes)
    written = executorch.write(source, folder, lambda *_: None)
    raw = (folder / executorch.PROGRAM).read_bytes()
    return written.memory[method.name].arena_bytes, raw


def test_the_training_arena_is_flat_in_depth_and_that_of_the_file(tmp_path: Path) -> None:
    from executorch.exir._serialize._program import deserialize_pte_binary

    arenas = []
    for depth in (2, 4):
        plan = plan_of("plain-16", "3x8x8", 10, depth, "df")
        arena, raw = _arena(plan, Method("train", 1), tmp_path)
        arenas.append(arena)
        program = deserialize_pte_binary(raw)
        program = getattr(program, "program", program)
        method = next(p for p in program.execution_plan if p.name == "train_b1")
        used = 0
        for value in method.values:
            tensor = value.val
            at = getattr(tensor, "allocation_info", None)
            if at is not None and at.memory_id == 1:
                offset = at.memory_offset_low + (at.memory_offset_high << 32)
                width = {0: 1, 1: 1, 3: 4, 4: 8, 6: 4, 11: 1}[int(tensor.scalar_type)]
                size = width
                for n in tensor.sizes:
                    size *= n
                used = max(used, offset + size)
        assert used <= arena <= 1.05 * used  # the plan, and what the shipped tensors touch
        computed = planned.stock(plan, Method("train", 1), "executorch", 32_768)
        assert computed.lower_bound_bytes <= arena <= 1.5 * computed.lower_bound_bytes
    assert arenas[1] <= 1.02 * arenas[0]
    natives = [
        planned.native(plan_of("plain-64", "3x32x32", 10, depth, "df"), Method("train", 1))
        for depth in (10, 20, 40)
    ]
    assert natives[2].lower_bound_bytes <= 1.02 * natives[0].lower_bound_bytes


@pytest.mark.parametrize("stretches", [1, 2])
def test_the_rival_takes_steps_of_back_propagation(stretches: int) -> None:
    plan = plan_of("digits", "1x8x8", 10, None, "df")
    x, y = example(plan, 4)
    eager = FloatLoss(plan)
    weights = dict(eager.net.named_parameters())
    trace = rivals.in_place(plan, 4, stretches)
    *made, found = trace.module(*(weights[name].detach() for name in trace.inputs[:-2]), x, y)
    loss = eager(x, y)[0]
    loss.backward()
    assert torch.allclose(found, loss, rtol=1e-5)
    for name, new in zip(trace.inputs, made, strict=False):
        wanted = weights[name].detach() - LEARNING_RATE * weights[name].grad
        assert torch.allclose(new, wanted, rtol=1e-4, atol=1e-6), name  # float32, another order


def test_the_profile_page_shows_the_numbers_of_the_json(bundle: Bundle, tmp_path: Path) -> None:
    from dfedge.profile.page import write_page
    from dfedge.profile.report import profile

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    report = profile(bundle, ["executorch"], calls=1)
    page = tmp_path / "report.html"
    write_page(report, bundle.footprints(), page)
    text = page.read_text()
    if chromium:  # what a reader's browser makes of it
        own = f"--user-data-dir={tmp_path / 'chromium'}"
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", own, "--dump-dom",
                   page.as_uri()]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        text = done.stdout
    assert text.count("<svg") == 3  # two schedules and the bars
    assert "http://" not in re.sub(
        r'(xmlns(:\w+)?|resource)="http[^"]*"|http://www\.w3[^"]*', "", text
    )
    shown = {
        (of, field): value
        for of, field, value in re.findall(
            r'data-of="([^"]+)" data-field="(\w+)" data-bytes="(\w+)"', text
        )
    }
    for name, need in report.renderings["executorch"].methods.items():
        for field in ("arena_bytes", "state_bytes", "lower_bound_bytes", "measured_peak_bytes"):
            assert shown[f"executorch/{name}", field] == str(getattr(need, field))
    for name, rival in report.rivals.items():
        assert shown[f"{name}/16", "arena_bytes"] == str(rival.arena_bytes)
    assert text.index("</h1>") < text.index('<p class="verdict">Training') < text.index("<svg")
    assert f'<b id="ratio_to_bp">{report.ratio_to_bp}</b>' in text
    ours, bp = report.methods["train_b16"], report.rivals["bp"]
    assert report.ratio_to_bp == round(
        (ours.arena_bytes + ours.state_bytes) / (bp.arena_bytes + bp.state_bytes), 4
    )
    assert bp.arena_bytes > report.rivals["bp_checkpoint"].arena_bytes
    assert report.methods == report.renderings["native"].methods


def test_state_of_a_replaced_plan_is_part_of_the_key() -> None:
    plan = plan_of("plain-16", "3x8x8", 10, 4, "df")
    frozen = replace(plan, cut=3)
    whole, part = (planned.stock(p, Method("train", 1), "onnx") for p in (plan, frozen))
    assert part.lower_bound_bytes <= whole.lower_bound_bytes
    assert json.dumps(part.layer_bytes)
