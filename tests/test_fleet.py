"""Many devices learn together: the sums are exact, and what comes from outside is checked."""

import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from dfedge.bundle import Bundle
from dfedge.data.sources import load_split
from dfedge.device.care import NO_CARE, Care
from dfedge.device.classes import add_class
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import (
    FLEET_BASE,
    FinetuneJob,
    Saving,
    StateRecord,
    Store,
    StoredState,
    belonging,
)
from dfedge.errors import DfedgeError, UsageError
from dfedge.fleet import base as bases
from dfedge.fleet import delta, rules
from dfedge.fleet.base import Base, read_base, read_stored, write_base
from dfedge.fleet.difference import Shared, difference, step, stepped
from dfedge.fleet.merge import HEAVIEST, Merged, merge
from dfedge.fleet.parts import moved_names, selected
from dfedge.fleet.rules import RULES, Voice
from dfedge.fleet.sift import ASIDE, DOUBLE, REFUSED
from dfedge.fleet.take import taken
from dfedge.integrity.signature import make_keys
from dfedge.state import digest

HERE = Path("here")


def own(bundle: Bundle) -> Base:
    return read_base(bundle, None)


def learned(
    bundle: Bundle,
    base: StoredState,
    seed: int,
    samples: int = 16,
    most: int = 5,
    new: Sequence[str] = (),
) -> StoredState:
    """A state as a device might have it: every value moved by up to ``most``."""
    draw, state = np.random.default_rng(seed), dict(base.state)
    first = len(bundle.manifest.classes) + len(base.record.added)
    for name in moved_names(state):
        anchors = name.endswith(".anchors")
        move = draw.integers(-most, most + 1, state[name].shape)
        if anchors:
            move[first:] = 0
            move[first : first + len(new)] = draw.integers(1, 100, (len(new), move.shape[1]))
        least = 0 if anchors else -127
        state[name] = (state[name] + move).clip(least, 127).astype(np.int8)
    state["error"] = np.array(draw.integers(0, 1000), np.int32)
    state["live"] = state["live"].copy()
    state["live"][first : first + len(new)] = 1
    record = msgspec.structs.replace(
        base.record,
        samples=base.record.samples + samples,
        steps=base.record.steps + 1,
        added=(*base.record.added, *new),
        fleet_base=digest(base.state),
    )
    return StoredState(state, record)


def deltas(bundle: Bundle, base: StoredState, count: int, **options) -> list[tuple[str, bytes]]:
    found = []
    for i in range(count):
        state = learned(bundle, base, i, samples=16 * (i + 1), **options)
        found.append((f"{i}", difference(bundle, state, base, HERE, device=f"d{i}")))
    return found


def bits(found: Base) -> tuple[str, str, StateRecord]:
    return digest(found.state), digest(found.fraction), found.record


# -- the file -------------------------------------------------------------------------------------


@given(st.lists(st.integers(-254, 254), min_size=1, max_size=40), st.integers(1, 1 << 24))
def test_a_delta_holds_its_differences(values: list[int], samples: int) -> None:
    moves = {"layer0.conv0.weight": np.array(values, np.int16)}
    parts = [delta.TensorPart("layer0.conv0.weight", [len(values)])]
    header = delta.DeltaHeader("ab" * 32, "cd" * 32, samples, 3, parts, {"phase": [7]}, new=("x",))
    found = delta.decode(delta.encode(header, moves))
    assert found.header == header
    assert found.moves["layer0.conv0.weight"].tolist() == values


def test_every_flipped_bit_of_a_delta_is_noticed(small: Bundle) -> None:
    base = own(small).stored
    raw = difference(small, learned(small, base, 0), base, HERE, Shared(["layer0.conv0.weight"]))
    places = random.Random(0).sample(range(8 * len(raw)), 500)
    for place in [*range(8 * 48), *places]:
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        refused(lambda changed=changed: delta.decode(bytes(changed)), delta.DamagedDeltaError)


def test_a_body_that_grows_without_end_is_refused_early() -> None:
    import hashlib
    import zlib

    body = zlib.compress(bytes(1 << 24), 9)
    start = delta.PREFIX.pack(delta.MAGIC, delta.VERSION, len(body), bytes(32))[:16]
    raw = start + hashlib.sha256(start + body).digest() + body
    assert "above" in refused(lambda: delta.decode(raw, 1 << 16))


