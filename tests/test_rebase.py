"""An update of the program: which state moves to which bundle, and which bundle is too old."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import once
from trials.manifests import rehashed

from dfedge.bundle import Bundle, read_head
from dfedge.data.dataset import Split
from dfedge.data.sources import load_split
from dfedge.device.care import NO_CARE
from dfedge.device.classes import add_class
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import (
    SLOTS,
    FinetuneJob,
    StateRecord,
    Store,
    StoredState,
    belonging,
    exchange,
)
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.write import ExportOptions, export
from dfedge.integrity import signature
from dfedge.learn.lineage import lineage
from dfedge.learn.run import Run
from dfedge.learn.train import calibrate_run
from dfedge.manifest import MANIFEST, SEMANTICS_VERSION

RATES = ("weight_shift", "anchor_shift", "usual_error", "pace")


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Path:
    """Version 2 of the shared run's bundle: another format, batch and choice of rates."""

    def make(folder: Path) -> None:
        options = ExportOptions(("onnx",), batch=8, rendering="stock", trial=False, version=2)
        export(Run.open(run_folder), options, folder)

    return once(tmp_path_factory, "newer", make)


@pytest.fixture
def update(newer: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(newer, tmp_path / "update")
    return Bundle.open(tmp_path / "update")


@pytest.fixture
def old(bundle: Bundle, tmp_path: Path) -> Bundle:
    """What a device has, and 320 presentations of turned digits in the folder beside it."""
    shutil.copytree(bundle.folder, tmp_path / "old")
    session = Session.open(tmp_path / "old", "onnx", care=NO_CARE)
    finetune(session, turned(bundle), FinetuneJob("digits", "stream", "rotate:90", 0, 16, 320))
    return session.bundle


def turned(bundle: Bundle) -> Split:
    manifest = bundle.manifest
    shift = "rotate:90"
    return load_split("digits", None, manifest.input, manifest.classes, ("stream",), shift)[1]


def changed(folder: Path, **fields: Any) -> Bundle:
    """The bundle with other fields in its manifest, and a digest that fits."""
    tree = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(rehashed(tree | fields))
    return Bundle.open_own(folder)


def without_lineage(folder: Path) -> Bundle:
    """The bundle without a lineage and a version of its own."""
    tree = json.loads((folder / MANIFEST).read_bytes())
    del tree["lineage"], tree["bundle_version"]
    (folder / MANIFEST).write_bytes(rehashed(tree))
    return Bundle.open(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("slot-*"))}


def learned(bundle: Bundle, folder: Path | None = None) -> StoredState:
    stored = Store(folder or beside(bundle), read_only=True).load(bundle)
    assert stored is not None
    return stored


def beside(bundle: Bundle) -> Path:
    return bundle.folder.with_name(f"{bundle.folder.name}.state")


def one_line(result: Any, code: int = 1) -> str:
    assert (result.code, result.out) == (code, "")
    assert result.err.count("\n") == 1
    return str(result.err)


# -- lineage ---------------------------------------------------------------------------------------


def test_bundles_of_one_run_have_its_lineage(
    run_folder: Path, bundle: Bundle, spare_bundle: Bundle, update: Bundle
) -> None:
    own = lineage(Run.open(run_folder))
    assert {b.manifest.lineage for b in (bundle, spare_bundle, update)} == {own}
    assert (bundle.manifest.bundle_version, update.manifest.bundle_version) == (0, 2)


def test_other_weights_or_other_scales_are_another_lineage(
    run_folder: Path, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(run_folder, tmp_path / "run"), Run.open(run_folder).plan)
    own = lineage(run)
    before = run.calibration().layers
    assert calibrate_run(run, "minmax").layers != before
    assert lineage(run) != own
    shutil.copy(run_folder / "calibration.json", run.folder)
    assert lineage(run) == own
    net = run.load_net()
    next(net.parameters()).data.flatten()[0] += 2.0**-10
    run.save_checkpoint(net, [], {"finished": 1})
    assert lineage(run) != own


def test_bundle_without_a_lineage_opens_without_one(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.folder, tmp_path / "old")
    manifest = without_lineage(tmp_path / "old").manifest
    assert (manifest.lineage, manifest.bundle_version) == ("", 0)


# -- versions --------------------------------------------------------------------------------------


