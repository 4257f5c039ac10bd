"""Streams of experiences, and the features of speech."""

import os
import shutil
import wave as sound
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from motion import SPEED, T, wave, write_table
from PIL import Image

from dfedge.data.catalogue import Cut
from dfedge.data.dataset import Split
from dfedge.data.fsdd import recordings
from dfedge.data.logmel import (
    HOP,
    KEYWORDS,
    LONGEST,
    MEL_BITS,
    SPEECH,
    WINDOW_BITS,
    LogMel,
    filters,
    log_mel,
)
from dfedge.data.reading import Reading
from dfedge.data.shift import parse_shift
from dfedge.data.sources import load, load_split, open_data
from dfedge.data.streams import KINDS, Stream, StreamSource, parse_stream
from dfedge.data.streams.drift import changed, gradual
from dfedge.data.wav import read_wav
from dfedge.errors import DfedgeError, UsageError

DIGITS = StreamSource("digits")


def made(text: str, seed: int = 0) -> Stream:
    return parse_stream(text).make(DIGITS, seed)


def same(a: Stream, b: Stream) -> bool:
    return all(
        np.array_equal(x.train.x, y.train.x) and np.array_equal(x.train.y, y.train.y)
        for x, y in zip(a.experiences, b.experiences, strict=True)
    )


@pytest.mark.parametrize(
    "text",
    [
        "labelled:samples=50,test=20",
        "drift:samples=40,experiences=4,noise=20,blur=1,brightness=0.2,test=20",
        "class-incremental:each=3,samples=20",
        "domain-incremental:how=permuted,samples=50,test=20",
        "domain-incremental:how=rotated,samples=50,test=20",
    ],
)
def test_stream_is_a_function_of_its_seed(text: str) -> None:
    assert same(made(text, 1), made(text, 1))
    assert not same(made(text, 1), made(text, 2))


def test_drift_ends_at_the_whole_change_and_begins_almost_without() -> None:
    stream = made("drift:rotate=90,samples=100,experiences=5,test=50")
    assert [len(e.train) for e in stream.experiences] == [20] * 5
    upright = stream.known
    assert upright is not None
    turned = np.rot90(upright.x, axes=(1, 2))
    assert np.array_equal(stream.experiences[-1].test.x, turned)


def test_class_incremental_shows_every_class_in_one_experience_only() -> None:
    stream = made("class-incremental:each=4")
    shown = [set(e.train.y.tolist()) for e in stream.experiences]
    assert shown == [{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}]
    assert all(set(e.test.y.tolist()) == s for e, s in zip(stream.experiences, shown, strict=True))
    assert stream.fresh


def test_permuted_domains_keep_every_pixel_and_the_first_is_as_it_was() -> None:
    stream = made("domain-incremental:how=permuted,experiences=3,samples=50,test=20")
    tests = [e.test.x.reshape(20, -1) for e in stream.experiences]
    assert np.array_equal(tests[0].reshape(20, 8, 8, 1), stream.experiences[0].test.x)
    for moved in tests[1:]:
        assert not np.array_equal(moved, tests[0])
        assert np.array_equal(np.sort(moved, 1), np.sort(tests[0], 1))


def test_folder_is_read_in_the_order_of_its_dates(tmp_path: Path) -> None:
    digits = load("digits").splits["train"]
    for i in range(20):
        folder = tmp_path / f"class{digits.y[i] % 2}"
        folder.mkdir(exist_ok=True)
        file = folder / f"{99 - i}.png"
        Image.fromarray(digits.x[i, ..., 0]).save(file)
        os.utime(file, (1000 + i, 1000 + i))
    stream = parse_stream("folder:experiences=2,held_out=5").make(StreamSource(str(tmp_path)), 0)
    assert stream.classes == ("class0", "class1")
    first = stream.experiences[0]
    assert np.array_equal(first.train.x, digits.x[[0, 1, 2, 3, 5, 6, 7, 8]])
    assert np.array_equal(first.test.x, digits.x[[4, 9]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tilt", "unknown stream 'tilt'; known: class-incremental, domain-incremental, drift"),
        (
            "drift:angle=3",
            "drift: unknown setting 'angle'; known: samples, experiences, test; of the ",
        ),
        ("drift:samples=0", "samples"),
        ("drift:samples=4,experiences=9", "each experience needs one"),
        ("domain-incremental:samples=900", "5 times 900 samples; digits has 1000"),
        ("new-user:speaker=fred", "unknown speaker 'fred'"),
        ("folder", "digits is not a folder"),
    ],
)
def test_stream_that_does_not_exist_is_refused(text: str, message: str) -> None:
    if text.startswith("new-user"):
        speech()
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        made(text)


