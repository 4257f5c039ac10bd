"""Bring your own model: translation, quantisation, the same bits, and what is refused."""

import os
import re
import shutil
from pathlib import Path

import foreign_nets
import numpy as np
import pytest
import torch
from conftest import once
from msgspec.structs import replace
from PIL import Image

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import dense
from dfedge.adoption.load import Model, load_graph, open_model
from dfedge.adoption.read import read
from dfedge.adoption.tables import Tables
from dfedge.adoption.taps import with_taps
from dfedge.bundle import Bundle
from dfedge.data.sources import load
from dfedge.device.care import NO_CARE
from dfedge.device.evaluate import evaluate
from dfedge.device.runners import open_runner
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters import traced
from dfedge.exporters.budget import check_possible, needs_bytes
from dfedge.exporters.fit import sized
from dfedge.exporters.lowered import Lowered
from dfedge.exporters.program import Method
from dfedge.exporters.write import ExportOptions, export, lowered
from dfedge.learn.run import Run
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import to_samples
from dfedge.learn.train import quantised_net
from dfedge.learn.trainer import accuracy
from dfedge.native.program import TRAIN
from dfedge.native.rendering import RENDERED, native_of
from dfedge.operations import Lookup
from dfedge.target import Budget, budget_of, load_target
from dfedge.verify import verify


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the foreign nets keep what they learned."""
    folder = once(tmp_path_factory, "foreign", lambda folder: folder.mkdir())
    os.environ[foreign_nets.WEIGHTS] = str(folder)


@pytest.fixture(scope="session")
def adopted_run(tmp_path_factory: pytest.TempPathFactory, weights: None) -> Run:
    options = AdoptOptions("foreign_nets:small", "digits")
    return Run.open(once(tmp_path_factory, "adopted", lambda folder: adopt(options, folder)))


@pytest.fixture(scope="session")
def adopted_bundle(tmp_path_factory: pytest.TempPathFactory, adopted_run: Run) -> Bundle:
    """Batch 1, two spare rows."""

    def make(folder: Path) -> None:
        export(adopted_run, ExportOptions(("onnx",), batch=1, spare_classes=2), folder)

    return Bundle.open(once(tmp_path_factory, "adopted-bundle", make))


# -- scales ------------------------------------------------------------------------------------


def test_groups_become_a_whole_convolution() -> None:
    x, w = torch.rand(1, 6, 5, 5), torch.rand(4, 3, 3, 3)
    found = torch.nn.functional.conv2d(x, dense(w, 2))
    assert torch.allclose(found, torch.nn.functional.conv2d(x, w, groups=2), atol=1e-5)


# -- translation ---------------------------------------------------------------------------------


FOLDED = (
    "small", "residual", "mobile", "last_windows", "scores_averaged", "shuffled", "split", "moved",
    "of_one_row",
)  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_the_folded_graph_computes_what_the_net_does(name: str) -> None:
    x, _ = foreign_nets.digits("test")
    torch.manual_seed(0)
    graph = fold(read(open_model(f"foreign_nets:{name}").program((8, 8, 1))))
    torch.manual_seed(0)
    net = getattr(foreign_nets, name)().eval()
    with torch.no_grad():
        assert torch.allclose(graph.result(x).flatten(1), net(x), atol=1e-3)
    assert not {"affine"} & {node.op for node in graph.nodes}


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_is_read_through_a_function(way: str) -> None:
    net = foreign_nets.small().eval()
    x, _ = foreign_nets.digits("test")
    made = torch.jit.script(net) if way == "script" else torch.jit.trace(net, x[:2])
    found = Model("net", made).graph((8, 8, 1)).result(x[:50]).flatten(1)
    with torch.no_grad():
        assert torch.allclose(found, net(x[:50]), atol=1e-3)


def test_what_torchvision_and_timm_write_otherwise_is_folded(tmp_path: Path) -> None:
    x, _ = foreign_nets.digits("test")
    graph = fold(read(open_model("foreign_nets:patterns").program((8, 8, 1))))
    with torch.no_grad():
        assert torch.allclose(graph.result(x).flatten(1), foreign_nets.patterns()(x), atol=1e-4)
    ops = [node.op for node in graph.nodes]
    assert ops == ["input", "conv", "max", "conv", "conv", "conv", "conv"]
    stem, branches, average, deep, _ = (node for node in graph.nodes if node.op == "conv")
    assert stem.pads == (0, 1, 0, 1)
    assert (branches.kernel, branches.groups) == ((3, 3), 1)
    assert (average.kernel, average.groups) == ((3, 3), 8)
    assert (deep.kernel, deep.groups, deep.stride) == ((3, 3), 8, 2)
    found = adopt(AdoptOptions("foreign_nets:patterns", "digits"), tmp_path / "run")
    assert min(loss.snr for loss in found.losses) > 20, found.losses


def test_a_saved_export_is_adopted_like_the_function(adopted_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    program = torch.export.export(foreign_nets.small(), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(program, file)
    run = adopt(AdoptOptions(str(file), "digits"), tmp_path / "run").run
    assert run.plan.trunk == adopted_run.plan.trunk
    for name, value in run.constants().items():
        assert torch.equal(value, adopted_run.constants()[name])


@pytest.mark.parametrize(
    ("name", "learn"),
    [
        ("small", "last:1"),
        ("small", "heads:stem,project,top"),
        ("residual", "last:1"),
        ("residual", "all"),
        ("mobile", "last:2"),
        ("mobile", "all"),
    ],
)
def test_blocks_start_where_the_net_was(name: str, learn: str, tmp_path: Path) -> None:
    found = adopt(AdoptOptions(f"foreign_nets:{name}", "digits", learn=learn), tmp_path / "run")
    assert found.accuracy >= found.float_accuracy - 0.02
    assert (found.run.plan.trunk is None) == (learn == "all")


def test_taps_leave_the_scores_and_bring_every_layer_to_one_size() -> None:
    x = torch.rand(64, 1, 8, 8)
    graph = fold(read(open_model("foreign_nets:small").program((8, 8, 1))))
    wanted = graph.result(x)
    tapped = with_taps(graph, ["stem", "project"], x)
    assert torch.equal(tapped.result(x), wanted)
    vector = tapped.result(x, len(tapped.nodes) - 2)
    assert vector.shape == (64, 24 + 8 + 8, 1, 1)
    tops = [part.amax() for part in vector.split([24, 8, 8], 1)]
    assert all(0.2 < top / tops[0] <= 1.01 for top in tops)


def test_groups_are_kept_as_groups(tmp_path: Path) -> None:
    run = adopt(AdoptOptions("foreign_nets:grouped", "digits"), tmp_path / "run").run
    kept = {tuple(one.shape) for name, one in run.constants().items() if "weight" in name}
    assert kept == {(9, 1, 8), (9, 2, 12), (2, 4, 6), (9, 1, 12)}
    trunk = run.plan.trunk
    assert trunk is not None
    bytes_ = 72 + 216 + 48 + 108 + 12 * (8 + 12 + 6 + 12)  # and three words an output
    lookups = 128 * sum(isinstance(one, Lookup) for one in trunk.operations)
    assert sum(one.numel() * one.element_size() for one in run.constants().values()) == (
        bytes_ + lookups
    )


def test_features_count_beside_the_scores(adopted_run: Run) -> None:
    net = quantised_net(adopted_run)
    assert net.counted == (0, 1)


def test_int8_is_within_a_point_of_float(adopted_run: Run) -> None:
    row = adopted_run.metrics()[0]
    assert row["float_accuracy"] > 0.95
    assert row["test_accuracy"] >= row["float_accuracy"] - 0.01
    assert min(loss["snr"] for loss in row["losses"]) > 20


# -- programs ------------------------------------------------------------------------------------


def test_the_program_holds_the_same_bits(adopted_bundle: Bundle) -> None:
    found = verify(adopted_bundle, 10)
    assert found.identical, found.first_difference
    assert set(found.runtimes) == {"onnx", "onnx-native", "native", "pytorch"}


@pytest.mark.parametrize(("name", "each"), [("moved", False), ("tiny", True), ("grouped", False)])
def test_every_runtime_holds_the_same_bits(
    name: str, each: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with tables for each channel."""
    monkeypatch.setattr(Tables, "_pays", lambda *_: each)
    run = adopt(AdoptOptions(f"foreign_nets:{name}", "digits"), tmp_path / "run").run
    assert run.plan.trunk is not None
    assert each == any(one.each for one in run.plan.trunk.operations if isinstance(one, Lookup))
    formats = ("onnx", "litert", "executorch", "c")
    options = ExportOptions(formats, batch=1, trial=False)
    found = verify(export(run, options, tmp_path / "bundle"), 10)
    assert found.identical, found.first_difference
    assert set(found.runtimes) == {*formats, *map(native_of, RENDERED), "native", "pytorch"}


