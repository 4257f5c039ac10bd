"""Signals: windows and vectors from files to the device, by one rule in integers."""

import ctypes
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from motion import CHANNELS, T, wave, write_table

from dfedge.data.door import SampleFilter
from dfedge.data.files import open_path
from dfedge.data.inputs import decoded, to_input
from dfedge.data.inputs.scale import ChannelScale
from dfedge.data.inputs.window import WindowRule
from dfedge.data.reading import Reading
from dfedge.data.recordings import Recording, windows
from dfedge.data.series import parse_series
from dfedge.data.shift import parse_shift
from dfedge.data.sources import load_split
from dfedge.data.tables import read_table
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError
from dfedge.native.library import load_from

# -- the rule --------------------------------------------------------------------------------------


def test_whole_numbers_are_coded_by_whole_numbers_alone() -> None:
    x = np.random.default_rng(0).integers(-2000, 6000, (50, T, 2), np.int32)
    rule = WindowRule.suited(x)
    assert [one.fraction for one in rule.scales] == [0, 0]
    codes = rule.apply(x, "x")
    assert codes.shape == (50, T, 1, 2)
    for c, one in enumerate(rule.scales):
        raw = x[..., c].ravel().tolist()
        by_hand = [min(max(v * one.multiplier + one.offset >> one.shift, 0), 255) for v in raw]
        assert codes[:, :, 0, c].ravel().tolist() == by_hand
    assert codes.min() < 20
    assert codes.max() > 235


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("middle", [0.0, 40.0])
def test_a_channel_keeps_its_resolution_whatever_its_unit(size: float, middle: float) -> None:
    x = (np.random.default_rng(0).normal(middle, 1, (200, T, 1))) * size
    rule = WindowRule.suited(x)
    one = rule.scales[0]
    codes = rule.apply(x, "x")[:, :, 0].astype(float)
    inside = (codes > 0) & (codes < 255)
    assert inside.mean() > 0.99
    assert np.abs((codes - one.zero) / one.step - x)[inside].max() < 0.03 * size


def test_single_spikes_do_not_cost_the_others_their_resolution() -> None:
    x = np.random.default_rng(0).normal(0, 1, (200, T, 1))
    plain = WindowRule.suited(x).scales[0].step
    x[::40, 3] = 1e4
    assert WindowRule.suited(x).scales[0].step > 0.8 * plain


def test_a_channel_that_never_changes_has_one_code() -> None:
    x = np.zeros((5, T, 2))
    x[..., 1] = np.random.default_rng(0).random((5, T))
    codes = WindowRule.suited(x).apply(x + 3, "x")
    assert np.unique(codes[..., 0]).tolist() == [128]


def test_values_that_31_bits_cannot_tell_apart_are_refused_by_name() -> None:
    x = 1.7e9 + np.random.default_rng(0).random((9, T, 1))
    with pytest.raises(DfedgeError, match=r"pressure: values .* subtract their mean"):
        WindowRule.suited(x, ("pressure",))


def test_a_rule_is_read_back_as_it_was_written() -> None:
    import msgspec

    from dfedge.data.inputs import InputRule

    rule = WindowRule.suited(np.random.default_rng(0).random((9, T, 2)), ("a", "b"))
    raw = msgspec.json.encode(rule)
    assert msgspec.json.decode(raw, type=InputRule, dec_hook=decoded) == rule
    unknown = raw.replace(b'"window"', b'"smell"')
    with pytest.raises(msgspec.ValidationError, match="kind 'smell'; known: image, sound, window"):
        msgspec.json.decode(unknown, type=InputRule, dec_hook=decoded)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, T, 2)), "windows of 24 samples of 2 channels; the model reads windows of 24"),
        (np.zeros((2, 9, 3)), "windows of 9 samples of 3 channels"),
        (np.full((2, T, 3), np.nan), "a value of sample 0 is not finite"),
        (np.zeros((2, T, 3), complex), "complex128"),
        (np.zeros((2, T, 3, 1)), "allowed: [N, T, C]"),
    ],
)
def test_other_windows_are_one_clear_error(x: np.ndarray, said: str) -> None:
    rule = WindowRule(T, (ChannelScale(0, 1, 0, 0),) * 3)
    with pytest.raises(DfedgeError) as refused:
        rule.apply(x, "x")
    assert said in str(refused.value)


# -- shifts ----------------------------------------------------------------------------------------


