"""What is let in: bundles, signatures, samples, and the bytes of every reader."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from trials import readers
from trials.readers import READERS, judge

from dfedge.bundle import Bundle
from dfedge.data.door import SampleFilter
from dfedge.data.files import load_path
from dfedge.data.inputs.image import ImageRule
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError
from dfedge.integrity import signature
from dfedge.integrity.folder import check_name
from dfedge.manifest import MANIFEST, VERSION, FileRecord, seal

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    shutil.copytree(bundle.folder, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(folder: Path, **changes: object) -> None:
    """A manifest that is consistent in itself: what a stranger could send."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=object)
    raw = msgspec.json.encode(manifest | changes | {"digest": "0" * 64})
    digest = hashlib.sha256(raw).hexdigest().encode()
    (folder / MANIFEST).write_bytes(raw.replace(b"0" * 64, digest))


# -- bundles ---------------------------------------------------------------------------------------


def test_manifest_carries_its_own_digest(copy: Path) -> None:
    path = copy / MANIFEST
    raw = path.read_bytes()
    place = raw.index(b'"test_accuracy"') + len('"test_accuracy": 0.')
    changed = bytearray(raw)
    changed[place] = ord("1") if changed[place] != ord("1") else ord("2")
    path.write_bytes(changed)
    with pytest.raises(DfedgeError, match=r"manifest.json: changed since export \(its digest"):
        Bundle.open(copy)
    assert json.loads(changed).keys() == json.loads(raw).keys()  # it still is good JSON


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/../../b", "./a", "a//b", "a\\b", "C:evil", "", ".", "..", "a\0b",
     "a/", "x" * 256],
)  # fmt: skip
def test_name_that_may_lead_out_of_the_folder_is_refused(name: str, copy: Path) -> None:
    with pytest.raises(DfedgeError, match="is not a plain path inside the folder"):
        check_name(name, copy)
    files = msgspec.to_builtins(Bundle.open(copy).manifest.files)
    rewrite(copy, files=files | {name: msgspec.to_builtins(FileRecord(1, "ab" * 32))})
    with pytest.raises(DfedgeError, match="is not a plain path inside the folder"):
        Bundle.open(copy)


def test_program_outside_the_list_of_files_is_refused(copy: Path) -> None:
    formats = msgspec.to_builtins(Bundle.open(copy).manifest.formats)
    for method in formats["onnx"]["files"]:
        formats["onnx"]["files"][method] = "../outside.onnx"
    rewrite(copy, formats=formats)
    with pytest.raises(DfedgeError, match="invalid value of its field formats"):
        Bundle.open(copy)


@pytest.mark.parametrize("kind", ["file", "folder", "manifest"])
def test_link_is_refused_even_to_the_right_bytes(kind: str, copy: Path, tmp_path: Path) -> None:
    name = {"file": "state.safetensors", "folder": "onnx", "manifest": MANIFEST}[kind]
    (copy / name).rename(tmp_path / "away")
    (copy / name).symlink_to(tmp_path / "away")
    with pytest.raises(DfedgeError, match="links"):
        Bundle.open(copy)


def test_unknown_file_is_refused(copy: Path) -> None:
    (copy / "onnx" / "weights.bin").write_bytes(b"external data")
    with pytest.raises(DfedgeError, match=r"file onnx/weights.bin is not in its manifest; remove"):
        Bundle.open(copy)


def test_newer_bundle_says_update_and_an_older_one_export_again(bundle: Bundle, copy: Path) -> None:
    rewrite(copy, version=VERSION + 1, a_new_field=1)
    with pytest.raises(DfedgeError, match="a newer dfedge made it: update dfedge"):
        Bundle.open(copy)
    rewrite(copy, version=VERSION - 1)
    with pytest.raises(DfedgeError, match="export again"):
        Bundle.open(copy)
    (copy / MANIFEST).write_text(json.dumps({**json.loads(seal(bundle.manifest)), "digest": ""}))
    with pytest.raises(DfedgeError, match="its digest does not match"):
        Bundle.open(copy)


def test_state_changed_after_opening_is_not_used(copy: Path) -> None:
    opened = Bundle.open(copy)
    raw = bytearray((copy / "state.safetensors").read_bytes())
    raw[-1] ^= 1
    (copy / "state.safetensors").write_bytes(raw)
    with pytest.raises(DfedgeError, match="changed since the bundle was opened"):
        opened.initial_state()


