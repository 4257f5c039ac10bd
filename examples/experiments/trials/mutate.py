"""Files changed at random, to see whether a changed byte is ever used.

Every trial changes one or more files of a good folder, opens it with the code of a device, judges,
and puts the files back.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dfedge.bundle import Bundle
from dfedge.device.store import SLOTS, Store
from dfedge.errors import DfedgeError
from dfedge.state import digest

Change = Callable[[Path, random.Random], None]
Outcomes = Counter[str]
"""``refused``; ``untouched`` (the change was none, or of no file that is read); ``other slot`` (and
said so); ``emptied`` (both slots missing, and said so).  What must not be is in `BAD`."""

BAD = ("used", "silent", "crashed", "long error")


def _flip(path: Path, draw: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    path.write_bytes(raw)


def _flip_in_front(path: Path, draw: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    raw[draw.randrange(min(64, len(raw)))] ^= 1 << draw.randrange(8)
    path.write_bytes(raw)


def _truncate(path: Path, draw: random.Random) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: draw.randrange(len(raw))])


def _append(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice((1, 2, 512))))


def _overwrite(path: Path, draw: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    start = draw.randrange(len(raw))
    length = min(draw.choice((1, 4, 64, 512, 4096)), len(raw) - start)
    raw[start : start + length] = draw.choice((bytes(length), draw.randbytes(length)))
    path.write_bytes(raw)


def _move_range(path: Path, draw: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    source, target = draw.randrange(len(raw)), draw.randrange(len(raw))
    length = min(draw.choice((1, 32, 512)), len(raw) - max(source, target))
    raw[target : target + length] = raw[source : source + length]
    path.write_bytes(raw)


def _remove(path: Path, _: random.Random) -> None:
    path.unlink()


def _double(path: Path, draw: random.Random) -> None:
    shutil.copyfile(path, path.with_name(draw.choice(("copy", f"{path.name}.1", ".hidden"))))


def _link(path: Path, _: random.Random) -> None:
    away = path.with_name("away")
    path.rename(away)
    path.symlink_to(away.name)


def _over_another(path: Path, draw: random.Random) -> None:
    others = [other for other in _files(path.parent) if other != path]
    if others:
        shutil.copyfile(draw.choice(others), path)


CHANGES: dict[str, Change] = {
    "flipped": _flip,
    "flipped in front": _flip_in_front,
    "truncated": _truncate,
    "appended to": _append,
    "overwritten": _overwrite,
    "range moved": _move_range,
    "missing": _remove,
    "doubled": _double,
    "linked": _link,
    "another's content": _over_another,
}
"""Of bundles; slots know neither links (no name in a slot is followed) nor others' content."""

SLOT_CHANGES = [name for name in CHANGES if name not in ("linked", "another's content")]


def mutate_bundles(folder: Path, trials: int, seed: int) -> dict[str, Outcomes]:
    """Change files of a bundle, in place and back; change -> outcomes."""
    draw, kept = random.Random(seed), _contents(folder)
    found: dict[str, Outcomes] = {name: Counter() for name in CHANGES}
    names = sorted(kept)
    for number in range(trials):
        kind = list(CHANGES)[number % len(CHANGES)]
        with _put_back(folder, kept):
            CHANGES[kind](draw.choice(names), draw)
            found[kind][_open_bundle(folder, kept)] += 1
    return found


def _open_bundle(folder: Path, kept: dict[Path, bytes]) -> str:
    try:
        Bundle.open(folder)
    except DfedgeError as error:
        return _refusal(error)
    except Exception:
        return "crashed"
    return "untouched" if _contents(folder) == kept else "used"


def mutate_slots(folder: Path, bundle: Bundle, trials: int, seed: int) -> dict[str, Outcomes]:
    """Change one slot of a state folder, or both, in place and back; change -> outcomes."""
    draw, kept = random.Random(seed), _contents(folder)
    found: dict[str, Outcomes] = {name: Counter() for name in SLOT_CHANGES}
    states = {}
    for slot in SLOTS:
        with _put_back(folder, kept):
            next(folder / other for other in SLOTS if other != slot).unlink()
            stored = Store(folder, read_only=True).load(bundle)
            assert stored is not None
            states[slot] = digest(stored.state)
    for number in range(trials):
        kind = SLOT_CHANGES[number % len(SLOT_CHANGES)]
        with _put_back(folder, kept):
            for slot in draw.choice((SLOTS[:1], SLOTS[1:], SLOTS)):
                CHANGES[kind](folder / slot, draw)
            found[kind][_open_slots(folder, bundle, kept, states)] += 1
    return found


def _open_slots(
    folder: Path, bundle: Bundle, kept: dict[Path, bytes], states: dict[str, str]
) -> str:
    store = Store(folder, read_only=True)
    try:
        stored = store.load(bundle)
    except DfedgeError as error:
        return _refusal(error)
    except Exception:
        return "crashed"
    now = _contents(folder)
    if stored is None:
        emptied = store.notes and not any(folder / slot in now for slot in SLOTS)
        return "emptied" if emptied else "silent"
    assert store.slot is not None
    path = folder / store.slot
    if now[path] != kept[path] or digest(stored.state) != states[store.slot]:
        return "used"
    changed = [path for path in kept if now.get(path) != kept[path]]
    if changed and not store.notes:
        return "silent"
    return "other slot" if changed else "untouched"


def _refusal(error: DfedgeError) -> str:
    return "refused" if "\n" not in str(error) and len(str(error)) < 600 else "long error"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _files(folder)}


@contextmanager
def _put_back(folder: Path, kept: dict[Path, bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for path in _files(folder) + [p for p in folder.rglob("*") if p.is_symlink()]:
            if path not in kept or path.is_symlink():
                path.unlink(missing_ok=True)
        for path, raw in kept.items():
            if not path.is_file() or path.read_bytes() != raw:
                path.write_bytes(raw)
