"""Sound: recordings from files to the device, as features that C and Python make alike."""

import ctypes
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from conftest import refused
from net_input import compiled, learned_on_chip
from sounds import PITCH, folder_of_tones, tone, write_wav
from test_on_device import needs

from dfedge.data.door import SampleFilter
from dfedge.data.files import open_path, read_inputs
from dfedge.data.inputs import InputRule, decoded, to_input
from dfedge.data.inputs.image import ImageRule
from dfedge.data.inputs.sound import SIZES, SoundRule
from dfedge.data.live.samples import BadLineError
from dfedge.data.live.sounds import Overlapping, Pieces
from dfedge.data.logmel import (
    KEYWORDS,
    SPEECH,
    WINDOW_BITS,
    LogMel,
    _basis,
    cosines,
    log_mel,
    middle,
)
from dfedge.data.reading import Reading
from dfedge.data.shift import parse_shift
from dfedge.data.sound_shifts import DECIBELS
from dfedge.data.sources import open_data
from dfedge.data.wav import read_wav
from dfedge.device.live import Answer, Live, Taught
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError
from dfedge.native.build import SOURCES
from dfedge.native.library import load_from

RULE, WORDS = SoundRule(), SoundRule("log-mel 49x10")
BOTH = [RULE, WORDS]
LENGTH = SPEECH.length


def utterances() -> list[np.ndarray]:
    """Silent, quiet, loud, saturated, of every odd length; int16 [L] each."""
    rng = np.random.default_rng(0)
    found = [tone("low", 0), tone("high", 1)]
    for length in (1, 2, 255, 256, 3001, LENGTH - 1, LENGTH, LENGTH + 1, LENGTH + 2, 20001):
        found += [rng.integers(-most, most + 1, length) for most in (1, 40, 32767)]
        found += [np.zeros(length), np.full(length, -32768), np.arange(length) == length // 2]
        found += [np.where(np.arange(length) // period % 2, 32767, -32768) for period in (1, 64)]
    return [one.astype(np.int16) for one in found]


# -- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SPEECH, KEYWORDS])
def test_a_rounded_product_of_two_cosines_is_the_rounded_windowed_wave(size: LogMel) -> None:
    n = np.arange(size.frame)[:, None]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / size.frame)
    angle = 2 * np.pi * n * np.arange(size.frame // 2 + 1) / size.frame
    for found, wave_of in zip(_basis(size.frame), (np.cos, np.sin), strict=True):
        exact = window * wave_of(angle) * (1 << WINDOW_BITS)
        assert np.array_equal(found, np.round(exact))
        assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-4  # no libm rounds it otherwise
    half, period = size.frame // 2, cosines(size.frame)
    assert np.array_equal(period[half:], -period[:half])


def test_the_middle_of_a_longer_middle_is_the_same() -> None:
    for sound in utterances():
        for size in (SPEECH, KEYWORDS):
            assert np.array_equal(middle(middle(sound), size.length), middle(sound, size.length))


def test_utterances_become_features_and_features_pass_as_they_are() -> None:
    x = np.stack([tone("low", 0), tone("high", 1)])
    codes = RULE.apply(x, "x")
    assert np.array_equal(codes, np.stack([log_mel(one) for one in x]))
    assert RULE.apply(codes, "x") is codes
    assert np.array_equal(RULE.apply(x.astype(np.int64), "x"), codes)
    raw = msgspec.json.encode(RULE)
    assert msgspec.json.decode(raw, type=InputRule, dec_hook=decoded) == RULE


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 9)), "x holds float64; allowed: samples of 16 bits, signed"),
        (np.zeros((2, 9), np.uint8), "x holds uint8"),
        (np.zeros((2, 9, 1), np.int16), "allowed: utterances [N, samples] at 8000 a second"),
        (np.zeros((2, 0), np.int16), "x has shape (2, 0)"),
        (np.array([[0, 1], [2, 40000]]), "utterance 1 reaches from 2 to 40000"),
    ],
)
def test_other_arrays_are_one_clear_error(x: np.ndarray, said: str) -> None:
    assert said in refused(lambda: RULE.apply(x, "x"))