# -- signatures ------------------------------------------------------------------------------------


def test_signature_covers_every_file_and_names_its_maker(copy: Path, tmp_path: Path) -> None:
    key, other = tmp_path / "maker.pem", tmp_path / "other.pem"
    public, foreign = signature.make_keys(key), signature.make_keys(other)
    assert key.stat().st_mode & 0o77 == 0
    with pytest.raises(DfedgeError, match="is not signed"):
        Session.open(copy, "onnx", require_signature=public)
    bundle = Bundle.open(copy)
    bundle.sign(key)
    assert Bundle.open(copy, public).sha256 == bundle.sha256  # signing does not change its name
    Session.open(bundle, "onnx", tmp_path / "state", require_signature=public)
    with pytest.raises(DfedgeError, match=r"its signature is not by .*other\.pub"):
        Bundle.open(copy, foreign)
    rewrite(copy, data="elsewhere")
    Bundle.open(copy)
    with pytest.raises(DfedgeError, match="or it was changed since"):
        Bundle.open(copy, public)
    with pytest.raises(DfedgeError, match="no public key in PEM"):
        Bundle.open(copy, key)


def test_keys_of_openssl_and_of_other_kinds(copy: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for kind in ("ed25519", "x25519"):
        private, public = tmp_path / f"{kind}.pem", tmp_path / f"{kind}.pub"
        for command in (
            ["genpkey", "-algorithm", kind, "-out", private],
            ["pkey", "-in", private, "-pubout", "-out", public],
        ):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    Bundle.open(copy).sign(tmp_path / "ed25519.pem")
    Bundle.open(copy, tmp_path / "ed25519.pub")
    with pytest.raises(DfedgeError, match="a X25519PublicKey; expected: Ed25519"):
        Bundle.open(copy, tmp_path / "x25519.pub")
    with pytest.raises(UsageError, match="exists and is not replaced"):
        signature.make_keys(tmp_path / "ed25519.pem")


# -- samples ---------------------------------------------------------------------------------------


def bad_stream(folder: Path) -> Path:
    x = np.full((10, 8, 8), 0.5, np.float32)
    x[2, 0, 0], x[3, 1, 1], x[4, 2, 2] = np.nan, np.inf, 1.5
    y = np.arange(10)
    y[4], y[5] = 11, -1  # sample 4 is bad twice and counts once
    np.savez(folder / "bad.npz", x=x, y=y)
    return folder / "bad.npz"


def test_bad_samples_stop_or_are_skipped_and_counted(tmp_path: Path) -> None:
    path, rule, classes = bad_stream(tmp_path), ImageRule(8, 8, 1), tuple("0123456789")
    with pytest.raises(DfedgeError, match="reaches from nan to nan"):
        load_path(path, rule, classes)
    door = SampleFilter("skip")
    found = load_path(path, rule, classes, door).splits["all"]
    assert found.y.tolist() == [0, 1, 6, 7, 8, 9]
    assert door.skipped == {"value": 3, "label": 1}
    with pytest.raises(UsageError, match="unknown --on-bad-sample 'drop'; known: skip, stop"):
        SampleFilter("drop")


def test_bad_files_of_a_folder_are_skipped_and_counted(tmp_path: Path) -> None:
    for name in ("a", "b", "unknown"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8), 9).save(tmp_path / name / "good.png")
    (tmp_path / "a" / "torn.png").write_bytes((tmp_path / "a" / "good.png").read_bytes()[:50])
    rule = ImageRule(8, 8, 1)
    with pytest.raises(DfedgeError, match="class 'unknown' is unknown to the model; known: a, b"):
        load_path(tmp_path, rule, ("a", "b"))
    with pytest.raises(DfedgeError, match="cannot be read as an image"):
        load_path(tmp_path, rule, ("a", "b", "unknown"))
    door = SampleFilter("skip")
    assert len(load_path(tmp_path, rule, ("a", "b"), door).splits["all"]) == 2
    assert door.skipped == {"file": 1, "label": 1}