# -- the sums -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_any_order_of_arrival_ends_in_the_same_bytes(small: Bundle, rule: str) -> None:
    base = own(small)
    files = deltas(small, base.stored, 9, new=("x", "y"))
    files += [(f"{n} again", raw) for n, raw in files[:2]]
    expected = bits(merge(small, base, files, rule).base)
    for seed in range(20):
        shuffled = random.Random(seed).sample(files, len(files))
        assert bits(merge(small, base, shuffled, rule).base) == expected


def test_the_mean_is_weighted_by_samples_and_keeps_fractions(small: Bundle) -> None:
    base, name = own(small), "layer0.conv0.weight"
    files = deltas(small, base.stored, 3)
    found = merge(small, base, files).base
    moves = [delta.decode(raw).moves[name].astype(np.int64) for _, raw in files]
    exact = sum((i + 1) * move for i, move in enumerate(moves)) * 256
    fine = (2 * exact + 6) // 12 + (base.state[name].astype(np.int64) << 8)
    whole = (fine + 128) >> 8
    inside = np.abs(fine) <= 127 << 8
    assert (found.state[name] == whole)[inside].all()
    assert (found.fine(name) == fine)[inside].all()
    assert found.fraction[name].any()


@pytest.mark.parametrize("rule", ["mean", "clipped"])
def test_no_device_weighs_more_than_a_few_times_the_median(small: Bundle, rule: str) -> None:
    base = own(small)
    files = deltas(small, base.stored, 5)
    state = learned(small, base.stored, 9, samples=16)

    def claiming(samples: int) -> Merged:
        record = msgspec.structs.replace(state.record, samples=base.record.samples + samples)
        raw = difference(
            small, StoredState(state.state, record), base.stored, HERE, device="greedy"
        )
        return merge(small, base, [*files, ("greedy", raw)], rule)

    greedy, honest = claiming(1 << 24), claiming(HEAVIEST * 48)
    assert (greedy.capped, honest.capped) == (("greedy",), ())
    assert bits(greedy.base) == bits(honest.base)


def test_fractions_add_up_over_rounds(small: Bundle, tmp_path: Path) -> None:
    """A third of a step three times is a step; without fractions it is none."""
    name = "layer0.conv0.weight"
    reached = {}
    for kept in (8, 0):
        base = read_base(small, None, kept)
        at = np.unravel_index(np.abs(base.state[name]).argmin(), base.state[name].shape)
        begun = int(base.state[name][at])
        for _ in range(3):
            files = []
            for i in range(3):
                state = learned(small, base.stored, i, most=0)
                if i == 0:
                    state.state[name] = state.state[name].copy()
                    state.state[name][at] += 1
                files.append((str(i), difference(small, state, base.stored, HERE, device=str(i))))
            base = merge(small, base, files).base
            write_base(base, tmp_path / f"{kept}")
            base = read_base(small, tmp_path / f"{kept}")
        reached[kept] = int(base.state[name][at]) - begun
    assert reached == {8: 1, 0: 0}


def voices(*moves: list[int], weights: list[int] | None = None) -> Callable[[], object]:
    return lambda: iter(
        Voice(weight, {"w.weight": np.array(move, np.int16)}, np.ones(1, bool))
        for move, weight in zip(moves, weights or [1] * len(moves), strict=True)
    )


def test_what_each_rule_makes_of_one_bad_device() -> None:
    honest = [[4, 0], [4, 0], [4, 2], [5, 1]]
    said = voices(*honest, [-200, 200], weights=[1, 1, 1, 1, 1 << 24])
    found = {name: (rule(said, {"w.weight": (2,)}, 0)["w.weight"]).tolist()
             for name, rule in RULES.items()}  # fmt: skip
    assert found["mean"] == [-200, 200]
    assert found["median"] == [4, 1]
    assert found["trimmed"] == [4, 1]
    assert np.abs(found["clipped"]).max() <= 5  # the median length