def test_a_trunk_is_lowered_once_for_each_batch_size_and_format(
    adopted_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, whole = [], Lowered._trunk
    monkeypatch.setattr(
        Lowered, "_trunk",
        lambda self, batch: made.append((self.format.name, batch)) or whole(self, batch),
    )  # fmt: skip
    traced.traced_trunk.cache_clear()
    options = ExportOptions(("onnx", "litert"), batch=2, rendering="stock", trial=False)
    found = verify(export(adopted_run, options, tmp_path / "bundle"), 3)
    assert found.identical, found.first_difference
    assert sorted(made) == [("litert", 1), ("litert", 2), ("onnx", 1), ("onnx", 2)]
    assert traced.traced_trunk.cache_info().misses == 2


def test_errors_cross_from_the_scores_into_the_features(tmp_path: Path) -> None:
    options = AdoptOptions("foreign_nets:mobile", "digits", learn="last:2")
    run = adopt(options, tmp_path / "run").run
    for rule in ("df", "df-o", "df-r"):
        options = ExportOptions(("onnx", "c"), batch=2, rule=rule, trial=False)
        found = verify(export(run, options, tmp_path / rule), 5)
        assert found.identical, (rule, found.first_difference)


def test_the_program_is_as_accurate_as_the_host_says(adopted_bundle: Bundle) -> None:
    split = load("digits").cut(0).splits["test"]
    session = Session.open(adopted_bundle, "onnx", initial=True, read_only=True)
    assert evaluate(session, split).accuracy == adopted_bundle.manifest.test_accuracy


def test_constants_are_no_part_of_the_state(adopted_bundle: Bundle) -> None:
    assert not [n for n in adopted_bundle.manifest.state_names if "trunk" in n or n[0].isdigit()]
    trunk = adopted_bundle.manifest.plan.trunk
    assert trunk is not None
    assert trunk.flaw(adopted_bundle.constants()) is None


def test_a_latent_teaches_what_its_image_does(adopted_bundle: Bundle, tmp_path: Path) -> None:
    split = load("digits").cut(0).splits["train"]
    by_image, by_latent = (
        Session.open(adopted_bundle, "onnx", tmp_path / name, care=NO_CARE) for name in ("a", "b")
    )
    for i in range(5):
        x, y = split.x[i : i + 1], (split.y[i : i + 1] + 1) % 10
        by_image.learn_batch(x, y)
        by_latent.learn_latents(by_latent.latents(by_latent.input(x)), y)
    state, other = by_image.runner.get_state(), by_latent.runner.get_state()
    assert all(np.array_equal(state[name], other[name]) for name in state)
    assert by_image.digest() != Session.open(adopted_bundle, "onnx", initial=True).digest()


def test_the_commands_take_an_adopted_run(dfedge, adopted_run: Run, tmp_path: Path) -> None:
    again = dfedge("calibrate", adopted_run.folder, "--explain", "--json")
    assert again.code == 0, again.err
    losses = {lost["name"]: lost["snr"] for lost in again.json["losses"]}
    assert losses["layer0"] > 15
    assert losses["stem.0 (conv)"] > 20
    net = quantised_net(adopted_run)
    test = load_data(adopted_run.plan).splits["test"]
    samples = to_samples(test, "cpu", adopted_run.plan.trunk, adopted_run.constants())
    assert accuracy(net, samples) > 0.95


def test_fit_counts_the_trunk_in_every_format(dfedge, tmp_path: Path) -> None:
    run = adopt(AdoptOptions("foreign_nets:tiny", "digits"), tmp_path / "run").run
    fitted = dfedge("fit", tmp_path / "run", "--format", "onnx", "--format", "c",
                    "--budget", "8KB", "--json")  # fmt: skip
    assert fitted.code == 0, fitted.err
    assert fitted.json["c"]["batch"] >= fitted.json["onnx"]["batch"] >= 1
    bare = replace(sized(run, ExportOptions(("c",))), trunk=None)
    without = needs_bytes(bare, Method("infer", 1), "c", budget_of(load_target("host"), "host"))
    assert fitted.json["c"]["infer_bytes"] > without


def test_a_trunk_that_exceeds_the_flash_is_refused_at_once(
    adopted_run: Run, tmp_path: Path
) -> None:
    plan, _ = lowered(adopted_run)
    small = Budget("a target", 1 << 20, 2000)
    with pytest.raises(DfedgeError, match=r"constants \(.* B\).*exceed the 1.95 KiB of flash"):
        check_possible(small, plan, 1)


def test_profile_knows_the_interpreters_arena_of_an_adopted_net(
    dfedge, adopted_bundle: Bundle
) -> None:
    profiled = dfedge("profile", adopted_bundle.folder, "--json")
    assert profiled.code == 0, profiled.err
    methods = profiled.json["renderings"]["native"]["methods"]
    interpreted = open_runner(adopted_bundle, "native").program  # type: ignore[attr-defined]
    assert methods["train_b1"]["arena_bytes"] == interpreted.arena_bytes(TRAIN, 1)
    assert set(profiled.json["rivals"]) == {
        "bp",
        "bp_checkpoint",
        "bp_accumulated",
        "bp_int8_ideal",
    }
    assert 0 < profiled.json["ratio_to_bp"] < 1


def test_fit_tries_what_should_learn_and_marks_what_fits(dfedge, weights: None) -> None:
    given = ("fit", "foreign_nets:residual", "--adopt", "--data", "digits", "--samples", "500")
    tried = ("--learn", "head", "--learn", "all", "--learn", "last:9", "--shift", "rotate:45")
    done = dfedge(*given, *tried, "--format", "onnx", "--budget", "48KB", "--json")
    head, everything, beyond = done.json["choices"]
    assert head["before"] + 0.1 < head["after"] <= everything["after"]
    assert head["original_before"] > 0.9
    assert head["state_bytes"] < everything["state_bytes"]
    assert head["constants_bytes"] > everything["constants_bytes"] == 0
    assert (head["fits"], everything["fits"], beyond["fits"]) == (True, False, False)
    assert "the net has 3 blocks" in beyond["refused"]
    assert done.json["best"] == "head"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--adopt"], 2, "--adopt needs --data"),
        (["--adopt", "--data", "digits", "--samples", "1000"], 1, "at most --samples 5"),
        (
            ["--adopt", "--data", "digits", "--samples", "99", "--learn", "tail"],
            2,
            "unknown --learn 'tail'",
        ),
        (["--adopt", "--data", "digits", "--shift", "melt"], 2, "melt"),
    ],
)
def test_fit_refuses_what_it_cannot_try(
    dfedge, weights: None, options: list[str], code: int, said: str
) -> None:
    done = dfedge("fit", "foreign_nets:residual", *options)
    assert done.code == code, done.err
    assert said in done.err