# -- over signals ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> StreamSource:
    """One table of three people and two motions."""
    path = tmp_path_factory.mktemp("worn") / "worn.csv"
    x, people, motions = [], [], []
    for person in range(1, 4):
        for k, name in enumerate(SPEED):
            x.append(wave(name, 10 * T, 10 * person + k) + person)
            people += [person] * 10 * T
            motions += [name] * 10 * T
    write_table(path, np.concatenate(x), person=people, label=motions)
    return StreamSource(str(path), reading=Reading(window=T))


def test_signals_drift_by_their_own_shifts(worn: StreamSource) -> None:
    text = "drift:gain=0.5,turn=90,samples=20,experiences=2,test=30"
    stream = parse_stream(text).make(worn, 0)
    assert stream.known is not None
    shift = parse_shift("gain:0.5+turn:90", worn.loaded(0)[1])
    assert np.array_equal(stream.experiences[-1].test.x, shift(stream.known.x))
    half = parse_shift("gain:0.75+turn:45", worn.loaded(0)[1])
    assert np.array_equal(stream.experiences[0].test.x, half(stream.known.x))
    plain, noisy = (parse_stream(f"drift:{change}samples=10").make(worn, 0) for change in
                    ("", "noise=0.3,"))  # fmt: skip
    assert not same(plain, noisy)
    for bad, said in (
        ("drift:rotate=90", "rotate is not of the windows, which drift by gain, offset"),
        ("drift:gain=much", "unknown shift 'gain=much' of the windows"),
        ("drift:upside-down=", "unknown setting 'upside-down'"),
        ("domain-incremental:samples=5", "the windows are not rotated; give how=permuted"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            parse_stream(bad).make(worn, 0)
    with pytest.raises(UsageError, match="gain is not of the images, which drift by rotate, blur"):
        made("drift:gain=2")


def test_every_change_that_is_gradual_is_none_at_its_beginning(worn: StreamSource) -> None:
    data, rule = worn.loaded(0)
    x = data.splits["train"].x
    for name in gradual(rule):
        numbers = [rule.shifts[name].still] * len(rule.shifts[name].numbers)
        assert np.abs(rule.shift(name, numbers)(x).astype(int) - x).max() <= 1, name
        assert changed(x, rule, {name: [2.0]}, 0) is x
    digits, upright = DIGITS.loaded(0)
    x = digits.splits["test"].x[:9]
    for name in ("rotate", "blur", "brightness", "noise"):
        assert np.array_equal(upright.shift(name, [upright.shifts[name].still])(x), x), name


def test_new_users_are_learned_and_tested_apart_in_time(worn: StreamSource) -> None:
    all_of_them = parse_stream("new-user").make(worn, 0)
    assert [e.name for e in all_of_them.experiences] == ["person:1", "person:2", "person:3"]
    assert all_of_them.known is None
    some = parse_stream("new-user:who=person:2").make(worn, 0)
    (one,) = some.experiences
    assert some.known is not None and some.past is not None
    assert set(one.train.y.tolist()) == set(one.test.y.tolist()) == {0, 1}
    others = {e.name: e for e in all_of_them.experiences}
    assert np.array_equal(others["person:2"].test.x, one.test.x)
    assert len(some.known) == len(others["person:1"].test) + len(others["person:3"].test)
    assert not {w.tobytes() for w in one.train.x} & {w.tobytes() for w in one.test.x}
    few = parse_stream("new-user:who=person:2,utterances=2+5").make(worn, 0).experiences
    assert [(e.name, np.bincount(e.train.y).tolist()) for e in few] == [
        ("person:2, 2", [2, 2]), ("person:2, 5", [3, 3]),
    ]  # fmt: skip
    assert {w.tobytes() for e in few for w in e.train.x} < {w.tobytes() for w in one.train.x}
    with pytest.raises(UsageError, match="utterances=5\\+99; allowed: rising numbers"):
        parse_stream("new-user:who=person:2,utterances=5+99").make(worn, 0)
    left = replace(worn, reading=Reading(window=T, leave_out="person:3"))
    assert [e.name for e in parse_stream("new-user").make(left, 0).experiences] == ["person:3"]
    with pytest.raises(UsageError, match=r"unknown person of .*'7'; known: 1, 2, 3"):
        parse_stream("new-user:who=person:7").make(worn, 0)
    with pytest.raises(UsageError, match="does not say to whom its samples belong"):
        parse_stream("new-user:who=person:7").make(DIGITS, 0)


def test_other_streams_take_signals(worn: StreamSource) -> None:
    for text, count in (("labelled", 1), ("class-incremental:each=1", 2)):
        stream = parse_stream(text).make(worn, 0)
        assert len(stream.experiences) == count
        assert stream.experiences[0].train.x.shape[1:] == (T, 1, 3)


def test_recordings_arrive_in_the_order_of_their_dates(motion: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(motion, tmp_path / "motion")
    files = [folder / name / f"{i}.csv" for i in range(8) for name in SPEED]
    for i, file in enumerate(files):
        os.utime(file, (1000 + i, 1000 + i))
    source = StreamSource(str(folder), reading=Reading(window=T))
    stream = parse_stream("folder:experiences=2,held_out=4").make(source, 0)
    assert stream.classes == tuple(sorted(SPEED))
    rule = source.open().own_rule()
    first = stream.experiences[0]
    assert np.array_equal(first.test.x, np.concatenate([rule.read(files[i]) for i in (3, 7)]))
    assert first.test.y.tolist() == [0] * 10  # fast
    assert len(first.train) == 6 * 5


def test_one_persons_samples_are_learned_and_tested_apart(worn: StreamSource) -> None:
    rule = worn.loaded(0)[1]
    whole = open_data(worn.data, reading=worn.reading)

    def split(which: str, reading: Reading, cut: Cut | None, only: str = "person:2") -> Split:
        name, found = load_split(worn.data, None, rule, whole.classes, (which, "all"), None,
                                 cut=cut, reading=reading, only=only)  # fmt: skip
        assert name == f"{which} of {only}"
        return found

    left_out = Reading(window=T, leave_out="person:2")
    own = rule.apply(whole.parts["all"].of("person:2").x, "x")
    for reading, cut in ((worn.reading, None), (worn.reading, whole.record(0)),
                         (left_out, open_data(worn.data, reading=left_out).record(0))):  # fmt: skip
        train, test = (
            {x.tobytes() for x in split(which, reading, cut).x} for which in ("train", "test")
        )
        assert train and test and not train & test
        assert train | test <= {x.tobytes() for x in own}
    with pytest.raises(UsageError, match=r"unknown group of .*'day'; known: person"):
        split("test", worn.reading, None, "day:2")


def test_every_kind_of_stream_can_be_read_by_name() -> None:
    assert {type(parse_stream(name)).__name__ for name in KINDS} == {
        "Labelled", "Drift", "ClassIncremental", "DomainIncremental", "NewUser",
        "FolderOverTime",
    }  # fmt: skip


def speech() -> None:
    try:
        recordings()
    except DfedgeError:
        pytest.skip("the Free Spoken Digit Dataset is not here; set DFEDGE_DATA")


def test_new_user_is_never_among_the_known_and_learns_by_takes() -> None:
    speech()
    stream = parse_stream("new-user:speaker=theo,utterances=5+20").make(DIGITS, 0)
    assert [len(e.train) for e in stream.experiences] == [50, 150]
    assert all(len(e.test) == 200 for e in stream.experiences)
    assert stream.known is not None
    assert len(stream.known) == 250
    without = load("fsdd-without-theo")
    assert len(without.splits["train"]) == 5 * 450
    assert np.array_equal(
        np.unique(stream.known.x, axis=0), np.unique(without.splits["test"].x, axis=0)
    )


# -- features of speech --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SPEECH, KEYWORDS])
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2 * LONGEST), st.integers(1, 32000), st.integers(0, 1 << 30))
def test_features_are_what_the_formula_says(size: LogMel, count: int, loud: int, seed: int) -> None:
    sound = np.random.default_rng(seed).integers(-loud, loud, count).astype(np.int16)
    found = log_mel(sound, size)
    assert found.shape == (size.frames, size.mels, 1)
    middle = [0] * size.length
    for i, value in enumerate(sound.tolist()):
        at = i + (size.length - count) // 2
        if 0 <= at < size.length:
            middle[at] = value
    n = np.arange(size.frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / size.frame)
    t, triangles = 5, filters(size).astype(object)
    frame = middle[t * HOP : t * HOP + size.frame]
    energy = [0] * size.mels
    for k in range(size.frame // 2 + 1):
        parts = []
        for wave_of in (np.cos, np.sin):
            basis = np.round((1 << WINDOW_BITS) * window * wave_of(2 * np.pi * n * k / size.frame))
            parts.append(sum(int(b) * v for b, v in zip(basis, frame, strict=True)) >> WINDOW_BITS)
        power = parts[0] ** 2 + parts[1] ** 2
        energy = [e + int(triangles[k, m]) * power for m, e in enumerate(energy)]
    assert triangles.max() <= 1 << MEL_BITS
    # Eighths of an octave: level j is reached where E^8 >= 2^j, but that floor(2^(j/8)) rounds
    # the threshold down, which counts for the smallest energies only.
    levels = [next(j for j in range(600, -1, -1) if (e + 1) ** 8 > 1 << j) + 1 if e else 0
              for e in energy]  # fmt: skip
    steps = found[t, :, 0].astype(int) // 2
    for a in range(size.mels):
        for b in range(size.mels):
            if steps[a] and steps[b] and min(energy[a], energy[b]) > 1 << 12:
                assert steps[a] - steps[b] == levels[a] - levels[b]


def test_silence_is_zero_and_the_loudest_cell_is_full() -> None:
    assert not log_mel(np.zeros(3000, np.int16)).any()
    tone = (8000 * np.sin(np.arange(6000) * 0.5)).astype(np.int16)
    found = log_mel(tone)
    assert found.max() == 254
    assert np.array_equal(found, log_mel(tone))


def test_features_hardly_depend_on_loudness() -> None:
    tone = (8000 * np.sin(np.arange(6000) * 0.5)).astype(np.int16)
    a, b = log_mel(tone).astype(int), log_mel(tone // 4).astype(int)
    assert np.abs(a - b)[a > 100].max() <= 4


def test_features_of_a_fixed_sound_are_these_bytes() -> None:
    """The same on every machine: host and device share them to the bit."""
    import hashlib

    sound = ((np.arange(7000) ** 2 * 31) % 20011 - 10005).astype(np.int16)
    digest = hashlib.sha256(log_mel(sound).tobytes()).hexdigest()
    assert digest[:16] == "24a9a7e242f95c30"


def test_recording_at_another_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fast.wav"
    with sound.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(3200))
    with pytest.raises(DfedgeError, match=r"16000 samples a second.*reads 8000 a second"):
        read_wav(path)
    (tmp_path / "no.wav").write_bytes(b"nothing")
    with pytest.raises(DfedgeError, match="cannot be read as a WAV file"):
        read_wav(tmp_path / "no.wav")
