"""Features of windows: spectral power and statistics, in integers, alike in C and Python."""

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from motion import T, wave
from net_input import compiled, learned_on_chip
from test_on_device import needs

from dfedge.data.files import open_path
from dfedge.data.inputs import InputRule, decoded, to_input
from dfedge.data.inputs.scale import CONSTANT, ChannelScale
from dfedge.data.inputs.spectrum import Spectrum
from dfedge.data.inputs.statistics import NAMES, Statistics
from dfedge.data.inputs.window import FEATURES, WindowRule
from dfedge.data.reading import Reading
from dfedge.data.shift import parse_shift
from dfedge.data.sized import rule_for
from dfedge.device.session import Session
from dfedge.errors import DfedgeError, UsageError

WORDS = list(FEATURES)


def motions(count: int = 20, length: int = T) -> np.ndarray:
    """Windows [N, T, 3], two speeds in turn."""
    return np.stack([wave(("slow", "fast")[i % 2], length, i) for i in range(count)])


def rule_of(word: str, x: np.ndarray) -> WindowRule:
    return WindowRule.suited(x).featured(word, x)


def raw_windows(rule: WindowRule, count: int, seed: int = 0) -> np.ndarray:
    """Readings: in range, far out, still and of one spike, int32 [N, T, C]."""
    rng = np.random.default_rng(seed)
    shape = (count, rule.length, len(rule.scales))
    most = np.array([max(int(2.0**one.fraction * 3), 3) for one in rule.scales])
    raw = rng.integers(-most, most + 1, shape)
    ends = np.array([-(2**31) + 1, -1, 0, 1, 2**31 - 1])
    raw = np.where(rng.random(shape) < rng.choice([0, 0.02, 0.9], (count, 1, 1)),
                   rng.choice(ends, shape), raw)  # fmt: skip
    raw[0], raw[1], raw[2] = 0, 2**31 - 1, -(2**31) + 1
    raw[3, 1:] = 0
    return raw.astype(np.int32)


# -- the definitions -------------------------------------------------------------------------------


def loud(energy: int) -> int:
    """How many of floor(2^(j/8)) are at most an energy."""
    return sum(math.isqrt(math.isqrt(math.isqrt(1 << j))) <= energy for j in range(496))