def test_a_class_is_added_to_an_adopted_net(dfedge, adopted_bundle: Bundle, tmp_path: Path) -> None:
    split = load("digits").cut(0).splits["train"]
    ones = split.x[split.y == 1][:10]
    np.savez(tmp_path / "new.npz", x=255 - ones, y=np.zeros(10, np.int64))
    said = dfedge("add-class", adopted_bundle.folder, "negative", "--samples",
                  tmp_path / "new.npz", "--state", tmp_path / "state", "--json")  # fmt: skip
    assert said.code == 0, said.err
    session = Session.open(adopted_bundle, "onnx", tmp_path / "state")
    assert session.predict(255 - split.x[split.y == 1][11]).name == "negative"


@pytest.mark.parametrize("end", ["softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("suffix", ["", ".pt2", ".onnx"])
def test_what_only_makes_probabilities_of_the_scores_is_left_out(
    end: str, suffix: str, tmp_path: Path
) -> None:
    net = getattr(foreign_nets, f"ends_in_{end}")().eval()
    wanted, x = foreign_nets.plain_scores().eval(), torch.rand(3, 1, 8, 8)
    model = f"foreign_nets:ends_in_{end}"
    if suffix:
        model = str(tmp_path / f"net{suffix}")
    if suffix == ".pt2":
        torch.export.save(torch.export.export(net, (x,)), model)
    elif suffix:
        torch.onnx.export(net, (x,), model, dynamo=False)
    graph = load_graph(model, (8, 8, 1))
    assert len(graph.left_out) == 1
    assert torch.allclose(graph.result(x).flatten(1), wanted(x), atol=1e-6)


def test_what_is_left_out_is_said(tmp_path: Path, dfedge) -> None:
    said = dfedge(
        "adopt", "foreign_nets:ends_in_softmax", "--data", "digits", "--out", tmp_path / "r"
    )
    assert said.code == 0
    assert "left out: softmax" in said.out and "the order of the scores is the same" in said.out


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_pictures_in_a_folder_are_read_at_the_size_of_the_nets_file(
    suffix: str, tmp_path: Path, dfedge
) -> None:
    rng = np.random.default_rng(0)
    for name in "0123456789":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (40 + i, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.jpg")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 10),
    ).eval()  # fmt: skip
    model, x = str(tmp_path / f"net{suffix}"), torch.rand(1, 3, 72, 48)
    if suffix == ".pt2":
        torch.export.save(torch.export.export(net, (x,)), model)
    else:
        torch.onnx.export(net, (x,), model, dynamo=False)
    assert open_model(model).size == (72, 48, 3)
    done = dfedge("adopt", model, "--data", tmp_path / "photos", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    image = Run.open(tmp_path / "run").plan.input
    assert (image.height, image.width, image.channels) == (72, 48, 3)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "code", "said"),
    [
        ("foreign_nets:with_softmax", [], 1, "operation '_?softmax.*module '1'.*leave softmax out"),
        ("foreign_nets:softmax_over_samples", [], 1, "softmax.*over axis 0.*over the scores"),
        ("foreign_nets:pooled_to_more", [], 1, "from 6 x 6 to 7 x 7.*module '2'.*that divide"),
        ("foreign_nets:turned", [], 1, "(transpose|permute).*module '2'.*whole channels"),
        ("foreign_nets:two_heads", [], 1, r"returns 2 results \(10, 4 a sample\)"),
        ("foreign_nets:cubic", [], 1, "upsample_bicubic2d.*module '2'.*mode nearest"),
        ("foreign_nets:branching", [], 1, "torch.export cannot follow it.*no branch"),
        (
            "foreign_nets:seven_scores",
            [],
            1,
            "7 scores, and the data have 10 classes; --classes FILE",
        ),
        ("foreign_nets:not_finite", [], 1, "0.weight.*not finite"),
        ("foreign_nets:no_net", [], 1, "returned int"),
        ("foreign_nets:nowhere", [], 1, "nowhere"),
        ("no_such_module:net", [], 1, "no_such_module"),
        ("missing.onnx", [], 2, "no such file"),
        ("missing.pt2", [], 2, "no such file"),
        ("foreign_nets", [], 2, "package.module:function"),
        ("foreign_nets:small", ["--learn", "tail"], 2, "unknown --learn 'tail'; known: all, head"),
        ("foreign_nets:small", ["--learn", "last:0"], 2, "known"),
        ("foreign_nets:small", ["--learn", "last:9"], 2, "at most: --learn last:1"),
        ("foreign_nets:small", ["--learn", "all"], 2, "at most"),
        ("foreign_nets:small", ["--learn", "heads:"], 2, "known: all, head, heads:NAME,NAME"),
        ("foreign_nets:small", ["--learn", "heads:top,b"], 2, "layer 'b'; known: .*top"),
        ("foreign_nets:small", ["--learn", "heads:top,top"], 2, "'top' is there twice"),
        ("foreign_nets:small", ["--learn", "heads:last"], 2, "is what the scores see"),
        ("foreign_nets:small", ["--mean", "1,2"], 2, "1 numbers each"),
        ("foreign_nets:small", ["--std", "x"], 2, "numbers joined by commas"),
        ("foreign_nets:small", ["--recipe", "none"], 2, "unknown recipe"),
    ],
)
def test_what_cannot_be_adopted_gets_one_clear_error(
    dfedge, tmp_path: Path, model: str, options: list[str], code: int, said: str
) -> None:
    out = tmp_path / "run"
    result = dfedge("adopt", model, "--data", "digits", "--out", out, *options)
    assert result.code == code, result.err
    assert re.search(said, result.err), result.err
    assert "Traceback" not in result.err and result.err.count("error:") == 1
    assert not out.exists()


def test_a_dynamic_shape_is_refused(tmp_path: Path) -> None:
    file, side = tmp_path / "net.pt2", torch.export.Dim("side", min=4, max=64)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1),
                              torch.nn.Flatten(), torch.nn.Linear(4, 10))  # fmt: skip
    program = torch.export.export(net, (torch.zeros(1, 1, 8, 8),), dynamic_shapes=({2: side},))
    torch.export.save(program, file)
    with pytest.raises(DfedgeError, match="dynamic shape"):
        adopt(AdoptOptions(str(file), "digits"), tmp_path / "run")


def test_constants_of_another_trunk_are_refused(adopted_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(adopted_run.folder, folder)
    run = Run.open(folder)
    changed = dict(run.constants())
    changed.pop("0.bias")
    run.write_constants(changed)
    with pytest.raises(DfedgeError, match=r"constants 0\.bias"):
        run.constants()
