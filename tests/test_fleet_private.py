"""Differential privacy of devices: exact noise, a bound on each device, and rounds that add up."""

import math
import random
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import refused
from hypothesis import example, given
from hypothesis import strategies as st
from test_fleet import bits, deltas, kinds, learned, own, rewritten
from test_fleet_simulate import simulation

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError, UsageError
from dfedge.fleet import delta
from dfedge.fleet.base import fractions_of, read_base, write_base
from dfedge.fleet.difference import difference
from dfedge.fleet.discrete_gaussian import bernoulli_exp, discrete_gaussian
from dfedge.fleet.merge import merge
from dfedge.fleet.page import page
from dfedge.fleet.privacy import Privacy, Spent, clip
from dfedge.fleet.rules import CLIP_BITS, Voice
from dfedge.fleet.sift import REFUSED

HERE = Path("here")
NOISY = Privacy(1.0, 8.0)
OPTIONS = ("--noise-multiplier", 1, "--clip-norm", 8)


def drawn(seed: int) -> Callable[[int], int]:
    return random.Random(seed).randrange


# -- the noise ------------------------------------------------------------------------------------


def misfit(samples: list[int], variance: float) -> float:
    """Chi-square over its degrees of freedom, against the closed form."""
    far = 60
    weight = {x: math.exp(-x * x / (2 * variance)) for x in range(-far, far + 1)}
    expected = {x: len(samples) * one / sum(weight.values()) for x, one in weight.items()}
    bins = [x for x, count in expected.items() if count >= 10]
    rest = max(len(samples) - sum(expected[x] for x in bins), 1e-9)
    found = {x: samples.count(x) for x in bins}
    tail = len(samples) - sum(found.values())
    square = sum((found[x] - expected[x]) ** 2 / expected[x] for x in bins)
    return (square + (tail - rest) ** 2 / max(rest, 1)) / len(bins)


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(9, 4), Fraction(50)])
def test_noise_has_the_discrete_gaussians_probabilities(variance: Fraction) -> None:
    below = drawn(0)
    samples = [discrete_gaussian(variance, below) for _ in range(20_000)]
    assert misfit(samples, float(variance)) < 2
    assert abs(np.mean(samples)) < 4 * math.sqrt(variance / 20_000)


def test_a_rounded_gaussian_would_not_pass() -> None:
    rounded = np.rint(np.random.default_rng(0).normal(0, 0.5, 20_000)).astype(int).tolist()
    assert misfit(rounded, 0.25) > 10


def test_wide_noise_has_its_variance_and_comes_from_the_operating_system() -> None:
    sigma = 25_600
    below = drawn(1)
    wide = np.array([discrete_gaussian(Fraction(sigma**2), below) for _ in range(4000)])
    assert abs(wide.std() / sigma - 1) < 0.04
    every = {discrete_gaussian(Fraction(sigma**2)) for _ in range(20)}
    assert len(every) > 1


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 3), (1, 1), (7, 3)])
def test_coins_have_the_probability_of_an_exponential(a: int, b: int) -> None:
    below, p, count = drawn(2), math.exp(-a / b), 20_000
    heads = sum(bernoulli_exp(a, b, below) for _ in range(count))
    assert abs(heads - count * p) <= 4 * math.sqrt(count * p * (1 - p))


# -- the bound ------------------------------------------------------------------------------------


@example([2], 511)  # its length is 512: a quotient by less would leave it as long as it is
@given(st.lists(st.integers(-254, 254), min_size=1, max_size=60), st.integers(256, 200_000))
def test_no_difference_is_longer_than_the_clip_norm(values: list[int], longest: int) -> None:
    moves = {"a": np.array(values[:7], np.int16), "b": np.array(values[7:], np.int16)}
    short = clip(Voice(1, moves, np.ones(1, bool)), longest)
    found = [int(v) for name in moves for v in short[name]]
    assert sum(v * v for v in found) <= longest**2
    whole = [v << CLIP_BITS for v in values]
    norm = math.sqrt(sum(v * v for v in whole))
    if norm <= longest:
        assert found == whole
    else:
        assert all(abs(f - v * longest / norm) <= 2 for f, v in zip(found, whole, strict=True))


def test_one_device_moves_the_result_by_no_more_than_its_share() -> None:
    shapes, count = {"w.weight": (500,)}, 4
    draw = np.random.default_rng(0)
    moves = [{"w.weight": draw.integers(-254, 255, 500).astype(np.int16)} for _ in range(count)]

    def made(every: list[dict[str, np.ndarray]]) -> np.ndarray:
        def voices() -> Iterator[Voice]:
            for one in every:
                yield Voice(999, one, np.ones(1, bool))

        return NOISY.rule(drawn(5))(voices, shapes, CLIP_BITS)["w.weight"]

    silent = {"w.weight": np.zeros(500, np.int16)}
    moved = made(moves) - made([*moves[:-1], silent])
    most = NOISY.clip_norm * (1 << CLIP_BITS) / count
    assert 0.5 * most < np.linalg.norm(moved) <= most + math.sqrt(500)