def test_shifts_are_those_of_the_signal() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (40, T, 3))
    rule = WindowRule.suited(x)
    codes = rule.apply(x, "x")

    def shifted(text: str) -> np.ndarray:
        return parse_shift(text, rule)(codes).astype(int)

    for text, same in (
        ("gain:0.5", x * 0.5),
        ("upside-down", x * [1, -1, -1]),
        ("turn:90", x[..., [1, 0, 2]] * [-1, 1, 1]),
        ("turn:90+turn:-90", x),
        ("stretch:1", x),
    ):
        assert np.abs(shifted(text) - rule.apply(same, "x")).max() <= 6, text
        assert np.abs(shifted(text) - rule.apply(same, "x")).mean() <= 1, text
    assert shifted("offset:0.2").mean() - codes.mean() == pytest.approx(0.2 * 127.5, abs=3)
    assert 4 < np.abs(shifted("noise:0.1") - codes).mean() < 16
    assert not np.array_equal(shifted("stretch:1.5"), codes)
    for bad in ("rotate:90", "gain:x", "stretch:0", "gain:nan"):
        with pytest.raises(UsageError, match="known: gain:FACTOR"):
            parse_shift(bad, rule)
    two = WindowRule.suited(x[..., :2])
    with pytest.raises(UsageError, match="sensors of 3 axes; the windows have 2 channels"):
        parse_shift("turn:90", two)


# -- files -----------------------------------------------------------------------------------------


def test_a_table_of_rows_is_vectors_with_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_table(tmp_path / "rows.csv", rng.random((40, 3)), Class=["a", "b"] * 20)
    found = open_path(tmp_path / "rows.csv")
    assert (found.kind, found.classes, found.channels) == ("window", ("a", "b"), CHANNELS)
    cut = found.cut(0)
    assert cut.own_rule().shape == (1, 1, 3)
    assert [len(cut.parts[name]) for name in ("train", "test")] == [32, 8]


def test_one_long_table_is_cut_at_labels_owners_and_gaps(tmp_path: Path, caplog) -> None:
    x = np.arange(80.0)[:, None].repeat(3, 1)
    time = [i * 0.02 + (5.0 if i >= 60 else 0) for i in range(80)]
    label = ["walk"] * 20 + ["run"] * 60
    person = ["1"] * 40 + ["2"] * 40
    write_table(tmp_path / "long.csv", x, time=time, activity=label, person=person)
    with caplog.at_level(logging.INFO):
        found = open_path(tmp_path / "long.csv", reading=Reading(window=10, hop=5))
    part = found.parts["all"]
    assert "1 gaps in time" in caplog.text
    for window, y, who in zip(part.x, part.y, part.groups["person"], strict=True):
        rows = window[:, 0].astype(int)
        assert len({label[i] for i in rows}) == 1
        assert found.classes[y] == label[rows[0]]
        assert {person[i] for i in rows} == {who}
        assert not (rows[0] < 60 <= rows[-1])
    with pytest.raises(DfedgeError, match="a recording over time; give --window"):
        open_path(tmp_path / "long.csv")