def test_the_sums_of_the_largest_fleet_do_not_overflow() -> None:
    weight = 1 << 24
    total = np.full((1,), weight * 254 * (1 << 16), np.int64)
    assert rules._rounded(total, np.array(weight << 16), 8, 0).tolist() == [254 << 8]
    clipped = total << rules.CLIP_BITS
    assert rules._rounded(clipped, np.array(weight << 16), 8, 8).tolist() == [254 << 8]


def test_rates_and_error_are_the_lower_median(small: Bundle) -> None:
    base = own(small)
    files = deltas(small, base.stored, 4)
    errors = sorted(delta.read_header(raw).steering["error"][0] for _, raw in files)
    found = merge(small, base, files).base.state
    assert found["error"] == errors[1]
    assert found["weight_shift"].dtype == np.int8
    assert (found["weight_shift"] == base.state["weight_shift"]).all()


# -- parts and classes ----------------------------------------------------------------------------


def test_what_is_personal_stays_at_home(small: Bundle) -> None:
    base = own(small)
    anchors = [name for name in moved_names(base.state) if name.endswith(".anchors")]
    mine = learned(small, base.stored, 1)
    shared = Shared(personal=["anchors"])
    raw = difference(small, mine, base.stored, HERE, shared)
    assert not set(anchors) & delta.decode(raw).moves.keys()
    merged = merge(small, base, [("a", raw)]).base
    assert all((merged.state[name] == base.state[name]).all() for name in anchors)
    after = taken(small, mine, merged.stored, HERE, shared)
    for name in moved_names(base.state):
        source = mine.state if name in anchors else merged.state
        assert (after.state[name] == source[name]).all(), name
    everything = taken(small, mine, merged.stored, HERE)
    assert digest(everything.state) == digest(merged.state)


def test_parts_are_named_by_word_layer_or_tensor(small: Bundle) -> None:
    state = small.initial_state()
    layers = sorted({name.split(".")[0] for name in moved_names(state)})
    assert selected(state, ["last"]) == selected(state, [layers[-1]])
    assert selected(state, ["all"], ["weights"]) == selected(state, ["anchors"])
    assert "known" in refused(lambda: selected(state, ["weight"]), UsageError)
    assert "nothing is shared" in refused(lambda: selected(state, ["last"], ["last"]), UsageError)