def test_what_a_device_says_beside_its_differences_changes_nothing(small: Bundle) -> None:
    base = own(small)
    files = deltas(small, base.stored, 4)

    def claims(header: delta.DeltaHeader, _: delta.Moves) -> delta.DeltaHeader:
        said = {**header.steering, "error": [12345]}
        return msgspec.structs.replace(
            header, samples=1 << 20, steps=9, guarded=True, steering=said
        )

    other = [(files[0][0], rewritten(files[0][1], claims)), *files[:0:-1]]
    expected = merge(small, base, files, privacy=NOISY, below=drawn(0)).base
    found = merge(small, base, other, privacy=NOISY, below=drawn(0))
    assert bits(found.base) == bits(expected) and not found.capped
    assert bits(merge(small, base, other).base) != bits(merge(small, base, files).base)
    assert (expected.record.samples, expected.record.steps) == (4, 1)
    for name in ("error", "phase", "weight_shift", "anchor_shift"):
        assert (expected.state[name] == base.state[name]).all()


def test_noise_is_drawn_anew_and_as_wide_as_is_said(small: Bundle) -> None:
    base, count = own(small), 4
    quiet = [learned(small, base.stored, i, most=0) for i in range(count)]
    files = [(f"{i}", difference(small, one, base.stored, HERE, device=f"{i}"))
             for i, one in enumerate(quiet)]  # fmt: skip
    found = [merge(small, base, files, privacy=NOISY).base for _ in range(2)]
    assert bits(found[0]) != bits(found[1])
    seeded = merge(small, base, files, privacy=NOISY, below=drawn(0)).base
    name = "layer2.conv0.weight"
    room = np.abs(base.state[name].astype(int)) < 100
    noise = (seeded.fine(name) - base.fine(name))[room]
    sigma = NOISY.noise_multiplier * NOISY.clip_norm * 256 / count
    assert noise.size > 1000 and abs(noise.std() / sigma - 1) < 0.08


def test_added_classes_and_devices_without_a_name_are_not_merged(small: Bundle) -> None:
    base = own(small)
    files = deltas(small, base.stored, 2, new=("kiwi",))
    nameless = difference(small, learned(small, base.stored, 7), base.stored, HERE)
    found = merge(small, base, [*files, ("nameless", nameless)], privacy=NOISY)
    assert (found.new, found.left_out, found.base.record.added) == ((), ("kiwi",), ())
    assert (found.base.state["live"] == base.state["live"]).all()
    assert kinds(found) == {"nameless": REFUSED}
    for name, value in found.base.state.items():
        if name.endswith(".anchors"):
            assert not value[len(small.manifest.classes) :].any()


# -- the account ----------------------------------------------------------------------------------


def tight(z: float, rounds: int, epsilon: float) -> float:
    """Delta of composed Gaussian mechanisms (Balle and Wang, 2018, arXiv 1805.06530)."""
    s = z / math.sqrt(rounds)

    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return phi(0.5 / s - epsilon * s) - math.exp(epsilon) * phi(-0.5 / s - epsilon * s)


@pytest.mark.parametrize(("z", "rounds"), [(1.0, 1), (1.0, 10), (4.0, 20)])
def test_epsilon_is_the_accountants_and_close_to_the_exact_one(z: float, rounds: int) -> None:
    dp = pytest.importorskip("dp_accounting")
    from dp_accounting.rdp import RdpAccountant

    privacy = Privacy(z, 10.0)
    found = privacy.epsilon((Spent(z, rounds),))
    event = dp.SelfComposedDpEvent(dp.GaussianDpEvent(z), rounds)
    assert found == RdpAccountant().compose(event).get_epsilon(1e-5)
    assert tight(z, rounds, found) <= 1e-5 < tight(z, rounds, 0.8 * found)
    mixed = privacy.epsilon((Spent(z, rounds), Spent(3.0, 1)))
    assert found < mixed < privacy.epsilon((Spent(z, rounds), Spent(2.0, 1)))


def test_rounds_are_counted_on_from_a_file(small: Bundle, tmp_path: Path) -> None:
    base = own(small)
    for number, z in enumerate((1.0, 1.0, 2.0), 1):
        files = deltas(small, base.stored, 2)
        made = merge(small, base, files, privacy=Privacy(z, 8.0)).base
        write_base(made, tmp_path / f"{number}")
        base = read_base(small, tmp_path / f"{number}")
    assert (base.round, base.spent) == (3, (Spent(1.0, 2), Spent(2.0, 1)))
    assert read_base(small, tmp_path / "3", 4).spent == base.spent
    files = deltas(small, base.stored, 2)
    assert "would undo" in refused(lambda: merge(small, base, files))
    fractions_of(tmp_path / "3").unlink()
    uncounted = read_base(small, tmp_path / "3")
    assert "be counted" in refused(lambda: merge(small, uncounted, files, privacy=NOISY))


