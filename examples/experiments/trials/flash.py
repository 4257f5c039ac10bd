"""NOR flash that loses its power: in every unit that is programmed and every sector that is erased.

As a chip has it: what was erased reads FF, a unit is programmed once until its sector is erased
again, and the sectors of a slot are erased one after the other.  A unit under way when the power
goes holds any mixture of old and new bits, and so does a sector.  After every such instant the
store must open the last save that was acknowledged, or the one under way; and the next save must
succeed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from dfedge.native.store import DAMAGED, EMPTY, STORED, NetRecord, NetStore, slot_bytes

TEARS = ("nothing", "some", "most", "all")
"""How much of what was under way reached the medium."""


@dataclass
class Flash:
    """Sectors and units, and an instant at which the power goes.

    Attributes:
        cut: the operation under way at that instant, counted from 0; None: none.
        violations: what a chip would not have done.
        careless: erases the other slot too, as a firmware that has its sizes wrong: a control.
    """

    size: int
    sector: int
    unit: int
    cells: bytearray = field(default_factory=bytearray)
    cut: int | None = None
    tear: str = "nothing"
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    operations: int = 0
    violations: list[str] = field(default_factory=list)
    careless: bool = False

    def __post_init__(self) -> None:
        self.cells = self.cells or bytearray(b"\xff" * self.size)

    def _dead(self) -> bool:
        return self.cut is not None and self.operations > self.cut

    def _operate(self, at: int, new: bytes) -> bool:
        """One unit or sector; whether the power held until it was done."""
        if self._dead():
            return False
        old = bytes(self.cells[at : at + len(new)])
        torn = self.operations == self.cut
        self.operations += 1
        self.cells[at : at + len(new)] = self._torn(old, new) if torn else new
        return not torn

    def _torn(self, old: bytes, new: bytes) -> bytes:
        if self.tear in ("nothing", "all"):
            return new if self.tear == "all" else old
        share = 0.2 if self.tear == "some" else 0.8
        masks = (sum((self.draw.random() < share) << bit for bit in range(8)) for _ in new)
        return bytes(a ^ (a ^ b) & mask for a, b, mask in zip(old, new, masks, strict=True))

    def read(self, at: int, count: int) -> bytes | None:
        """See `dfedge.native.store.Bytes`."""
        return None if self._dead() else bytes(self.cells[at : at + count])

    def program(self, at: int, data: bytes) -> bool:
        """Unit by unit."""
        if at % self.unit or len(data) % self.unit:
            self.violations.append(f"{len(data)} bytes at {at}: no whole units")
        for start in range(0, len(data), self.unit):
            place, new = at + start, data[start : start + self.unit]
            if self.cells[place : place + self.unit].count(0xFF) != self.unit and not self._dead():
                self.violations.append(f"unit at {place} is programmed twice")
            if not self._operate(place, new):
                return False
        return True

    def erase(self, at: int, count: int) -> bool:
        """Sector by sector."""
        if at % self.sector or count % self.sector:
            self.violations.append(f"{count} bytes at {at}: no whole sectors")
        start, end = (0, self.size) if self.careless else (at, at + count)
        places = range(start, end, self.sector)
        return all(self._operate(place, b"\xff" * self.sector) for place in places)

    def flush(self) -> bool:
        """A chip has no cache."""
        return not self._dead()


@dataclass
class FlashLosses:
    """What was tried and found.

    Attributes:
        cuts: instants at which the power went, each with every tear.
        lost: those after which neither the last acknowledged save was found nor the one under way.
        refused: those after which the next save failed.
        violations: what a chip would not have done.
    """

    cuts: int = 0
    lost: int = 0
    refused: int = 0
    violations: int = 0


@dataclass(frozen=True)
class Chip:
    """Sizes: of a state, of sectors and units; and whether `Flash` is careless."""

    state_bytes: int
    sector: int = 512
    unit: int = 8
    careless: bool = False

    def flash(self, cells: bytearray | None = None, **cut: object) -> Flash:
        """Twice a slot, as after a loss of power."""
        size = 2 * slot_bytes(self.state_bytes, self.unit, self.sector)
        copy = bytearray(cells) if cells else bytearray()
        return Flash(size, self.sector, self.unit, copy, careless=self.careless, **cut)  # type: ignore[arg-type]

    def store(self, flash: Flash) -> NetStore:
        """Opened on it."""
        store = NetStore(flash, flash.size // 2, self.unit)
        store.open()
        return store


def lose_power(chip: Chip, saves: int, seed: int = 0) -> FlashLosses:
    """Cut every operation of so many saves, in every way; and the first save after each cut."""
    draw, found = random.Random(seed), FlashLosses()
    states = [draw.randbytes(chip.state_bytes) for _ in range(saves + 2)]
    cells = chip.flash().cells
    for number in range(1, saves + 1):
        for flash in _cuts(chip, cells, number, states, draw):
            found.cuts += 1
            again = chip.flash(flash.cells)
            number_found = _opened(chip, again, states)
            found.lost += number_found not in (number - 1, number)
            found.refused += _save(chip, again, number + 1, states) != STORED
            found.refused += _opened(chip, again, states) != number + 1
            found.violations += len(flash.violations) + len(again.violations)
        whole = chip.flash(cells)
        _save(chip, whole, number, states)
        cells = whole.cells
    return found


def lose_power_in_a_row(chip: Chip, cuts: int, seed: int = 0) -> FlashLosses:
    """Cut one save after the other, each on what the last loss of power left."""
    draw, found, last = random.Random(seed), FlashLosses(), 0
    states = [draw.randbytes(chip.state_bytes) for _ in range(cuts + 2)]
    flash = chip.flash()
    operations = _operations(chip, flash, states)
    for number in range(1, cuts + 1):
        cut = draw.randrange(operations)
        flash = chip.flash(flash.cells, cut=cut, tear=draw.choice(TEARS), draw=draw)
        _save(chip, flash, number, states)
        now = _opened(chip, chip.flash(flash.cells), states)
        found.cuts += 1
        found.lost += now not in (last, number)
        found.violations += len(flash.violations)
        last = now
    return found


def _operations(chip: Chip, flash: Flash, states: list[bytes]) -> int:
    whole = chip.flash(flash.cells)
    _save(chip, whole, 1, states)
    return whole.operations


def _cuts(
    chip: Chip, cells: bytearray, number: int, states: list[bytes], draw: random.Random
) -> Iterator[Flash]:
    flash = chip.flash(cells)
    for cut in range(_operations(chip, flash, states)):
        for tear in TEARS:
            flash = chip.flash(cells, cut=cut, tear=tear, draw=draw)
            _save(chip, flash, number, states)
            yield flash


def _save(chip: Chip, flash: Flash, number: int, states: list[bytes]) -> int:
    return chip.store(flash).save(NetRecord(steps=number), states[number])


def _opened(chip: Chip, flash: Flash, states: list[bytes]) -> int:
    """The number of the save that is found whole; 0: none yet; -1: refused, or another's bytes."""
    store = NetStore(flash, flash.size // 2, chip.unit)
    status = store.open()
    if status != STORED:
        return 0 if status in (EMPTY, DAMAGED) else -1  # damaged: the first save was cut short
    number: int = store.found.record.steps
    return number if store.load() == states[number] else -1