def test_lower_version_than_is_asked_for_is_refused(
    update: Bundle, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for open_it in (
        lambda least: Bundle.open(update.folder, min_version=least),
        lambda least: Session.open(update.folder, "onnx", min_version=least),
        lambda least: Session.open(update, "onnx", min_version=least),
    ):
        open_it(2)
        with pytest.raises(DfedgeError, match="has version 2; required: 3 or more; get a newer"):
            open_it(3)
        with pytest.raises(UsageError, match="--min-version is -1; allowed: a whole number"):
            open_it(-1)
    with pytest.raises(DfedgeError, match="has no version; required: 1 or more"):
        Bundle.open(bundle.folder, min_version=1)
    monkeypatch.setenv("DFEDGE_MIN_VERSION", "3")
    for opened in (Bundle.open, Session.open):
        with pytest.raises(DfedgeError, match="has version 2; required: 3"):
            opened(update.folder)
    Bundle.open(update.folder, min_version=2)  # what a call says counts more
    Bundle.open_own(update.folder)
    for text in ("", "new", "1.5", "\u0663"):
        monkeypatch.setenv("DFEDGE_MIN_VERSION", text)
        with pytest.raises(UsageError, match=r"DFEDGE_MIN_VERSION is .*; allowed: a whole"):
            Bundle.open(update.folder)


@pytest.mark.parametrize(
    "command",
    [["doctor"], ["verify"], ["profile"], ["bench"], ["predict", "x.npz"], ["state", "show"],
     ["evaluate", "--data", "digits"], ["finetune", "--data", "digits"],
     ["add-class", "new", "--samples", "x.npz"], ["state", "export", "x"], ["state", "import", "x"],
     ["state", "diff"], ["state", "reset", "--yes"],
     ["continual", "--data", "digits", "--stream", "drift"]],
    ids=lambda command: " ".join(command[:2]),
)  # fmt: skip
def test_least_version_is_asked_for_by_whatever_opens_a_bundle(
    command: list[str], update: Bundle, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = command[:2] if command[0] == "state" else command[:1]
    args = [*parts, update.folder, *command[len(parts) :]]
    assert "has version 2; required: 3" in one_line(dfedge(*args, "--min-version", 3))
    monkeypatch.setenv("DFEDGE_MIN_VERSION", "3")
    assert "has version 2; required: 3" in one_line(dfedge(*args))
    monkeypatch.setenv("DFEDGE_MIN_VERSION", "")
    assert "DFEDGE_MIN_VERSION is empty" in one_line(dfedge(*args), 2)


def test_version_is_signed(update: Bundle, tmp_path: Path) -> None:
    public = signature.make_keys(tmp_path / "maker.pem")
    update.sign(tmp_path / "maker.pem")
    Bundle.open(update.folder, public, 2)
    changed(update.folder, bundle_version=9)
    with pytest.raises(DfedgeError, match="or it was changed since"):
        Bundle.open(update.folder, public, 2)


def test_export_does_not_put_a_lower_version_in_the_place_of_a_higher_one(
    run_folder: Path, update: Bundle, tmp_path: Path, dfedge
) -> None:
    raw = (update.folder / MANIFEST).read_bytes()
    export_it = ("export", run_folder, "--format", "c", "--no-trial", "--out")
    said = one_line(dfedge(*export_it, update.folder, "--version", 1), 2)
    assert "holds version 2; give 3 or more, or choose another --out" in said
    for wrong in (-1, 1 << 31):
        said = one_line(dfedge(*export_it, tmp_path / "new", "--version", wrong), 2)
        assert f"--version {wrong}: allowed: 0 to 2,147,483,647" in said
    assert (update.folder / MANIFEST).read_bytes() == raw
    assert not (tmp_path / "new").exists()
    made = dfedge(*export_it, update.folder, "--version", 3, "--json").json
    assert (made["version"], made["lineage"]) == (3, update.manifest.lineage)
    shown = dfedge("state", "show", update.folder, "--json").json
    assert (shown["bundle_version"], shown["lineage"]) == (3, update.manifest.lineage)


def test_rolled_back_bundle_is_refused_by_the_state_that_knows_a_newer_one(
    update: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    session = Session.open(update, "onnx", folder, care=NO_CARE)
    session.learn(np.zeros((8, 8), np.uint8), 3)
    session.save()
    kept = files(folder)
    rolled = changed(shutil.copytree(update.folder, tmp_path / "rolled"), bundle_version=1)
    for how in ({}, {"initial": True}, {"rebase": True}):
        with pytest.raises(DfedgeError, match=r"is version 1, and .* learned with version 2: the"):
            Session.open(rolled, "onnx", folder, **how)
    assert files(folder) == kept
    elsewhere = changed(rolled.folder, bundle_version=1, lineage="ab" * 32)
    Session.open(elsewhere, "onnx", folder, initial=True)  # no version of the same


def test_imported_state_says_nothing_of_versions(update: Bundle, tmp_path: Path, dfedge) -> None:
    wild = StateRecord(update.sha256, lineage=update.manifest.lineage, bundle_version=10**9)
    (tmp_path / "file").write_bytes(exchange.write(update.initial_state(), wild))
    assert dfedge("state", "import", update.folder, tmp_path / "file").code == 0
    assert learned(update).record == belonging(update)


# -- rebase ----------------------------------------------------------------------------------------


def test_state_moves_to_an_update_of_its_program(old: Bundle, update: Bundle, dfedge) -> None:
    kept, was = files(beside(old)), learned(old)
    told = dfedge("state", "rebase", old.folder, "--onto", update.folder, "--json").json
    assert files(beside(old)) == kept
    assert files(beside(update)).keys() == set(SLOTS)
    now = learned(update)
    moved = belonging(update, was.record)
    assert now.record == msgspec.structs.replace(moved, guarded=False)  # its rates are the bundle's
    assert (now.record.samples, now.record.steps) == (320, 20) == (told["samples"], told["step"])
    assert now.record.job == was.record.job
    assert told["renewed"] == list(RATES) and "layer0.conv0.weight" in told["carried"]
    first = update.initial_state()
    for name, value in now.state.items():
        assert np.array_equal(value, first[name] if name in RATES else was.state[name]), name
    assert told["before"] == told["after"] < told["own"]  # turned digits took upright ones' place
    assert told["judged"] == len(update.known()["judge.y"])
    x = turned(old).x[:64]
    answers = [Session.open(one, "onnx", read_only=True).scores(x) for one in (old, update)]
    assert np.array_equal(answers[0], answers[1])
    more = dfedge("finetune", update.folder, "--data", "digits", "--samples", 16, "--json").json
    assert more["samples_in_all"] == 336


def test_what_is_carried_is_told_in_words(old: Bundle, update: Bundle, tmp_path: Path, dfedge):
    said = dfedge("state", "rebase", old.folder, "--onto", update.folder, "--out", tmp_path / "s")
    assert "carried: weight, bias, anchors, live, phase, error; of the new bundle: " in said.out
    assert "weight_shift, anchor_shift, usual_error, pace" in said.out
    assert f"wrote {tmp_path / 's'} (320 presentations)" in said.out
    assert not beside(update).exists()


def test_careful_guard_stays_careful(old: Bundle, update: Bundle, dfedge) -> None:
    was = learned(old)
    careful = msgspec.structs.replace(was.record, caution=2, replayed=7)
    store = Store(beside(old))
    store.load(old)
    store.save(StoredState(was.state, careful))
    assert dfedge("state", "rebase", old.folder, "--onto", update.folder).code == 0
    now = learned(update)
    assert (now.record.caution, now.record.replayed) == (2, 7)
    assert np.array_equal(now.state["weight_shift"], update.initial_state()["weight_shift"])
    session = Session.open(update, "native")
    session.learn_batch(turned(update).x[:1], turned(update).y[:1])
    wanted = update.known()["weight_shift"] + 2
    assert np.array_equal(session.runner.get_state()["weight_shift"], wanted)


def test_added_class_moves_along(spare_bundle: Bundle, tmp_path: Path, dfedge) -> None:
    old = Bundle.open(shutil.copytree(spare_bundle.folder, tmp_path / "old"))
    shutil.copytree(spare_bundle.folder, tmp_path / "new")
    new = changed(tmp_path / "new", bundle_version=1)
    session = Session.open(old, "onnx", care=NO_CARE)
    add_class(session, "turned", turned(old).x[:10])
    session.save()
    answer = session.predict(turned(old).x[3])
    assert dfedge("state", "rebase", old.folder, "--onto", new.folder).code == 0
    moved = Session.open(new, "onnx")
    assert moved.classes[-1] == "turned"
    assert moved.predict(turned(old).x[3]) == answer


def test_bundle_that_is_gone_needs_no_name(old: Bundle, update: Bundle, dfedge) -> None:
    """The device's case: the bundle's folder was replaced, the state beside it was not."""
    kept, home = files(beside(old)), old.folder
    shutil.rmtree(home)
    update.folder.rename(home)
    update = Bundle.open(home)
    said = one_line(dfedge("state", "show", home))
    assert "belongs to another bundle" in said
    assert f"carry it over: dfedge state rebase --onto {home}" in said
    told = dfedge("state", "rebase", "--onto", home, "--json").json
    assert told["before"] is None and told["after"] < told["own"]
    assert learned(update).record.samples == 320
    assert len(set(files(beside(update)).values()) & set(kept.values())) == 1  # the other slot
    assert "belongs to" in one_line(dfedge("state", "rebase", "--onto", home))


def test_session_carries_over_what_the_folder_holds(
    old: Bundle, update: Bundle, tmp_path: Path
) -> None:
    folder, x = beside(old), turned(old).x[:32]
    kept, scores = files(folder), Session.open(old, "onnx", read_only=True).scores(x)
    with pytest.raises(DfedgeError, match="carry it over"):
        Session.open(update, "onnx", folder)
    session = Session.open(update, "onnx", folder, rebase=True, care=NO_CARE)
    assert np.array_equal(session.scores(x), scores)
    assert any("carried over" in note for note in session.notes)
    assert session.record.samples == 320
    assert files(folder) == kept  # until it is saved
    session.save()
    assert np.array_equal(Session.open(update, "onnx", folder).scores(x), scores)
    again = Session.open(update, "onnx", folder, rebase=True)
    assert again.notes == ()
    fresh = Session.open(update, "onnx", tmp_path / "none", rebase=True)
    assert fresh.digest() == update.manifest.state_sha256


def test_state_of_a_bundle_without_a_lineage_moves_where_its_bundle_is_named(
    old: Bundle, update: Bundle, dfedge
) -> None:
    was = learned(old)
    before = without_lineage(old.folder)
    Store(beside(old)).reset()
    Store(beside(old)).save(StoredState(was.state, StateRecord(before.sha256, 320, steps=20)))
    where = ("--onto", update.folder)
    said = one_line(dfedge("state", "rebase", *where, "--state", beside(old)))
    assert "names no lineage" in said and "name its bundle too" in said
    with pytest.raises(DfedgeError, match="names no lineage"):
        Session.open(update, "onnx", beside(old), rebase=True)
    told = dfedge("state", "rebase", before.folder, *where, "--json").json
    assert (told["samples"], told["before"]) == (320, told["after"])
    assert learned(update).record.lineage == update.manifest.lineage


# -- what is refused -------------------------------------------------------------------------------


def test_another_lineage_layout_or_class_is_refused_and_nothing_is_written(
    old: Bundle, update: Bundle, spare_bundle: Bundle, tmp_path: Path, dfedge
) -> None:
    spare = Bundle.open(shutil.copytree(spare_bundle.folder, tmp_path / "spare"))
    names = [*update.manifest.classes[:9], "ten"]
    for number, (folder, fields, message) in enumerate(
        [
            (update.folder, {"lineage": "ab" * 32}, r"is of another lineage (abababababab, "),
            (update.folder, {"lineage": ""}, "is of another lineage (none, "),
            (update.folder, {"classes": names}, "has other classes than"),
            (spare.folder, {}, "tensor 'layer0.anchors' is int8 (10, "),
        ]
    ):
        other = changed(shutil.copytree(folder, tmp_path / f"other{number}"), **fields)
        kept = files(beside(old))
        said = one_line(dfedge("state", "rebase", old.folder, "--onto", other.folder))
        assert message in said
        assert not beside(other).exists()
        assert files(beside(old)) == kept
    assert "export the run" in said  # not "delete the state"


def test_nothing_to_carry_is_said(old: Bundle, update: Bundle, tmp_path: Path, dfedge) -> None:
    onto = ("state", "rebase", old.folder, "--onto")
    said = one_line(dfedge(*onto, update.folder, "--state", tmp_path / "none"))
    assert f"{tmp_path / 'none'} holds nothing that was learned" in said
    assert "belongs to" in one_line(dfedge(*onto, old.folder))
    said = one_line(dfedge("state", "rebase", tmp_path, "--onto", update.folder))
    assert "is not a bundle" in said
    assert dfedge("state", "rebase", old.folder).code == 2
    assert dfedge(*onto, update.folder).code == 0
    said = one_line(dfedge(*onto, update.folder))
    assert f"{beside(update)} holds what was learned with {update.folder}" in said
    other = changed(shutil.copytree(old.folder, tmp_path / "third"), data="elsewhere")
    said = one_line(
        dfedge("state", "rebase", other.folder, "--onto", update.folder, "--state", beside(old))
    )
    assert f"does not belong to {other.folder}" in said


def test_what_is_known_less_is_not_carried_over_unless_forced(
    old: Bundle, update: Bundle, dfedge
) -> None:
    plan = json.loads((update.folder / MANIFEST).read_bytes())["plan"]
    plan["layers"][0]["convs"][0]["shift"] += 5  # as if the new program had a fault
    broken = changed(update.folder, plan=plan)
    command = ("state", "rebase", old.folder, "--onto", broken.folder, "--runtime", "native")
    said = one_line(dfedge(*command))
    assert f"of {len(update.known()['judge.y'])} known samples, and should" in said
    assert "nothing was written; to rebase it anyway: dfedge state rebase --force" in said
    assert not beside(broken).exists()
    told = dfedge(*command, "--force", "--json").json
    assert told["after"] < told["before"] - 0.02
    assert learned(broken).record.samples == 320


def of_another_semantics(old: Bundle, presentations: int) -> Bundle:
    """The bundle and its state as they were before the integer semantics changed."""
    state = dict(learned(old).state if presentations else old.initial_state())
    del state["usual_error"]  # a rate that it did not have
    tree = json.loads((old.folder / MANIFEST).read_bytes())
    (old.folder / MANIFEST).write_bytes(rehashed(tree | {"semantics_version": 4}))
    record = belonging(old, StateRecord("", presentations))
    mine = msgspec.structs.replace(
        record, bundle_sha256=read_head(old.folder)[1], semantics_version=4
    )
    Store(beside(old)).reset()
    steered = {"phase": np.array(99, np.int32), "bias_shift": np.zeros(3, np.int32)}
    Store(beside(old)).save(StoredState({**state, **steered}, mine))
    return old


@pytest.mark.parametrize("named", [True, False], ids=["old bundle there", "old bundle gone"])
def test_change_of_semantics_says_what_is_carried(
    named: bool, old: Bundle, update: Bundle, tmp_path: Path, dfedge
) -> None:
    of_another_semantics(old, 0)
    where = [old.folder] if named else ["--state", beside(old)]
    command = ("state", "rebase", *where, "--onto", update.folder)
    told = dfedge(*command, "--json", "--out", tmp_path / "out").json
    assert told["semantics"] == [4, SEMANTICS_VERSION]
    assert told["before"] is None and told["after"] == told["own"]
    assert told["renewed"] == [*RATES[:2], "phase", "error", *RATES[2:]]
    assert int(learned(update, tmp_path / "out").state["phase"]) == 0
    said = dfedge(*command).out
    assert f"the integer semantics changed from 4 to {SEMANTICS_VERSION}" in said
    assert "carried: weight, bias, anchors, live; of the new bundle: " in said
    assert "known samples recognised: not run -> " in said


def test_state_of_another_semantics_is_held_to_the_new_bundles_own(
    old: Bundle, update: Bundle, dfedge
) -> None:
    of_another_semantics(old, 320)  # it has unlearned the upright digits
    said = one_line(dfedge("state", "rebase", old.folder, "--onto", update.folder))
    assert "known samples, and should" in said
    with pytest.raises(DfedgeError, match="known samples, and should"):
        Session.open(update, "onnx", beside(old), rebase=True)
    forced = dfedge("state", "rebase", old.folder, "--onto", update.folder, "--force")
    assert forced.code == 0


def test_state_with_values_that_no_step_leaves_is_not_carried(
    old: Bundle, update: Bundle, dfedge
) -> None:
    store, was = Store(beside(old)), learned(old)
    store.load(old)
    store.save(StoredState({**was.state, "error": np.array(-1, np.int32)}, was.record))
    said = one_line(dfedge("state", "rebase", old.folder, "--onto", update.folder))
    assert "'error' reaches from -1 to -1; allowed: 0 to 65536" in said