def test_shifts_are_those_of_a_room_and_a_microphone() -> None:
    codes = RULE.apply(np.stack([tone(name, 3) for name in PITCH]), "x")

    def shifted(text: str) -> np.ndarray:
        return parse_shift(text, RULE)(codes)

    assert np.array_equal(shifted("later:0"), codes)
    assert np.array_equal(shifted("muffled:0"), codes)
    later = shifted("later:100")
    assert np.array_equal(later[:, 5:, :, 0].argmax(2), codes[:, :-5, :, 0].argmax(2))
    assert not later[:, :5].any()
    assert not shifted("later:-9000").any()
    noisy = shifted("noise:20")
    quiet = codes < 2 * 127 - 2 * 80  # 30 dB down
    assert abs(np.median(noisy[quiet]) - 2 * (127 - 20 / DECIBELS)) < 10
    assert np.abs(noisy[codes > 240].astype(int) - codes[codes > 240]).max() < 12
    assert shifted("muffled:40")[..., 16:, 0].mean() < codes[..., 16:, 0].mean()
    for text in ("noise:20", "later:60", "muffled:10"):
        assert (shifted(text).max((1, 2, 3)) == 254).all()
    silence = np.zeros_like(codes)
    for text in ("later:60", "muffled:10"):
        assert not parse_shift(text, RULE)(silence).any()
    with pytest.raises(UsageError, match="of the utterances; known: noise:DECIBELS"):
        parse_shift("rotate:90", RULE)


def test_noise_is_another_one_for_every_utterance() -> None:
    heard = []
    for loudest in (0, 1):
        codes = np.full((1, *RULE.shape), 20, np.uint8)
        codes[0, 0, loudest] = 254
        heard.append(parse_shift("noise:20", RULE)(codes)[0, 1:])
    assert np.abs(heard[0].astype(int) - heard[1]).max() > 10


# -- files -----------------------------------------------------------------------------------------


def test_a_folder_of_recordings_is_sound(tmp_path: Path) -> None:
    found = open_path(folder_of_tones(tmp_path))
    assert (found.kind, found.classes, found.own_rule()) == ("sound", ("high", "low"), RULE)
    split = found.read().splits["all"]
    assert split.x.shape == (24, 32, 32, 1)
    one = tmp_path / "low" / "3.wav"
    assert np.array_equal(read_inputs(one, RULE)[0][1], log_mel(read_wav(one)))
    assert len(read_inputs(tmp_path / "low", RULE)) == 12
    for part in ("train", "test"):
        folder_of_tones(tmp_path / "apart" / part, 2)
    assert sorted(open_path(tmp_path / "apart").parts) == ["test", "train"]


def test_pictures_and_recordings_together_are_refused_but_for_a_kind(tmp_path: Path) -> None:
    from PIL import Image

    folder_of_tones(tmp_path)
    for name in PITCH:
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    said = refused(lambda: open_path(tmp_path))
    assert "images and utterances together" in said
    assert "give --input image or --input sound" in said
    assert len(open_path(tmp_path, reading=Reading(input="sound")).parts["all"]) == 24
    assert open_path(tmp_path, reading=Reading(input="image")).own_rule() == ImageRule(
        8, 8, 1, "crop"
    )
    with pytest.raises(UsageError, match="unknown --input 'smell'"):
        open_path(tmp_path, reading=Reading(input="smell"))


def test_bad_recordings_are_one_clear_line_or_passed_over(tmp_path: Path) -> None:
    sound = tone("low", 0)
    stereo = np.stack([sound, sound], 1)
    bad = {
        "44100 samples a second": write_wav(tmp_path / "a/rate.wav", sound, 44100),
        "2 channel(s) of 16 bits": write_wav(tmp_path / "a/stereo.wav", stereo, channels=2),
        "1 channel(s) of 24 bits": write_wav(tmp_path / "a/deep.wav", np.zeros(300, "u1"), bytes=3),
        "1 channel(s) of 8 bits": write_wav(tmp_path / "a/flat.wav", np.zeros(300, "u1"), bytes=1),
        "without a sample": write_wav(tmp_path / "a/empty.wav", sound[:0]),
        "cut: 1,978 of 4,000 samples are there": write_wav(tmp_path / "a/cut.wav", sound),
        "cannot be read as a WAV file": tmp_path / "a/none.wav",
        "no recording; the model reads files .wav": tmp_path / "a/b.mp3",
    }
    cut = tmp_path / "a/cut.wav"
    cut.write_bytes(cut.read_bytes()[:4001])
    (tmp_path / "a/none.wav").touch()
    (tmp_path / "a/b.mp3").write_bytes(b"ID3")
    for said, path in bad.items():
        assert said in refused(lambda path=path: RULE.read(path))
    folder_of_tones(tmp_path, 2)
    shutil.copytree(tmp_path / "low", tmp_path / "a", dirs_exist_ok=True)
    door = SampleFilter("skip")
    found = open_path(tmp_path, door=door)
    assert len(found.parts["all"]) == 6
    assert door.skipped == {"file": 7}
    with pytest.raises(DfedgeError):
        open_path(tmp_path).read()


