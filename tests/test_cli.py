import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import DOCUMENTED
from PIL import Image
from safetensors.numpy import load_file

from dfedge.bundle import Bundle
from dfedge.cli.app import app
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.learn.run import Run
from dfedge.runtimes import formats

COMMANDS = ["train", "adopt", "calibrate", "fit", "export", "predict", "live", "evaluate",
            "finetune", "add-class", "continual", "show", "profile", "verify", "sign", "bench",
            "doctor", "demo", "reproduce"]  # fmt: skip

GROUPS = {
    "state": ["show", "export", "import", "diff", "rebase", "reset"],
    "fleet": ["delta", "merge", "take", "status", "learn", "simulate", "new", "gateway"],
}


def test_commands_are_the_route_in_its_order() -> None:
    assert [command.name for command in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_an_example_and_a_place_in_the_docs(command: str, dfedge) -> None:
    result = dfedge(command, "--help")
    assert result.code == 0
    assert "Example:" in result.out
    assert f"dfedge {command}" in result.out
    assert f"dfedge {command}" in DOCUMENTED


@pytest.mark.parametrize(
    ("group", "command"), [(group, command) for group in GROUPS for command in GROUPS[group]]
)
def test_every_command_of_a_group_has_help_an_example_and_a_place_in_the_docs(
    group: str, command: str, dfedge
) -> None:
    result = dfedge(group, command, "--help")
    assert "Example:" in result.out
    assert f"dfedge {group} {command}" in result.out
    assert f"dfedge {group} {command}" in DOCUMENTED


def test_training_that_stops_after_its_minutes_says_so_and_goes_on(dfedge, tmp_path: Path) -> None:
    command = ["train", "--epochs", "1", "--loss", "softmax", "--out", str(tmp_path / "run")]
    first = dfedge(*command, "--minutes", "1e-9")
    assert first.code == 0
    assert "epochs done: 1; the same command goes on" in first.out
    second = json.loads(dfedge(*command, "--json").out)
    assert second["finished"]
    assert second["test_accuracy"]["float"] > 0.5
    assert dfedge(*command, "--minutes", "-1").code == 2


def test_help_needs_no_torch_and_no_runtime() -> None:
    code = (
        "import sys; sys.argv = ['dfedge', 'predict', '--help']\n"
        "import dfedge.cli.app as a\n"
        "try: a.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnxruntime', 'executorch', 'onnx', 'sklearn', 'matplotlib', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_targets_and_doctor_speak_json(dfedge, bundle: Bundle) -> None:
    assert dfedge("targets", "list", "--json").json["rp2350"]["ram_bytes"] == 520 * 1024
    answer = dfedge("doctor", bundle.folder, "--json").json
    assert {p["name"] for p in answer["parts"]} >= {"onnxruntime", "executorch", "torch"}
    assert all(trial["good"] for trial in answer["bundle"])
    assert all("8 golden training steps" in trial["result"] for trial in answer["bundle"])


def test_predict_reads_images_and_arrays(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    from dfedge.data.sources import load

    test = load("digits").splits["test"]
    Image.fromarray(test.x[0, ..., 0]).save(tmp_path / "a.png")
    np.savez(tmp_path / "b.npz", x=test.x[1:3])
    result = dfedge("predict", bundle.folder, tmp_path / "a.png", tmp_path / "b.npz", "--json",
                    "--state", tmp_path / "none")  # fmt: skip
    rows = result.json["predictions"]
    assert [row["label"] for row in rows] == test.y[:3].tolist()
    assert rows[2]["file"].endswith("b.npz[1]")
    assert result.json["state"] == "the bundle's own"
    plain = dfedge("predict", bundle.folder, tmp_path / "a.png", "--initial")
    cells = [line.split("│")[1].strip() for line in plain.out.splitlines() if line[:1] == "│"]
    assert "".join(cells) == str(tmp_path / "a.png")  # a long path is folded, never cut
    assert "state: the bundle's own" in plain.out


def test_a_file_to_write_may_lie_in_a_folder_that_is_not_there_yet(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    state = ("--state", tmp_path / "s")
    dfedge("finetune", bundle.folder, "--data", "digits", "--samples", 16, *state)
    state_file, page = tmp_path / "a" / "x" / "state", tmp_path / "b" / "x" / "page.html"
    delta, base, step = (tmp_path / name / "x" / f"f.{name}" for name in ("delta", "base", "step"))
    for words in (
        ("state", "export", bundle.folder, state_file, *state),
        ("fleet", "delta", bundle.folder, "--out", delta, *state),
        ("fleet", "merge", bundle.folder, delta, "--out", base, "--step", step),
        ("profile", bundle.folder, "--runtime", "onnx", "--no-rivals", "--html", page),
    ):
        assert dfedge(*words).code == 0, words
    assert all(path.is_file() for path in (state_file, page, delta, base, step))


def test_finetune_then_evaluate_uses_and_names_the_learned_state(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle.folder, copy)
    turned = ("--data", "digits", "--shift", "rotate:90")
    before = dfedge("evaluate", copy, *turned, "--json").json
    learned = dfedge("finetune", copy, *turned, "--samples", 640, "--runtime", "executorch").out
    assert "learned 640 presentations of 437 samples in 40 steps on executorch" in learned
    after = dfedge("evaluate", copy, *turned, "--json").json
    assert (before["state"], after["samples"]) == ("the bundle's own", 360)
    assert "640 presentations" in after["state"]
    assert after["accuracy"] > before["accuracy"] + 0.5
    ignored = dfedge("evaluate", copy, *turned, "--json", "--initial").json
    assert ignored["accuracy"] == before["accuracy"]
    again = dfedge("finetune", copy, *turned, "--samples", 16).out
    assert "656 presentations in all" in again


def test_learned_state_is_shown_taken_along_compared_and_dropped(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "learned.safetensors"
    state = ("--json", "--state", here)
    nothing = dfedge("state", "show", bundle.folder, *state).json
    assert (nothing["slot"], nothing["step"]) == (None, 0)
    assert nothing["state_sha256"] == bundle.manifest.state_sha256
    assert dfedge("state", "export", bundle.folder, file, *state).code == 1
    learned = dfedge("finetune", bundle.folder, "--data", "digits", "--shift", "rotate:90",
                     "--steps", 30, "--save-every", 8, "--no-guard", *state).json  # fmt: skip
    shown = dfedge("state", "show", bundle.folder, *state).json
    assert (shown["step"], shown["samples"], shown["sequence"]) == (30, 480, 4)
    assert (shown["state_sha256"], shown["bundle"]) == (learned["state_sha256"], bundle.sha256)
    assert dfedge("state", "export", bundle.folder, file, *state).json["step"] == 30
    assert dfedge("state", "import", bundle.folder, file, "--state", there).code == 0
    moved = dfedge("state", "show", bundle.folder, "--state", there, "--json").json
    assert moved["state_sha256"] == learned["state_sha256"]
    rows = {
        row["tensor"]: row for row in dfedge("state", "diff", bundle.folder, *state).json["moved"]
    }
    initial, now = bundle.initial_state(), load_file(file)
    for name, row in rows.items():
        step = np.abs(now[name].astype(int) - initial[name])
        assert row["changed"] == pytest.approx((step > 0).mean(), abs=1e-4)
        assert row["largest_step"] == step.max()
    assert rows["layer2.anchors"]["changed"] > 0.1
    same = dfedge("state", "diff", bundle.folder, "--against", file, *state).json["moved"]
    assert {row["largest_step"] for row in same} == {0}
    assert dfedge("state", "reset", bundle.folder, *state).code == 2
    assert dfedge("state", "reset", bundle.folder, "--yes", *state).code == 0
    assert dfedge("state", "show", bundle.folder, *state).json == nothing


def test_foreign_or_changed_state_is_not_imported(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    from dfedge.device.store import StateRecord, exchange

    state, own = bundle.initial_state(), StateRecord(bundle.sha256)
    wild = {**state, "phase": np.array(-1, np.int32)}
    for raw, message in (
        (exchange.write(state, StateRecord("ab" * 32)), "is of another bundle"),
        (exchange.write({k: v for k, v in state.items() if k != "live"}, own), "'live' is missing"),
        (exchange.write(wild, own), "'phase' reaches from -1 to -1; allowed: 0 to 65535"),
        (b"nothing", "cannot be read as a state"),
    ):
        (tmp_path / "file").write_bytes(raw)
        result = dfedge("state", "import", bundle.folder, tmp_path / "file", "--state",
                        tmp_path / "new")  # fmt: skip
        assert (result.code, result.out) == (1, "")
        assert message in result.err
        assert not (tmp_path / "new").exists()


def test_signed_bundle_runs_where_a_signature_is_required(
    dfedge, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, key = tmp_path / "b", tmp_path / "maker.pem"
    shutil.copytree(bundle.folder, copy)
    data = ("--data", "digits", "--split", "test", "--json")
    assert dfedge("sign", copy, "--key", key).code == 1  # there is no key yet
    signed = dfedge("sign", copy, "--key", key, "--new-key", "--json").json
    assert signed["bundle"] == bundle.sha256
    verified = dfedge("verify", copy, "--key", tmp_path / "maker.pub", "--steps", 1, "--json")
    assert verified.json["identical"]
    required = ("--require-signature", tmp_path / "maker.pub")
    assert dfedge("evaluate", copy, *data, *required).json["samples"] == 360
    for args in (("evaluate", bundle.folder, *data, *required),
                 ("finetune", bundle.folder, *data, *required, "--state", tmp_path / "new"),
                 ("predict", bundle.folder, "none.png", *required),
                 ("continual", bundle.folder, *data[:2], "--stream", "drift", *required),
                 ("add-class", bundle.folder, "new", "--samples", "none.png", *required),
                 ("verify", bundle.folder, "--key", tmp_path / "maker.pub")):  # fmt: skip
        result = dfedge(*args)
        assert (result.code, result.out) == (1, "")
        assert "is not signed" in result.err
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", str(tmp_path / "maker.pub"))
    assert dfedge("evaluate", bundle.folder, *data).code == 1
    assert dfedge("evaluate", copy, *data).code == 0


def test_bad_samples_of_a_stream_are_skipped_and_counted(
    dfedge, bundle: Bundle, tmp_path: Path
) -> None:
    x = np.full((20, 8, 8), 0.5)
    x[3] = np.nan
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20) % 11)  # label 10 is none, once
    args = ("finetune", bundle.folder, "--data", tmp_path / "x.npz", "--samples", 32, "--json",
            "--state", tmp_path / "s")  # fmt: skip
    assert dfedge(*args).code == 1
    assert not (tmp_path / "s").exists()
    found = dfedge(*args, "--on-bad-sample", "skip")
    assert found.json["skipped"] == {"value": 1, "label": 1}
    assert "skipped 1 samples: label" in found.err


def test_damaged_slot_is_passed_over_aloud(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    learn = ("finetune", bundle.folder, "--data", "digits", "--steps", 4, "--save-every", 2,
             "--no-guard", "--json", "--state", tmp_path)  # fmt: skip
    whole = dfedge(*learn).json
    newest = tmp_path / whole["slot"]
    newest.write_bytes(newest.read_bytes()[:999])
    shown = dfedge("state", "show", bundle.folder, "--state", tmp_path)
    assert f"{whole['slot']} is damaged" in shown.err
    again = dfedge(*learn)  # the two steps that were lost are learned again, to the same bytes
    assert again.json["resumed"] == 32
    assert again.json["state_sha256"] == whole["state_sha256"]


def test_profile_tells_plans_measurements_and_draws(dfedge, bundle: Bundle, tmp_path: Path) -> None:
    svg = tmp_path / "memory.svg"
    report = dfedge("profile", bundle.folder, "--runtime", "onnx", "--calls", 2, "--json",
                    "--target", "raspberry-pi-zero-2-w", "--plot", svg).json  # fmt: skip
    made = report["renderings"]
    assert set(made) == {*bundle.manifest.formats, "native"}
    assert all(len(one["methods"]) == 6 for one in made.values())
    state = sum(value.nbytes for value in bundle.initial_state().values())
    train = made["onnx"]["methods"]["train_b1"]
    assert train["state_bytes"] == state
    assert train["stored_activation_bytes"] == 0
    assert report["methods"]["train_b1"] == made["native"]["methods"]["train_b1"]
    assert report["rendering"] == "native"
    assert 0 < report["ratio_to_bp"] < made["onnx"]["methods"]["train_b1"]["arena_bytes"]
    assert set(report["rivals"]) == {"bp", "bp_checkpoint", "bp_accumulated", "bp_int8_ideal"}
    assert report["target_ram_bytes"] == 512 * 1024 * 1024
    assert all(row["peak_bytes"] > row["before_bytes"] > 0 for row in report["measured"])
    assert svg.read_text().lstrip().startswith("<?xml")


def test_bench_measures_runtimes_and_rivals_in_one_run(
    dfedge, mcu_run: Run, tmp_path: Path
) -> None:
    bundle = export(mcu_run, ExportOptions(("onnx",)), tmp_path / "bundle")
    out = tmp_path / "bench.json"
    of = ("--runtime", "onnx", "--runtime", "native", "--threads", 1, "--seconds", 0.01)
    found = dfedge("bench", bundle.folder, *of, "--json", "--out", out).json
    assert json.loads(out.read_text()) == found
    rows = {(row["contender"], row["method"]): row for row in found["rows"]}
    assert set(rows) == {
        *((name, f"{kind}_b{n}") for name in ("onnx", "native", "pytorch-bp")
          for kind in ("train", "infer") for n in (1, 16)),
        ("executorch-bp", "train_b1"), ("executorch-bp", "train_b16"),
        *((f"{name}-int8", f"infer_b{n}") for name in ("onnx", "litert") for n in (1, 16)),
    }  # fmt: skip
    step, rival = rows["onnx", "train_b16"], rows["pytorch-bp", "train_b16"]
    assert step["ratios"]["pytorch-bp"] == pytest.approx(rival["ms"] / step["ms"], abs=0.02)
    assert rival["ratios"] == {}
    assert list(found["not_run"]) == ["ort-training-bp"]


@pytest.mark.parametrize("steps", [3, 12])
def test_verify_names_every_runtime_and_its_state(dfedge, bundle: Bundle, steps: int) -> None:
    found = dfedge("verify", bundle.folder, "--steps", steps, "--json").json
    assert (found["identical"], found["steps"], found["first_difference"]) == (True, steps, None)
    assert set(found["runtimes"]) == {*formats(), "native", "pytorch"}
    assert len(set(found["runtimes"].values())) == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["train", "--data", "digit", "--out", "{new}"], 2, "unknown data set 'digit'"),
        (["train", "--rule", "x", "--out", "{new}"], 2, "unknown rule 'x'"),
        (["train", "--net", "x", "--out", "{new}"], 2, "unknown net 'x'"),
        (["train", "--batch", "0", "--out", "{new}"], 2, "training settings"),
        (["train", "--device", "cuda", "--out", "{new}"], 2, "--device cuda"),
        (["train", "--data", "mnist", "--data-dir", "{tmp}", "--out", "{new}"], 1, "not found"),
        (["calibrate", "{run}", "--recipe", "x"], 2, "unknown recipe 'x'"),
        (["calibrate", "{tmp}"], 1, "is not a run folder"),
        (["export", "{run}", "--format", "x", "--out", "{new}"], 2, "unknown format 'x'"),
        (["export", "{run}", "--target", "x", "--out", "{new}"], 2, "unknown target 'x'"),
        (["export", "{run}", "--out", "{run}"], 1, "is not a bundle"),
        (["predict", "{bundle}", "{new}"], 1, "no such file"),
        (["predict", "{tmp}", "{new}"], 1, "is not a bundle"),
        (["evaluate", "{bundle}", "--data", "{new}.npz"], 2, "no such data"),
        (["evaluate", "{bundle}", "--data", "digits", "--split", "x"], 2, "known: stream, test"),
        (["evaluate", "{bundle}", "--data", "digits", "--shift", "x"], 2, "unknown shift"),
        (["finetune", "{bundle}", "--data", "digits", "--runtime", "x"], 2, "unknown runtime"),
        (["finetune", "{bundle}", "--data", "{labels}", "--state", "{new}"], 1, "label 12"),
        (
            ["finetune", "{bundle}", "--data", "digits", "--state", "{labels}"],
            1,
            "not a state folder",
        ),
        (["profile", "{bundle}", "--target", "x"], 2, "unknown target"),
        (["profile", "{bundle}", "--runtime", "x"], 2, "unknown runtime"),
        (["verify", "{bundle}", "--runtime", "x"], 2, "unknown runtime"),
        (["verify", "{tmp}"], 1, "is not a bundle"),
        (["verify", "{bundle}", "--steps", "0"], 2, "--steps"),
        (["bench", "{bundle}", "--runtime", "x"], 2, "unknown runtime"),
        (["bench", "{bundle}", "--threads", "0"], 2, "--threads 0"),
        (["bench", "{bundle}", "--ort-training", "{new}"], 2, "no such file"),
        (["nonsense"], 2, "No such command"),
        (["sign", "{bundle}", "--key", "{new}"], 1, "no such key"),
        (["state", "import", "{bundle}", "{new}"], 1, "cannot be read"),
        (["state", "diff", "{bundle}", "--against", "{new}"], 1, "cannot be read"),
        (["finetune", "{bundle}", "--data", "digits", "--on-bad-sample", "x"], 2, "known: skip"),
        (["finetune", "{bundle}", "--data", "digits", "--steps", "1", "--samples", "1"], 2, "one"),
        (["finetune", "{bundle}", "--data", "digits", "--samples", "0"], 2, "--samples"),
    ],
)
def test_bad_input_is_one_clear_error_and_writes_nothing(
    dfedge, bundle: Bundle, run_folder: Path, tmp_path: Path, args, code: int, message: str
) -> None:
    labels = tmp_path / "labels.npz"
    np.savez(labels, x=np.zeros((2, 8, 8), np.uint8), y=np.array([1, 12]))
    places = {"{new}": tmp_path / "new", "{tmp}": tmp_path, "{run}": run_folder,
              "{bundle}": bundle.folder, "{labels}": labels}  # fmt: skip
    before = sorted(run_folder.rglob("*"))
    for mark, place in places.items():
        args = [arg.replace(mark, str(place)) for arg in args]
    result = dfedge(*args)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.npz"]
    assert sorted(run_folder.rglob("*")) == before