def test_new_classes_are_matched_by_name(small: Bundle) -> None:
    base, first = own(small), len(small.manifest.classes)
    a = learned(small, base.stored, 1, new=("kiwi", "plum"))
    b = learned(small, base.stored, 2, new=("plum",))
    files = [(str(i), difference(small, one, base.stored, HERE)) for i, one in enumerate((a, b))]
    found = merge(small, base, files)
    assert found.new == ("plum", "kiwi") == found.base.record.added
    assert found.base.state["live"].tolist() == [1] * (first + 2) + [0]
    for name in moved_names(base.state):
        if name.endswith(".anchors"):
            plum = a.state[name][first + 1].astype(int) + b.state[name][first]
            assert (found.base.state[name][first] == (plum + 1) // 2).all()
            assert (found.base.state[name][first + 1] == a.state[name][first]).all()


def test_more_new_classes_than_rows_are_said_and_the_rarest_left_out(small: Bundle) -> None:
    base = own(small)
    names = [("a", "b", "c"), ("d", "b"), ("c", "d")]
    files = [(str(i), difference(small, learned(small, base.stored, i, new=new), base.stored, HERE))
             for i, new in enumerate(names)]  # fmt: skip
    found = merge(small, base, files)
    assert (found.new, found.left_out) == (("b", "c", "d"), ("a",))


def test_a_device_keeps_its_own_class_and_its_samples_when_it_takes_a_base(
    small: Bundle, tmp_path: Path
) -> None:
    base, first = own(small), len(small.manifest.classes)
    other = difference(small, learned(small, base.stored, 1, new=("kiwi",)), base.stored, HERE)
    merged = merge(small, base, [("other", other)]).base
    session = Session.open(small, "native", tmp_path / "state")
    add_class(session, "mine", np.full((4, *small.manifest.plan.input_shape), 80, np.uint8))
    own_row = {name: session.stored().state[name][first] for name in moved_names(base.state)
               if name.endswith(".anchors")}  # fmt: skip
    after = taken(small, session.stored(), merged.stored, HERE)
    assert after.record.added == ("kiwi", "mine")
    assert after.remembered is not None and set(after.remembered[1]) == {first + 1}
    for name, row in own_row.items():
        assert (after.state[name][first + 1] == row).all()
        assert (after.state[name][first] == merged.state[name][first]).all()
    Store(tmp_path / "state2").save(after)
    again = Session.open(small, "native", tmp_path / "state2")
    assert again.classes[-2:] == ("kiwi", "mine")


def test_a_device_without_a_row_for_its_own_class_is_told(small: Bundle) -> None:
    base = own(small)
    other = learned(small, base.stored, 1, new=("a", "b", "c"))
    full = merge(small, base, [("a", difference(small, other, base.stored, HERE))]).base
    mine = learned(small, base.stored, 2, new=("mine",))
    assert "--spare-classes" in refused(lambda: taken(small, mine, full.stored, HERE))


# -- what is not merged ---------------------------------------------------------------------------


def kinds(found: Merged) -> dict[str, str]:
    return {one.name: one.kind for one in found.passed}


def rewritten(
    raw: bytes, change: Callable[[delta.DeltaHeader, delta.Moves], delta.DeltaHeader]
) -> bytes:
    """A delta with other fields and a checksum that fits."""
    found = delta.decode(raw)
    moves = dict(found.moves)
    return delta.encode(change(found.header, moves), moves)


def test_a_bad_delta_is_refused_and_the_others_are_merged(small: Bundle) -> None:
    base = own(small)
    good = deltas(small, base.stored, 3)
    raw, replace = good[0][1], msgspec.structs.replace
    name = "layer0.conv0.weight"

    def far(header: delta.DeltaHeader, moves: delta.Moves) -> delta.DeltaHeader:
        moves[name] = np.full_like(moves[name], 254)
        return header

    def shaped(header: delta.DeltaHeader, moves: delta.Moves) -> delta.DeltaHeader:
        moves[name] = moves[name].reshape(-1)
        parts = [replace(p, shape=[moves[name].size]) if p.name == name else p
                 for p in header.parts]  # fmt: skip
        return replace(header, parts=parts)

    bad = {
        "no delta": b"junk",
        "cut": raw[:-1],
        "too far": rewritten(raw, far),
        "shape": rewritten(raw, shaped),
        "samples": rewritten(raw, lambda h, _: replace(h, samples=1 << 30)),
        "steps": rewritten(raw, lambda h, _: replace(h, steps=h.samples + 1)),
        "rates": rewritten(raw, lambda h, _: replace(h, steering={"weight_shift": [99] * 9})),
        "steers": rewritten(raw, lambda h, _: replace(h, steering={"live": [1] * 13})),
        "phase": rewritten(raw, lambda h, _: replace(h, steering={"phase": [-1]})),
        "bundle": rewritten(raw, lambda h, _: replace(h, bundle_sha256="ab" * 32)),
        "base": rewritten(raw, lambda h, _: replace(h, base_sha256="ab" * 32)),
        "classes": rewritten(raw, lambda h, _: replace(h, known=("x",))),
        "twins": rewritten(raw, lambda h, _: replace(h, new=("x", "x"))),
        "many": rewritten(raw, lambda h, _: replace(h, new=("w", "x", "y", "z"))),
        "makes": rewritten(raw, lambda h, _: replace(h, makes="ab" * 32)),
    }
    found = merge(small, base, [*bad.items(), *good])
    assert kinds(found) == dict.fromkeys(bad, REFUSED)
    assert all("\n" not in one.why for one in found.passed)
    assert bits(found.base) == bits(merge(small, base, good).base)
    assert "none of 15" in refused(lambda: merge(small, base, bad.items()))


def test_of_one_device_one_delta_counts(small: Bundle) -> None:
    base = own(small)
    more = learned(small, base.stored, 1, samples=64)
    less = learned(small, base.stored, 2, samples=32)
    files = [(n, difference(small, one, base.stored, HERE, device="d"))
             for n, one in (("more", more), ("less", less))]  # fmt: skip
    found = merge(small, base, files)
    assert kinds(found) == {"less": DOUBLE}
    assert found.base.record.samples == 64


def test_a_late_delta_is_put_aside_or_merged_on_demand(small: Bundle, tmp_path: Path) -> None:
    first = own(small)
    late = ("late", difference(small, learned(small, first.stored, 9, new=("kiwi",)), first.stored,
                               HERE, device="late"))  # fmt: skip
    write_base(merge(small, first, deltas(small, first.stored, 2, new=("kiwi",))).base,
               tmp_path / "1")  # fmt: skip
    second = read_base(small, tmp_path / "1")
    now = deltas(small, second.stored, 2)
    aside = merge(small, second, [late, *now])
    assert kinds(aside) == {"late": ASIDE}
    assert "--late 1" in aside.passed[0].why
    with_it = merge(small, second, [late, *now], late=1)
    assert len(with_it.taken) == 3 and not with_it.passed
    assert with_it.base.record.added == ("kiwi",)
    alone = merge(small, second, [late], late=1).base
    row = len(small.manifest.classes)
    for name in moved_names(first.state):
        if name.endswith(".anchors"):  # it had the class as its own: its row is what it says
            own_row = learned(small, first.stored, 9, new=("kiwi",)).state[name][row]
            assert np.abs(alone.state[name][row].astype(int) - own_row).max() <= 1


def test_only_devices_that_are_known_are_merged(small: Bundle, tmp_path: Path, dfedge) -> None:
    pytest.importorskip("cryptography")
    make_keys(tmp_path / "one.pem")
    make_keys(tmp_path / "other.pem")
    Store(tmp_path / "state").save(learned(small, own(small).stored, 1))
    out, key = tmp_path / "a.delta", tmp_path / "one.pem"
    call = ("fleet", "delta", small.folder, "--state", tmp_path / "state", "--out")
    assert dfedge(*call, out, "--key", key).code == 0
    assert dfedge(*call, tmp_path / "plain.delta").code == 0
    merging = ("fleet", "merge", small.folder, "--out", tmp_path / "next")
    signed = dfedge(*merging, out, tmp_path / "plain.delta", "--json",
                    "--signers", tmp_path / "one.pub").json  # fmt: skip
    assert signed["merged"] == 1
    assert [one["why"] for one in signed["passed"]] == ["not signed by a device that is known"]
    stranger = dfedge(*merging, out, "--signers", tmp_path / "other.pub")
    assert (stranger.code, stranger.err.count("\n")) == (1, 1)


# -- bases ----------------------------------------------------------------------------------------


def test_a_step_brings_a_device_to_the_same_base(small: Bundle) -> None:
    base = own(small)
    merged = merge(small, base, deltas(small, base.stored, 3, new=("kiwi",))).base
    raw = step(small, merged.stored, base.stored)
    found = stepped(small, base.stored, raw, HERE)
    assert digest(found.state) == merged.sha256
    assert found.record == merged.record
    other = merge(small, base, deltas(small, base.stored, 2)).base
    assert "another base" in refused(lambda: stepped(small, other.stored, raw, HERE))
    a_delta = deltas(small, base.stored, 1)[0][1]
    assert "device learned" in refused(lambda: stepped(small, base.stored, a_delta, HERE))


def test_a_step_that_no_merge_made_is_refused(small: Bundle) -> None:
    """Its own digest fits, but a state folder could not be opened again with what it says."""
    base = own(small)
    merged = merge(small, base, deltas(small, base.stored, 2)).base
    raw, replace = step(small, merged.stored, base.stored), msgspec.structs.replace
    counted = StoredState(base.state, replace(base.record, samples=1, steps=1))
    live = {**merged.state, "live": np.ones_like(merged.state["live"])}
    for change in (
        lambda h: replace(h, samples=1 << 53, steps=1 << 53),
        lambda h: replace(h, new=("a", "b", "c", "d"), makes=digest(live)),
        lambda h: replace(h, new=("a", "", "c"), makes=digest(live)),
    ):
        wrong = rewritten(raw, lambda h, _, change=change: change(h))
        assert len(refused(lambda wrong=wrong: stepped(small, counted, wrong, HERE))) < 300


def test_a_delta_against_another_base_than_the_device_took_is_refused(small: Bundle) -> None:
    base = own(small)
    merged = merge(small, base, deltas(small, base.stored, 2)).base
    mine = learned(small, base.stored, 5)
    assert "took last" in refused(lambda: difference(small, mine, merged.stored, HERE))
    fresh = StoredState(base.state, belonging(small))
    assert "nothing was learned" in refused(lambda: difference(small, fresh, base.stored, HERE))


def test_fractions_of_another_base_or_damaged_ones_are_refused(
    small: Bundle, tmp_path: Path
) -> None:
    base, path = own(small), tmp_path / "base"
    write_base(merge(small, base, deltas(small, base.stored, 2)).base, path)
    kept = bases.fractions_of(path).read_bytes()
    write_base(merge(small, base, deltas(small, base.stored, 3)).base, path)
    bases.fractions_of(path).write_bytes(kept)
    assert "another base" in refused(lambda: read_base(small, path))
    bases.fractions_of(path).write_bytes(kept[:-1])
    refused(lambda: read_base(small, path))
    bases.fractions_of(path).unlink()
    assert read_base(small, path).fraction == {}


# -- the commands ---------------------------------------------------------------------------------


def teach(bundle: Bundle, state: Path, seed: int, samples: int = 256) -> None:
    manifest = bundle.manifest
    split = load_split("digits", None, manifest.input, manifest.classes, ("stream",), "rotate:90")[
        1
    ]
    session = Session.open(bundle, "native", state, care=Care(replace=True))
    part = split.take(np.arange(seed, len(split), 3))
    finetune(
        session, part, FinetuneJob("digits", "stream", "", seed, 16, samples), saving=Saving(0)
    )


def test_three_devices_learn_by_files_what_none_of_them_sent(
    small: Bundle, tmp_path: Path, dfedge
) -> None:
    """Two rounds of finetune, delta, merge and take, of which one device takes steps."""
    base: tuple[object, ...] = ()
    for number in (1, 2):
        inbox = tmp_path / f"inbox{number}"
        inbox.mkdir()
        for i in range(3):
            state = tmp_path / f"state{i}"
            teach(small, state, i)
            made = dfedge("fleet", "delta", small.folder, "--state", state, "--device", i,
                          "--out", inbox / f"{i}.delta", "--json").json  # fmt: skip
            assert made["samples"] == 256 and made["bytes"] < 4 * made["values"]
        (inbox / "junk.delta").write_bytes(b"junk")
        out, stepping = tmp_path / f"round{number}", tmp_path / f"step{number}"
        told = dfedge("fleet", "status", inbox, "--json").json
        assert [bool(one["fault"]) for one in told["deltas"]] == [False, False, False, True]
        assert list(told["bases"].values()) == [3]
        strict = dfedge("fleet", "merge", small.folder, inbox, *base, "--out", out, "--strict")
        assert strict.code == 1 and not out.exists()
        merged = dfedge("fleet", "merge", small.folder, inbox, *base, "--out", out, "--step",
                        stepping, "--json").json  # fmt: skip
        assert (merged["merged"], merged["round"], len(merged["passed"])) == (3, number, 1)
        for i in range(3):
            file = stepping if i == 2 else out
            took = dfedge("fleet", "take", small.folder, file, "--state", tmp_path / f"state{i}",
                          "--json").json  # fmt: skip
            assert took["base"] == merged["base_sha256"]
        base = ("--base", out)
    test = ("--data", "digits", "--shift", "rotate:90", "--json")
    fleet = dfedge("evaluate", small.folder, *test, "--state", tmp_path / "state2").json
    before = dfedge("evaluate", small.folder, *test, "--initial").json
    assert fleet["accuracy"] > before["accuracy"] + 0.3
    exported = tmp_path / "out.safetensors"
    dfedge("state", "export", small.folder, exported, "--state", tmp_path / "state0")
    none = dfedge("fleet", "delta", small.folder, *base, "--state", exported, "--out", "x")
    assert none.code == 1 and "nothing was learned" in none.err
    (tmp_path / "state0" / FLEET_BASE).unlink()
    gone = dfedge("fleet", "delta", small.folder, "--state", tmp_path / "state0", "--out", "x")
    assert gone.code == 1 and "--base" in gone.err
    dfedge("state", "reset", small.folder, "--yes", "--state", tmp_path / "state1")
    assert not list((tmp_path / "state1").iterdir())


def test_a_device_without_python_takes_part_through_its_state_file(
    mcu: Bundle, dfedge_run: Path, tmp_path: Path, dfedge
) -> None:
    """Two rounds of dfedge-run; its file gives the delta that the same learning in Python gives."""
    own_state, python = tmp_path / "chip.state", tmp_path / "state"
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (30, 8, 8), np.uint8), draw.integers(0, 10, 30).astype(np.uint8)
    (tmp_path / "x").write_bytes(
        bytes([0, 0, 8, 3, 0, 0, 0, 30, 0, 0, 0, 8, 0, 0, 0, 8]) + x.tobytes()
    )
    (tmp_path / "y").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 30]) + y.tobytes())
    base: tuple[object, ...] = ()
    for number in (1, 2):
        command = [dfedge_run, "train", mcu.folder / "c" / "net.dfe", tmp_path / "x",
                   tmp_path / "y", "--batch", "1", "--state", own_state]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        out = tmp_path / f"{number}.delta"
        made = dfedge("fleet", "delta", mcu.folder, *base, "--state", own_state, "--out", out,
                      "--json").json  # fmt: skip
        assert (made["samples"], made["steps"]) == (30, 30)
        session = Session.open(mcu, "native", python, care=NO_CARE)
        for one, label in zip(x, y, strict=True):
            session.learn_batch(one[None], np.array([label], np.int64))
        session.save()
        same = tmp_path / "python.delta"
        dfedge("fleet", "delta", mcu.folder, *base, "--state", python, "--out", same)
        assert (
            delta.decode(same.read_bytes()).moves.keys()
            == delta.decode(out.read_bytes()).moves.keys()
        )
        for name, move in delta.decode(same.read_bytes()).moves.items():
            assert (delta.decode(out.read_bytes()).moves[name] == move).all(), name
        following = tmp_path / f"base{number}"
        dfedge("fleet", "merge", mcu.folder, out, *base, "--out", following)
        assert dfedge("fleet", "take", mcu.folder, following, "--c", own_state).code == 0
        assert dfedge("fleet", "take", mcu.folder, following, "--state", python).code == 0
        base = ("--base", following)
    own_state.write_bytes(own_state.read_bytes()[:-5000])
    cut = dfedge("fleet", "delta", mcu.folder, *base, "--state", own_state, "--out", "x")
    assert (cut.code, cut.err.count("\n")) == (1, 1)