def test_folders_within_a_class_say_who_speaks(tmp_path: Path) -> None:
    for number, name in enumerate(("anna", "ben", "eve")):
        for pitch in PITCH:
            for take in range(4):
                place = tmp_path / "words" / pitch / name / f"{take}.wav"
                write_wav(place, tone(pitch, 10 * number + take))
    write_wav(tmp_path / "words" / "low" / "nobody.wav", tone("low", 99))
    found = open_path(tmp_path / "words", reading=Reading(leave_out="speaker:ben"))
    assert (found.kind, found.classes, len(found.parts["all"])) == ("sound", ("high", "low"), 25)
    cut = found.cut(0)
    assert set(cut.parts["test"].groups["speaker"]) == {"ben"}
    assert set(cut.parts["train"].groups["speaker"]) == {"", "anna", "eve"}
    assert all("ben" in file.parts for file in cut.parts["test"].files)
    only = found.only("speaker:eve", 0).parts
    assert sum(len(only[name]) for name in ("train", "test")) == 8
    with pytest.raises(UsageError, match=r"unknown speaker of .* 'zoe'; known: .*anna, ben, eve"):
        open_path(tmp_path / "words", reading=Reading(leave_out="speaker:zoe")).cut(0)
    plain = folder_of_tones(tmp_path / "plain", 2)
    with pytest.raises(UsageError, match=r"put those of each speaker in .* CLASS/SPEAKER/\*\.wav"):
        open_path(plain, reading=Reading(leave_out="speaker:ben"))
    for part in ("train", "test"):
        folder_of_tones(tmp_path / "apart" / part, 2)
    with pytest.raises(UsageError, match="has a test split of its own"):
        open_path(tmp_path / "apart", reading=Reading(leave_out="speaker:ben"))


def test_a_class_without_a_recording_is_named(tmp_path: Path) -> None:
    folder_of_tones(tmp_path, 2)
    (tmp_path / "empty").mkdir()
    said = refused(lambda: open_path(tmp_path))
    assert "empty: a class without an utterance: no files; utterances are .wav" in said


def test_utterances_in_an_array_are_asked_for_by_name(tmp_path: Path) -> None:
    x = np.stack([tone("low", i) for i in range(6)])
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(6) % 2)
    found = open_path(tmp_path / "x.npz", reading=Reading(input="sound"))
    assert np.array_equal(found.read().splits["all"].x, RULE.apply(x, "x"))


def test_a_speaker_of_the_spoken_digits_is_left_out_by_name() -> None:
    try:
        found = open_data("fsdd", reading=Reading(leave_out="speaker:theo"))
    except DfedgeError:
        pytest.skip("the Free Spoken Digit Dataset is not here; set DFEDGE_DATA")
    cut = found.cut(0)
    assert set(cut.parts["test"].groups["speaker"]) == {"theo"}
    assert "theo" not in cut.parts["train"].groups["speaker"]
    plain = open_data("fsdd-without-theo")
    assert (plain.kind, plain.own_rule()) == ("sound", RULE)
    assert {name: len(part) for name, part in plain.parts.items()} == {"train": 2250, "test": 250}


# -- the whole route -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_tones(tmp_path_factory.mktemp("tones"), 24)