def test_a_base_of_rounds_without_noise_promises_nothing(small: Bundle, tmp_path: Path) -> None:
    base = own(small)
    open_ = merge(small, base, deltas(small, base.stored, 2)).base
    files = deltas(small, open_.stored, 2)
    assert "without noise" in refused(lambda: merge(small, open_, files, privacy=NOISY))
    write_base(open_, tmp_path / "open")
    assert b"spent" not in fractions_of(tmp_path / "open").read_bytes()


@pytest.mark.parametrize("values", [(0.0, 8.0), (math.nan, 8.0), (1.0, 0.5), (1.0, math.inf)])
def test_values_that_cannot_be_are_refused(values: tuple[float, float]) -> None:
    assert "allowed" in refused(lambda: Privacy(*values), UsageError)
    assert "allowed" in refused(lambda: Privacy(1.0, 8.0, 0.0), UsageError)


# -- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def inbox(small: Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name, raw in deltas(small, own(small).stored, 3):
        (folder / f"{name}.delta").write_bytes(raw)
    return folder


def test_the_command_counts_epsilon_round_by_round(
    small: Bundle, inbox: Path, tmp_path: Path, dfedge
) -> None:
    pytest.importorskip("dp_accounting")
    call = ("fleet", "merge", small.folder)
    first = dfedge(*call, inbox, "--out", tmp_path / "1", *OPTIONS, "--json").json
    assert first["epsilon"] == NOISY.epsilon((Spent(1.0, 1),))
    again = dfedge(*call, inbox, "--out", tmp_path / "1", *OPTIONS)
    assert (again.code, again.err.count("\n")) == (1, 1) and "other noise" in again.err
    following = deltas(small, read_base(small, tmp_path / "1").stored, 2)
    (tmp_path / "a.delta").write_bytes(following[0][1])
    second = dfedge(*call, tmp_path / "a.delta", "--base", tmp_path / "1", "--out",
                    tmp_path / "2", "--step", tmp_path / "step", *OPTIONS)  # fmt: skip
    epsilon = NOISY.epsilon((Spent(1.0, 2),))
    assert f"epsilon after 2 rounds: {epsilon:.3g} at delta 1e-05" in second.out
    plain = dfedge(*call, inbox, "--out", tmp_path / "plain", "--json").json
    assert plain["epsilon"] is None


def test_options_that_cannot_be_combined_write_nothing(
    small: Bundle, inbox: Path, tmp_path: Path, dfedge, monkeypatch
) -> None:
    call = ("fleet", "merge", small.folder, inbox, "--out", tmp_path / "out")
    wrong: list[tuple[object, ...]] = [
        ("--clip-norm", 8), ("--noise-multiplier", 1), ("--noise-multiplier", 0, "--clip-norm", 8),
        (*OPTIONS, "--dp-delta", 1),
    ]  # fmt: skip
    for options in wrong:
        said = dfedge(*call, *options)
        assert (said.code, said.err.count("\n")) == (2, 1), options
    for rule, late in (("median", 0), ("clipped", 0), ("mean", 1)):
        refused(lambda rule=rule, late=late: NOISY.check(rule, late), UsageError)
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    none = dfedge(*call, *OPTIONS)
    assert (none.code, none.err.count("\n")) == (1, 1) and "dfedge[privacy]" in none.err
    assert [one.name for one in tmp_path.iterdir()] == ["inbox"]
    fleet = simulation(small, tmp_path / "sim", privacy=NOISY, rule="median")
    refused(lambda: fleet.run(1), UsageError)
    refused(lambda: simulation(small, tmp_path / "sim", privacy=NOISY).run(1), DfedgeError)
    assert not (tmp_path / "sim").exists()


def test_a_simulation_reports_epsilon_and_can_be_repeated(small: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("dp_accounting")
    whole = simulation(small, tmp_path / "a", privacy=NOISY)
    report = whole.run(2)
    assert [one.epsilon for one in report.rounds] == [
        NOISY.epsilon((Spent(1.0, rounds),)) for rounds in (1, 2)
    ]
    cut = simulation(small, tmp_path / "b", privacy=NOISY)
    assert cut.run(1).rounds == report.rounds[:1]
    (tmp_path / "b" / "report.json").unlink()  # stopped before the report of round 1
    assert simulation(small, tmp_path / "b", privacy=NOISY).run(2).rounds == report.rounds
    said = page(whole.plan, report)
    assert "epsilon" in said and "multiplier 1" in said