def test_a_missing_file_stops_before_anything_is_written(
    small: Bundle, tmp_path: Path, dfedge
) -> None:
    call = dfedge("fleet", "merge", small.folder, tmp_path / "none", "--out", tmp_path / "out")
    assert (call.code, call.err.count("\n")) == (1, 1)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.delta").write_bytes(b"junk")
    junk = dfedge("fleet", "merge", small.folder, tmp_path, "--out", tmp_path / "out")
    assert (junk.code, junk.err.count("\n")) == (1, 1)
    assert not (tmp_path / "out").exists()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_mutated_deltas_never_change_a_merge(small: Bundle, seed: int) -> None:
    """Bytes changed at random are refused, whatever they say."""
    base, draw = own(small), random.Random(seed)
    good = deltas(small, base.stored, 1)
    raw = bytearray(good[0][1])
    for _ in range(draw.choice((1, 2, 8))):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    if bytes(raw) == good[0][1]:
        return
    found = merge(small, base, [("bad", bytes(raw)), *good])
    assert kinds(found) == {"bad": REFUSED}
    assert read_stored(small, None).record.samples == 0


def test_nothing_is_raised_but_one_kind_of_error(small: Bundle) -> None:
    base, draw = own(small), random.Random(1)
    raw = deltas(small, base.stored, 1)[0][1]
    for _ in range(200):
        size = draw.randrange(len(raw) + 80)
        with pytest.raises(DfedgeError):
            merge(small, base, [("bad", draw.choice((draw.randbytes(size), raw[:size] + b"x")))])