@pytest.fixture(scope="module")
def bundle(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dfedge.exporters.write import ExportOptions, export
    from dfedge.learn.train import TrainOptions, train

    home = tmp_path_factory.mktemp("route")
    settings = {"epochs": 4, "qat_epochs": 1}
    run = train(TrainOptions(str(tones), qat=True, settings=settings), home / "run")
    assert run.plan.net_name == "speech"
    export(run, ExportOptions(("onnx", "c"), spare_classes=1), home / "bundle")
    return home / "bundle"


def test_recordings_are_learned_answered_and_taught_by_their_files(
    bundle: Path, tones: Path, dfedge, tmp_path: Path
) -> None:
    assert json.loads((bundle / "manifest.json").read_bytes())["input"] == {"kind": "sound"}
    assert dfedge("evaluate", bundle, "--data", tones, "--json").json["accuracy"] > 0.9
    done = dfedge("finetune", bundle, "--data", tones, "--shift", "noise:20", "--samples", 32,
                  "--state", tmp_path / "state")  # fmt: skip
    assert done.code == 0, done.err
    new = write_wav(tmp_path / "new.wav", tone("high", 99))
    answers = dfedge("predict", bundle, new, tones / "low" / "1.wav", "--json").json
    assert [one["class"] for one in answers["predictions"]] == ["high", "low"]
    rng = np.random.default_rng(0)
    for number in range(4):
        hiss = rng.normal(0, 3000, 5000).astype(np.int16)
        write_wav(tmp_path / "hiss" / f"{number}.wav", hiss)
    done = dfedge("add-class", bundle, "hiss", "--samples", tmp_path / "hiss", "--state",
                  tmp_path / "more")  # fmt: skip
    assert done.code == 0, done.err
    said = dfedge("predict", bundle, tmp_path / "hiss", "--state", tmp_path / "more", "--json")
    assert {one["class"] for one in said.json["predictions"]} == {"hiss"}
    fast = write_wav(tmp_path / "fast.wav", tone("low", 1), 16000)
    done = dfedge("predict", bundle, fast)
    assert done.code == 1
    assert "fast.wav: 16000 samples a second" in done.err
    done = dfedge("train", "--data", tones, "--image", "64x64", "--out", tmp_path / "run")
    assert done.code == 2
    assert "--image and --fit are of pictures" in done.err


def test_a_session_takes_a_microphone_s_samples(bundle: Path) -> None:
    session = Session.open(bundle, initial=True)
    session.learn(tone("low", 50), "low")
    assert session.predict(tone("low", 51, 9000)).name == "low"


def test_a_stream_of_recordings_follows_their_dates(bundle: Path, tones: Path) -> None:
    from dfedge.data.streams import StreamSource, parse_stream

    for source in (StreamSource(str(tones)), StreamSource(str(tones), rule=RULE)):
        stream = parse_stream("folder:experiences=2").make(source, 0)
        assert stream.samples == 40
        assert stream.experiences[0].train.x.shape[1:] == RULE.shape


# -- live ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("1 -2,3;\r", [1, -2, 3]),
        ("-32768", [-32768]),
        ("1 up", "word"),
        ("1.5", "word"),
        ("32768", "value"),
    ],
)
def test_a_line_is_a_piece_of_a_sound_or_says_why_not(line: str, read: list | str) -> None:
    if isinstance(read, list):
        assert Pieces().read(line).tolist() == read
        return
    with pytest.raises(BadLineError) as refused:
        Pieces().read(line)
    assert refused.value.flaw == read


def test_utterances_overlap_whatever_the_pieces() -> None:
    sound = np.arange(100, dtype=np.int16)
    for hop in (1, 4, 8, 11, 30):
        for size in (1, 5, 20, 100):
            cut = Overlapping(8, hop)
            found = [one for i in range(0, 100, size) for one in cut.add(sound[i : i + size])]
            assert [one.tolist() for one in found] == [
                list(range(start, start + 8)) for start in range(0, 93, hop)
            ]
        cut.clear()
        assert cut.add(sound[:8])[0].tolist() == list(range(8))