@pytest.mark.parametrize("length", [8, 24, 25, 50])
def test_a_spectrum_is_what_the_formula_says(length: int) -> None:
    levels = np.random.default_rng(0).integers(-32768, 32768, (3, length, 2)).astype(np.int16)
    levels[1] = 1000
    made = Spectrum.suited(levels)
    found, edges = made.values(levels), made.edges(length)
    assert edges[0] == 1 and edges[-1] == length // 2 + 1
    assert min(np.diff(edges)) >= 1
    for window, values in zip(levels.tolist(), found, strict=True):
        for c in range(2):
            x = [row[c] for row in window]
            parts = []
            for wave_of in (math.cos, math.sin):
                table = [round(wave_of(2 * math.pi * j / length) * 2**14) for j in range(length)]
                bins = [sum(table[n * k % length] * v for n, v in enumerate(x))
                        for k in range(length // 2 + 2)]  # fmt: skip
                bins[0] = 0
                parts.append([(2 * bins[k] - bins[k - 1] - bins[k + 1]) >> 14
                              for k in range(1, length // 2 + 1)])  # fmt: skip
            power = [a * a + b * b for a, b in zip(*parts, strict=True)]
            for band, (low, high) in enumerate(pairwise(edges)):
                assert values[band, c] == loud(sum(power[low - 1 : high - 1]))
    exact = np.abs(np.fft.rfft(levels[0, :, 0] * (2 - 2 * np.cos(2 * np.pi * np.arange(length)
                                                                 / length)))) ** 2  # fmt: skip
    top = exact[edges[-2] :].sum()
    assert abs(8 * np.log2(top) - found[0, -1, 0]) < 1.5


def test_statistics_are_what_the_formulas_say() -> None:
    levels = np.random.default_rng(0).integers(-32768, 32768, (4, 25, 2)).astype(np.int16)
    levels[1], levels[2] = -32768, np.array([32767, -32768])
    levels[3, :, 0] = np.arange(25) % 2
    found = Statistics(()).values(levels).reshape(4, 2, len(NAMES))
    for window, channels in zip(levels, found.tolist(), strict=True):
        for x, values in zip(window.T.tolist(), channels, strict=True):
            total, above = sum(x), [25 * v >= sum(x) for v in x]
            assert values == [
                math.floor(total / 25 + 0.5),
                (2 * sum(abs(25 * v - total) for v in x) + 625) // 1250,
                min(x),
                max(x),
                loud(25 * sum(v * v for v in x) - total * total),
                sum(a != b for a, b in pairwise(above)),
            ]


def test_a_level_is_a_thirty_second_of_a_code_with_room_on_either_side() -> None:
    for scale in (ChannelScale(3, 20000, -12345, 20), ChannelScale(0, 255, 700, 2), CONSTANT):
        raw = np.arange(-3000, 3000)
        exact = [32 * (v * scale.multiplier + scale.offset) // 2**scale.shift - 4096 for v in raw]
        assert scale.levels(raw).tolist() == [min(max(v, -32768), 32767) for v in exact]


# -- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("length", [T, 25, 130])
def test_c_makes_the_same_codes_of_raw_readings(word: str, length: int, tmp_path: Path) -> None:
    x = motions(length=length) * [1, 40, 1]
    x[..., 2] = 7
    rule = rule_of(word, x)
    net_input = compiled(rule, tmp_path / "c")
    raw = raw_windows(rule, 40)
    exact = raw / np.array([2.0**one.fraction for one in rule.scales])
    for one, wanted in zip(raw, to_input(rule.apply(exact, "x")), strict=True):
        assert np.array_equal(net_input(one), wanted)


@pytest.mark.parametrize("word", WORDS)
def test_scales_that_a_stranger_chose_are_the_same_in_c(word: str, tmp_path: Path) -> None:
    scales = (
        ChannelScale(0, 32767, 1 << 52, 48),
        ChannelScale(0, 32767, -(1 << 52), 0),
        ChannelScale(0, 1, 0, 4),
    )
    features = rule_of(word, motions()).features
    rule = WindowRule(T, scales, features=features)
    net_input = compiled(rule, tmp_path / "c")
    for one in raw_windows(rule, 20):
        assert np.array_equal(net_input(one), to_input(rule.apply(one[None], "x"))[0])


def test_bands_show_where_a_tone_lies_and_how_loud_it_is() -> None:
    time = np.arange(128)[:, None]
    x = np.random.default_rng(0).normal(0, 0.02, (40, 128, 1))
    x += np.stack([np.sin(2 * np.pi * (4 + 50 * (i % 2)) * time / 128) for i in range(40)])
    rule = rule_of("spectrum", x)
    assert rule.shape == (32, 1, 1)
    codes = rule.apply(x, "x")[:, :, 0, 0].astype(int)
    low, high = codes[0].argmax(), codes[1].argmax()
    edges = rule.features.edges(128)
    assert edges[low] <= 4 < edges[low + 1]
    assert edges[high] <= 54 < edges[high + 1]
    louder = rule.apply(1.4 * x, "x")[:, :, 0, 0].astype(int)
    step = rule.features.scales[0].step
    inside = (codes > 0) & (louder < 255)
    assert np.abs((louder - codes)[inside] - 16 * np.log2(1.4) * step).max() < 2 * step + 1
    assert np.array_equal(rule.apply(x + 0.3, "x")[:, 2:], rule.apply(x, "x")[:, 2:]) or (
        np.abs(rule.apply(x + 0.3, "x").astype(int) - rule.apply(x, "x")).max() <= 2 * step + 1
    )


@pytest.mark.parametrize("word", WORDS)
def test_a_gain_and_an_offset_shift_features_as_they_shift_the_signal(word: str) -> None:
    x = motions(40)
    rule = rule_of(word, x)
    codes = rule.apply(x, "x")
    half = 127.5 / np.array([one.step for one in rule.scales])
    for text, same in (("gain:0.7", 0.7 * x), ("offset:0.1", x + 0.1 * half)):
        away = parse_shift(text, rule)(codes).astype(int) - rule.apply(same, "x")
        assert np.abs(away).mean() < 2.5, text
    for text in ("turn:90", "noise:0.1", "stretch:2"):
        with pytest.raises(UsageError, match=f"read as their {word}; there gain and offset"):
            parse_shift(text, rule)


@pytest.mark.parametrize("word", WORDS)
def test_a_rule_with_features_is_read_back_as_it_was_written(word: str) -> None:
    rule = rule_of(word, motions())
    raw = msgspec.json.encode(rule)
    assert msgspec.json.decode(raw, type=InputRule, dec_hook=decoded) == rule
    assert b"features" not in msgspec.json.encode(WindowRule.suited(motions()))
    longer = raw.replace(b'"length":24', b'"length":6' if word == "spectrum" else b'"length":1')
    with pytest.raises(msgspec.ValidationError, match=f"no {word} of "):
        msgspec.json.decode(longer, type=InputRule, dec_hook=decoded)


def test_features_that_samples_have_not_are_refused_by_name(tmp_path: Path, motion: Path) -> None:
    found = open_path(motion, reading=Reading(window=T)).cut(0)
    with pytest.raises(UsageError, match="features of the windows 'x'; known: spectrum, statis"):
        rule_for(found, features="x")
    with pytest.raises(DfedgeError, match=r"of windows of 4 samples .* at least 8 samples"):
        rule_for(open_path(motion, reading=Reading(window=4)).cut(0), features="spectrum")
    with pytest.raises(UsageError, match="'spectrum': of the images there are none"):
        x = np.zeros((9, 4, 4), np.uint8)
        np.savez(tmp_path / "x.npz", x=x, y=np.arange(9) % 2)
        rule_for(open_path(tmp_path / "x.npz").cut(0), features="spectrum")


# -- the whole route -------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "net"), [("spectrum", "vibration"), ("statistics", "vector")])
def test_windows_are_learned_by_their_features(
    asked: str, net: str, motion: Path, dfedge, tmp_path: Path
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    done = dfedge("train", "--data", motion, "--window", T, "--features", asked, "--qat",
                  "--epochs", 8, "--qat-epochs", 2, "--out", run)  # fmt: skip
    assert done.code == 0, done.err
    assert f'"net_name": "{net}"' in (run / "run.json").read_text()
    assert dfedge("export", run, "--format", "c", "--out", bundle).code == 0
    assert dfedge("evaluate", bundle, "--data", motion, "--json").json["accuracy"] > 0.9
    session = Session.open(bundle, "native", initial=True)
    session.learn(wave("slow", T, 99), "slow")
    assert session.predict(wave("fast", T, 98)).name == "fast"


def test_a_net_s_file_names_its_features(motion: Path, dfedge, tmp_path: Path) -> None:
    base = ("train", "--data", motion, "--window", T, "--epochs", 1, "--out")
    own, asked = ("--net", "vibration"), ("--net", "vector", "--features", "statistics")
    for words, kind in ((own, "spectrum"), (asked, "statistics")):
        run = tmp_path / kind
        assert dfedge(*base, run, *words).code == 0
        assert f'"kind": "{kind}"' in (run / "run.json").read_text()
    done = dfedge(*base, tmp_path / "none", "--net", "kws")
    assert done.code == 2
    assert "features of the windows 'log-mel 49x10'; known: spectrum, statistics" in done.err


# -- on a device -----------------------------------------------------------------------------------


SMALL_NET = """
anchors = 1
train = {epochs = 2, qat_epochs = 1}
block = [{channels = 8, kernel_width = 1}]
"""


@pytest.mark.slow
@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("word", WORDS)
def test_a_microcontroller_learns_features_of_raw_readings(
    word: str, tmp_path: Path, motion: Path
) -> None:
    from dfedge.exporters.write import ExportOptions, export
    from dfedge.learn.train import TrainOptions, train

    net = tmp_path / "net.toml"
    net.write_text(f"features = '{word}'\n{SMALL_NET}")
    options = TrainOptions(
        str(motion), net=str(net), qat=True, reading=Reading(window=T), keep=False
    )
    run = train(options, tmp_path / "run")
    target = "mps2-an386"
    export(run, ExportOptions(("c",), target, batch=1), tmp_path / "bundle")
    session = Session.open(tmp_path / "bundle", "native", initial=True)
    rule = session.bundle.manifest.input
    raw = raw_windows(rule, 5)[4]
    codes = to_input(
        rule.apply(raw[None] / np.array([2.0**one.fraction for one in rule.scales]), "")
    )
    session.learn_input(codes, np.array([1]))
    numbers = ",".join(map(str, raw.ravel()))
    declared = f"#define SAMPLE raw\nstatic const int32_t raw[] = {{{numbers}}};"
    found = learned_on_chip(session, target, tmp_path, declared)
    assert bytes.fromhex(found["x"]) == codes.tobytes()
    assert int(found["stack"]) < 2048