def test_session_that_skips_learns_the_good_ones_only(bundle: Bundle, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 8, 8)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 4, 5])
    bad_x, bad_y = images.copy(), labels.copy()
    bad_x[1, 3, 3], bad_y[4] = np.nan, 77
    good = [0, 2, 3, 5]
    careful = Session.open(bundle, "onnx", tmp_path / "a", on_bad_sample="skip")
    assert careful.learn_batch(bad_x, bad_y).scores.shape[0] == 4
    plain = Session.open(bundle, "onnx", tmp_path / "b")
    plain.learn_batch(images[good], labels[good])
    assert careful.digest() == plain.digest()
    assert careful.record.samples - careful.record.replayed == 4
    careful.learn(np.zeros((8, 8, 7)), 1)
    careful.learn(images[0], "no such class")
    assert len(careful.learn_batch(bad_x[1:2], bad_y[1:2]).scores) == 0
    assert careful.door.skipped == {"value": 2, "label": 1, "sample": 2}
    assert careful.digest() == plain.digest()


def test_images_of_different_shapes_are_one_clear_error(bundle: Bundle, tmp_path: Path) -> None:
    session = Session.open(bundle, "onnx", tmp_path)
    ragged = [np.zeros((8, 8), np.uint8), np.zeros((7, 8), np.uint8)]
    with pytest.raises(DfedgeError, match="all must have one shape"):
        session.learn_batch(ragged, np.array([0, 1]))  # type: ignore[arg-type]


def test_huge_image_and_foreign_formats_are_not_decoded(tmp_path: Path) -> None:
    rule = ImageRule(8, 8, 1)
    Image.new("1", (8000, 8000)).save(tmp_path / "bomb.png")
    with pytest.raises(DfedgeError, match="8000 x 8000 pixels; allowed: 33,554,432 in all"):
        rule.read(tmp_path / "bomb.png")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DfedgeError, match="cannot be read as an image"):
        rule.read(tmp_path / "script.png")