class Microphone:
    """What sounddevice opens: it gives a whole sound at once, one piece of which comes late."""

    sound = np.concatenate([tone("low", 70, 8000), tone("high", 71, 6000)]) // 100  # fits a pipe
    late = 8000

    def __init__(self, samplerate, channels, dtype, blocksize, callback) -> None:
        assert (samplerate, channels, dtype) == (8000, 1, "int16")
        for at in range(0, len(self.sound), blocksize):
            piece = self.sound[at : at + blocksize].tobytes()
            callback(piece, blocksize, None, "input overflow" if at == self.late else "")

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_microphone_is_heard_in_utterances_that_overlap(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dfedge.data.live.lines import lines
    from dfedge.data.live.ports import opened

    package = SimpleNamespace(RawInputStream=Microphone, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", package)
    session = Session.open(bundle, "native", tmp_path / "state", initial=True)
    starts = [0, LENGTH // 2, 8000]  # none across the gap
    wanted = [session.predict(Microphone.sound[at : at + LENGTH]).score for at in starts]
    found = []
    with Live(session) as live, opened("mic", None, live.hears) as first:
        for _, line in lines(first, stop=lambda: len(found) == len(starts)):
            found.extend(one for one in live.line(line) if isinstance(one, Answer))
        assert [one.prediction.score for one in found] == wanted
        assert live.door.skipped == {"word": 1}
        assert [one.name for one in live.command("l high") if isinstance(one, Taught)] == ["high"]


def test_a_microphone_that_is_not_there_is_one_line(
    bundle: Path, dfedge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ("live", bundle, "--source", "mic", "--runtime", "native", "--state", tmp_path / "s")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = dfedge(*command)
    assert done.code == 2
    assert "--source mic needs the package sounddevice" in done.err and done.err.count("\n") == 1

    def nothing(**_: object) -> None:
        raise RuntimeError("no default input device")

    package = SimpleNamespace(RawInputStream=nothing, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", package)
    done = dfedge(*command)
    assert done.code == 3
    assert "--source mic: no default input device" in done.err and done.err.count("\n") == 1


def test_a_sound_is_heard_through_a_pipe(bundle: Path, dfedge, tmp_path: Path) -> None:
    sound = np.concatenate([tone("low", 60, 6000), tone("high", 61, 6000)])
    file = tmp_path / "sound.txt"
    file.write_text("".join(" ".join(map(str, sound[i : i + 300])) + "\n"
                            for i in range(0, 12000, 300)) + "l high\n")  # fmt: skip
    done = dfedge("live", bundle, "--source", file, "--hop", 6000, "--json", "--runtime", "native",
                  "--state", tmp_path / "s")  # fmt: skip
    assert done.code == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [one["class"] for one in events if "class" in one] == ["low", "high"]
    assert [one["taught"] for one in events if "taught" in one and "window" in one] == ["high"]


# -- on a device -----------------------------------------------------------------------------------


def test_an_exported_folder_makes_the_same_features(bundle: Path) -> None:
    library = load_from(bundle / "c")
    x, sound = np.empty(RULE.shape, np.int8), tone("low", 3)
    library.net_input(
        sound.ctypes.data_as(ctypes.c_void_p), len(sound), x.ctypes.data_as(ctypes.c_void_p)
    )
    assert np.array_equal(x, to_input(log_mel(sound)))


@pytest.mark.parametrize("rule", BOTH, ids=lambda rule: rule.features)
def test_c_makes_the_same_features_of_any_utterance(rule: SoundRule, tmp_path: Path) -> None:
    net_input = compiled(rule, tmp_path / "c")
    for sound in utterances():
        found = net_input(sound, len(sound))
        assert np.array_equal(found, to_input(log_mel(sound, rule.size))), len(sound)
    assert not net_input(np.zeros(0, np.int16), 0).any()


def test_the_kernel_s_arrays_hold_every_size() -> None:
    text = (SOURCES / "log_mel.h").read_text()
    assert f"DFE_MOST_FRAME = {max(one.frame for one in SIZES.values())}," in text
    assert f"DFE_MOST_MELS = {max(one.mels for one in SIZES.values())} " in text


SMALL_NET = """
anchors = 2
[train]
epochs = 2
qat_epochs = 1
[[block]]
channels = 8
stride = 2
[[block]]
channels = 12
stride = 2
"""


@pytest.mark.slow
@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(
    ("target", "rule"),
    [("mps2-an386", RULE), ("mps3-an547", RULE), ("mps2-an386", WORDS)],
    ids=lambda one: getattr(one, "features", one),
)
def test_a_microcontroller_hears_and_learns_what_the_host_does(
    target: str, rule: SoundRule, tmp_path: Path, tones: Path
) -> None:
    from dfedge.exporters.write import ExportOptions, export
    from dfedge.learn.train import TrainOptions, train

    net = tmp_path / "net.toml"
    net.write_text(f"features = '{rule.features}'\n{SMALL_NET}")
    run = train(TrainOptions(str(tones), net=str(net), qat=True), tmp_path / "run")
    export(run, ExportOptions(("c",), target, batch=1), tmp_path / "bundle")
    session = Session.open(tmp_path / "bundle", "native", initial=True)
    sound = tone("low", 7)
    session.learn_input(to_input(rule.apply(sound[None], "x")), np.array([1]))
    numbers = ",".join(map(str, sound))
    declared = f"#define SAMPLE sound, {len(sound)}\nstatic const int16_t sound[] = {{{numbers}}};"
    found = learned_on_chip(session, target, tmp_path, declared)
    assert bytes.fromhex(found["x"]) == to_input(log_mel(sound, rule.size)).tobytes()
    assert int(found["stack"]) < 4096
    assert 40 * int(found["ticks"]) < (20_000_000 if rule == RULE else 30_000_000)