def test_folders_of_tables_are_classes_by_the_rule_of_all_folders(tmp_path: Path) -> None:
    for name in ("_rest", "walk", ".cache", "__MACOSX"):
        write_table(tmp_path / name / "1.csv", np.ones((4, 3)))
    (tmp_path / "walk" / "._1.csv").write_bytes(b"\x00\x05")  # what macOS leaves beside a file
    assert open_path(tmp_path).classes == ("_rest", "walk")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("time;x;y\n2026-11-30T10:00:00.00;1,5;-,25\n2026-11-30T10:00:00.02;1e3;2,5e-1\n",
         [[1.5, -0.25], [1000, 0.25]]),
        ("t\tx\ty\n0\t1\t2\n1\t3\t4\n", [[1, 2], [3, 4]]),
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("\ufeffx,y\r\n1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
    ],
)  # fmt: skip
def test_tables_are_read_as_people_write_them(text: str, values: list, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert read_table(tmp_path / "x.csv").x.tolist() == values


def test_what_is_of_signals_alone_is_refused_for_images(dfedge, tmp_path: Path) -> None:
    done = dfedge("train", "--data", "digits", "--window", 8, "--out", tmp_path / "run")
    assert done.code == 2
    assert "--window 8: digits holds images" in done.err
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_vector_is_learned(tmp_path: Path) -> None:
    from dfedge.learn.train import TrainOptions, train

    write_table(
        tmp_path / "rows.csv", np.random.default_rng(0).random((82, 3)), label=["a", "b"] * 41
    )
    options = TrainOptions(str(tmp_path / "rows.csv"), settings={"epochs": 1, "batch": 65})
    assert train(options, tmp_path / "run").metrics()  # 66 training samples


def test_nobody_is_in_both_splits_who_is_left_out(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((400, 3))
    person = [str(i // 100) for i in range(400)]
    write_table(tmp_path / "long.csv", x, label=["a", "b"] * 200, person=person)
    reading = Reading(window=1, hop=1, leave_out="person:2")
    cut = open_path(tmp_path / "long.csv", reading=reading).cut(0)
    assert set(cut.parts["test"].groups["person"]) == {"2"}
    assert "2" not in cut.parts["train"].groups["person"]
    for wrong, said in (("person:9", "known: 0, 1, 2, 3"), ("day:1", "known: person")):
        with pytest.raises(UsageError, match=said):
            open_path(tmp_path / "long.csv", reading=Reading(leave_out=wrong)).cut(0)


def test_windows_that_share_samples_are_never_in_both_splits(motion: Path) -> None:
    cut = open_path(motion, reading=Reading(window=T)).cut(0)
    train, test = cut.parts["train"], cut.parts["test"]
    assert not set(train.recording) & set(test.recording)
    few = [Recording(np.arange(10.0 * T)[:, None], k) for k in (0, 1)]
    part = windows(few, Reading(window=T), "few")
    train, test = (part.take(index) for index in part.divided(0, "few"))
    for k in (0, 1):
        assert train.x[train.y == k].max() < test.x[test.y == k].min()
    assert len(test)


@pytest.mark.parametrize(
    ("change", "reading", "said"),
    [
        (lambda f: f.joinpath("slow/0.csv").write_text("x,y\n1,2\n"), {"window": 4},
         "no column z"),
        (lambda f: f.joinpath("slow/0.csv").write_text("x,y,z\n1,2,up\n"), {"window": 1},
         "column z, line 2: 'up' is not a number"),
        (lambda f: f.joinpath("slow/0.csv").write_text("x,y,z\n1,2\n"), {"window": 1},
         "line 2 has 2 columns, the first 3"),
        (lambda f: f.joinpath("slow/0.csv").write_text("x,y,z\n"), {"window": 1},
         "a header and no rows"),
        (lambda f: f.joinpath("slow/0.csv").write_text("x,y,z\n1,2,3\n"), {}, "give --window"),
        (lambda f: None, {"window": 999}, "longer than the longest recording"),
        (lambda f: f.joinpath("empty").mkdir(), {"window": 4}, "a class without a table"),
        (lambda f: [write_table(f / "slow" / f"{i}.csv", np.ones((9, 3)),
                                time=[j * (1 + i % 2) for j in range(9)]) for i in range(8)],
         {"window": 4}, "bring both to one rate"),
    ],
)  # fmt: skip
def test_bad_tables_are_one_clear_line(
    change, reading: dict, said: str, motion: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(motion, copy)
    change(copy)
    with pytest.raises(DfedgeError) as refused:
        open_path(copy, reading=Reading(**reading))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_windows_with_values_that_are_none_are_passed_over_and_counted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 3))
    write_table(tmp_path / "a" / "1.csv", x)
    write_table(tmp_path / "b" / "1.csv", x)
    text = (tmp_path / "a" / "1.csv").read_text().splitlines()
    text[5] = "1,?,3"
    text[6] = "1,nan,3"
    (tmp_path / "a" / "1.csv").write_text("\n".join(text))
    door = SampleFilter("skip")
    found = open_path(tmp_path, door=door, reading=Reading(window=10, hop=10))
    assert len(found.parts["all"]) == 7
    assert door.skipped == {"value": 1}
    with pytest.raises(DfedgeError, match="line 6: '\\?' is not a number"):
        open_path(tmp_path, reading=Reading(window=10))


def test_arrays_of_signals_are_asked_for_by_name(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(0, 3, (20, T, 3))
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20) % 2)
    with pytest.raises(DfedgeError, match="give --input window"):
        open_path(tmp_path / "x.npz")
    found = open_path(tmp_path / "x.npz", reading=Reading(input="window"))
    assert found.own_rule().shape == (T, 1, 3)
    with pytest.raises(UsageError, match=r"unknown --input 'smell'; known: image, sound, window"):
        open_path(tmp_path / "x.npz", reading=Reading(input="smell"))


def test_arrays_may_say_whose_each_sample_is(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(0, 3, (20, 5)), np.arange(20) % 2
    groups = [f"machine:{i // 5}" for i in range(20)]
    np.savez(tmp_path / "x.npz", x=x, y=y, groups=groups)
    cut = open_path(tmp_path / "x.npz", reading=Reading(leave_out="machine:2")).cut(0)
    assert set(cut.parts["test"].groups["machine"]) == {"2"}
    assert len(cut.parts["train"]) == 15
    np.savez(tmp_path / "y.npz", x=x, y=y, groups=groups[:-1])
    with pytest.raises(DfedgeError, match="one word for each of 20 samples"):
        open_path(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", x=x, y=y)
    with pytest.raises(UsageError, match=r"z\.npz has no array groups"):
        open_path(tmp_path / "z.npz", reading=Reading(leave_out="machine:2"))


def test_series_are_read_as_the_archive_writes_them() -> None:
    raw = b"@problemName X\n@data\n1,2,3:4,5,6:Up\n7,8,9:1,1,1:Down\n"
    (label, x), (other, _) = parse_series(raw, "x.ts")
    assert (label, other) == ("Up", "Down")
    assert x.tolist() == [[1, 4], [2, 5], [3, 6]]
    with pytest.raises(DfedgeError, match=r"x\.ts, line 1: no recording"):
        parse_series(b"1,2,?:Up\n", "x.ts")


# -- the whole route -------------------------------------------------------------------------------


def test_recordings_are_learned_answered_and_taught_by_their_files(
    motion_bundle: Path, motion: Path, dfedge, tmp_path: Path
) -> None:
    plain = json.loads(dfedge("evaluate", motion_bundle, "--data", motion, "--json").out)
    assert plain["accuracy"] > 0.9
    done = dfedge("finetune", motion_bundle, "--data", motion, "--shift", "gain:0.6",
                  "--samples", 64, "--state", tmp_path / "state")  # fmt: skip
    assert done.code == 0, done.err
    answers = json.loads(dfedge("predict", motion_bundle, motion / "fast" / "1.csv", "--json").out)
    labels = [one["class"] for one in answers["predictions"]]
    assert len(labels) == 5
    assert labels.count("fast") >= 4
    for number in range(3):
        write_table(tmp_path / "still" / f"{number}.csv", np.zeros((T, 3)) + 0.01 * number)
    done = dfedge("add-class", motion_bundle, "still", "--samples", tmp_path / "still", "--state",
                  tmp_path / "more", "--json")  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["own_recognised"] == 3
    assert told["known_recognised"]["before"] - told["known_recognised"]["after"] <= 1
    done = dfedge("evaluate", motion_bundle, "--data", motion, "--shift", "rotate:90")
    assert done.code == 2
    assert "known: gain:FACTOR" in done.err


def test_a_session_takes_windows_as_the_sensor_gives_them(
    motion_bundle: Path, motion: Path
) -> None:
    session = Session.open(motion_bundle, initial=True)
    session.learn(wave("slow", T, 99), "slow")
    assert session.predict(wave("fast", T, 98)).name == "fast"
    with pytest.raises(DfedgeError, match="windows of 23 samples"):
        session.predict(np.zeros((T - 1, 3)))


def test_a_c_program_makes_the_same_codes_of_raw_readings(
    motion_bundle: Path, motion: Path
) -> None:
    session = Session.open(motion_bundle, initial=True)
    rule = session.bundle.manifest.input
    library = load_from(motion_bundle / "c")
    rng = np.random.default_rng(0)
    ends = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1])
    most = int(2.0 ** rule.scales[0].fraction * 3)
    raw = np.where(rng.random((50, T, 3)) < 0.1, rng.choice(ends, (50, T, 3)),
                   rng.integers(-most, most, (50, T, 3))).astype(np.int32)  # fmt: skip
    raw[raw == -(2**31)] += 1
    exact = raw / np.array([2.0**one.fraction for one in rule.scales])
    x = np.empty((T, 3), np.int8)
    for one, wanted in zip(raw, to_input(rule.apply(exact, "x")), strict=True):
        library.net_input(one.ctypes.data_as(ctypes.c_void_p), x.ctypes.data_as(ctypes.c_void_p))
        assert np.array_equal(x, wanted[:, 0])
    _, split = load_split(str(motion), None, rule, session.classes, ("all",), None,
                          reading=session.bundle.manifest.reading)  # fmt: skip
    assert len(split) == 2 * 8 * 9