# -- every reader ----------------------------------------------------------------------------------


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A good input with ranges replaced, cut out or doubled, or bytes of any kind."""
    raw = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(raw)))
        stop = draw(st.integers(start, min(len(raw), start + 64)))
        raw[start:stop] = draw(
            st.one_of(st.binary(max_size=16), st.just(bytes(raw[start:stop] * 2)))
        )
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


@pytest.mark.parametrize("name", READERS)
def test_reader_takes_or_refuses_any_bytes(name: str, tmp_path: Path) -> None:
    seeds, path = READERS[name].seeds(), tmp_path / f"input{READERS[name].suffix}"
    for seed in seeds:
        assert judge(name, seed, path) is None
    READERS[name].read(_written(path, READERS[name].mend(seeds[0]))) if name != "public key" else 0

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changed(seeds))
    def any_bytes(data: bytes) -> None:
        assert judge(name, data, path) is None

    any_bytes()


@pytest.mark.parametrize("slow", [1, 99])
def test_input_is_slow_only_where_it_is_slow_every_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slow: int
) -> None:
    clock, reads = [0.0], [0]

    def read(path: Path) -> None:
        reads[0] += 1
        clock[0] += 5 if reads[0] <= slow else 0

    monkeypatch.setattr(readers.time, "process_time", lambda: clock[0])
    monkeypatch.setitem(READERS, "slow", readers.Reader(".x", read, list))
    fault = judge("slow", b"", tmp_path / "x")
    assert (fault is None) == (slow == 1)


def _written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


FOUND = {
    "idx images": bytes([0, 0, 8, 3]) + bytes(4) + b"\xff" * 8,  # no elements, of a huge shape
    "run.json": b"\x8d",  # no UTF-8
    "mat": bytes(124) + b"\0\1IM" + bytes.fromhex(
        "0f0000003f000000789cedcadb09c0201404d1bd868888822 5a40c4b49ff95b87974e11c18f667bba4d9a4"
        .replace(" ", "")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_fuzzing_found_stays_mended(name: str, tmp_path: Path) -> None:
    assert judge(name, FOUND[name], tmp_path / f"x{READERS[name].suffix}") is None


# -- no pickle -------------------------------------------------------------------------------------

UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_nothing_of_dfedge_reads_pickles() -> None:
    import grimp

    graph = grimp.build_graph("dfedge", include_external_packages=True, cache_dir=None)
    for name in UNPICKLERS & graph.modules:
        assert not graph.find_modules_that_directly_import(name)
    for path in sorted((ROOT / "dfedge").rglob("*.py")):
        text = path.read_text()
        for call in re.finditer(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call[0], f"{path}: {call[0]}"
        if path != ROOT / "dfedge" / "data" / "watch.py":  # one file of known bytes: the next test
            assert "allow_pickle=True" not in text, path
            assert not re.search(r"\b(np|numpy)\.load\(", text), path  # whatever it is told
        assert not re.search(r"(?<![.\w])(read_pickle|yaml\.load|eval|exec)\(", text), path


def test_the_one_pickle_is_read_only_where_its_bytes_are_those_that_are_known(monkeypatch) -> None:
    from dfedge.data import watch

    monkeypatch.setattr(watch, "member", lambda *_: b"cos\nsystem\n(S'exit 3'\ntR.")
    monkeypatch.setattr(np, "load", None)  # a call would fail
    with pytest.raises(DfedgeError, match="not those that are known"):
        watch.load()


def test_device_process_loads_no_pickle_of_a_bundle_or_state(
    bundle: Bundle, tmp_path: Path
) -> None:
    """An audit hook sees every unpickled global, whoever unpickles."""
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 8, 8), np.uint8), y=np.arange(2))
    code = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: 'pickle' in event and seen.append(event))\n"
        "from dfedge.cli.app import main\n"
        "try: main()\n"
        "finally: assert not seen, seen\n"
    )
    where = ["--state", str(tmp_path / "s"), "--runtime", "onnx"]
    subprocess.run(
        [sys.executable, "-c", code, "finetune", str(bundle.folder), "--data",
         str(tmp_path / "x.npz"), "--samples", "16", *where],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [["doctor"], ["verify"], ["profile"], ["bench"], ["predict", "x.npz"], ["state", "show"]],
    ids=lambda command: command[0],
)
def test_a_required_signature_is_required_by_whatever_opens_a_bundle(
    command: list[str], copy: Path, tmp_path: Path, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = signature.make_keys(tmp_path / "maker.pem")
    parts = command if command[0] == "state" else command[:1]
    args = [*parts, copy, *command[len(parts) :]]
    option = "--key" if command[0] == "verify" else "--require-signature"
    assert "is not signed" in dfedge(*args, option, public).err
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", str(public))
    result = dfedge(*args)
    assert result.code == 1 and "is not signed" in result.err
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", "")
    result = dfedge(*args)
    assert result.code == 2 and "DFEDGE_REQUIRE_SIGNATURE is empty" in result.err


def test_a_required_signature_holds_for_python_too(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = signature.make_keys(tmp_path / "maker.pem")
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", str(public))
    for open_it in (Bundle.open, Session.open):
        with pytest.raises(DfedgeError, match="is not signed"):
            open_it(copy)
    Bundle.open_own(copy).sign(tmp_path / "maker.pem")  # who makes a bundle cannot ask for it yet
    Session.open(copy, "onnx", tmp_path / "state")
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", " ")
    for open_it in (Bundle.open, Session.open):
        with pytest.raises(UsageError, match="DFEDGE_REQUIRE_SIGNATURE is empty"):
            open_it(copy)
    monkeypatch.delenv("DFEDGE_REQUIRE_SIGNATURE")
    with pytest.raises(UsageError, match="--require-signature is empty"):
        Bundle.open(copy, "")
    for broken in (tmp_path, tmp_path / "nowhere.pub"):
        with pytest.raises(DfedgeError, match="no such key"):
            Bundle.open(copy, broken)


def test_the_makers_of_a_bundle_need_no_signature_of_it(
    run_folder: Path, tmp_path: Path, dfedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = signature.make_keys(tmp_path / "maker.pem")
    monkeypatch.setenv("DFEDGE_REQUIRE_SIGNATURE", str(public))
    out = tmp_path / "bundle"
    assert dfedge("export", run_folder, "--format", "onnx", "--out", out).code == 0
    assert dfedge("sign", out, "--key", tmp_path / "maker.pem").code == 0
    assert dfedge("verify", out, "--steps", 1, "--runtime", "onnx").code == 0
