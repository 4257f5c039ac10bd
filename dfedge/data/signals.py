"""Recordings .csv of a person: a table with a column of classes, or a folder of tables by class."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from dfedge.data.catalogue import Catalogue, SplitPart
from dfedge.data.door import SampleFilter
from dfedge.data.folders import named_folders, samples_in
from dfedge.data.inputs.window import WindowRule
from dfedge.data.reading import NORMAL, Reading
from dfedge.data.recordings import RecordedWindows, Recording, windows
from dfedge.data.tables import SUFFIX, CsvFile, check_alike, read_table, stretches
from dfedge.errors import DfedgeError, UsageError
from dfedge.names import checked_names, spelled

LOG = logging.getLogger(__name__)
WINDOW = "window"
Named = list[tuple[str, Recording]]
"""Class and recording each, its label not yet set."""


@dataclass(frozen=True)
class Signals:
    """A named set of recordings.

    Attributes:
        classes: in the order of the recordings' labels.
        recordings: by the split's name; ``all`` where they came in one piece.
        channels: their names.
        window, hop: how they are cut where nothing else is asked for; 0: as they are.
    """

    name: str
    classes: tuple[str, ...]
    recordings: dict[str, tuple[Recording, ...]]
    channels: tuple[str, ...] = ()
    window: int = 0
    hop: int = 0

    def catalogue(
        self, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
    ) -> Catalogue:
        """Its windows, labelled as a model's classes where these are given."""
        if not reading.window:
            reading = replace(reading, window=self.window, hop=reading.hop or self.hop)
        named = {
            part: [(self.classes[one.label], one) for one in recordings]
            for part, recordings in self.recordings.items()
        }
        return signals(self.name, named, self.channels, classes or self.classes, door, reading)


def signals(
    where: str,
    named: dict[str, Named],
    channels: Sequence[str],
    classes: tuple[str, ...] | None,
    door: SampleFilter,
    reading: Reading,
) -> Catalogue:
    """Recordings, by split, cut into windows.

    Args:
        channels: their names.
        classes: a model's; None: those of the recordings, by name.

    Raises:
        UsageError: someone is to be left out of data that have their splits.
        DfedgeError: a class that the model does not know, or recordings that cannot be cut.
    """
    found = checked_names(sorted({name for part in named.values() for name, _ in part}), where)
    if reading.leave_out and "all" not in named:
        raise UsageError(f"--leave-out {reading.leave_out}: {where} has a test split of its own")
    known = {spelled(name): number for number, name in enumerate(classes or found)}
    parts: dict[str, SplitPart] = {}
    for part, every in named.items():
        recordings = []
        for name in found:
            own = [one for called, one in every if called == name]
            if name not in known:
                door.refuse_class(name, known, where, len(own))
                continue
            recordings += [Recording(one.x, known[name], one.groups) for one in own]
        parts[part] = _sifted(windows(recordings, reading, where), door)
    return Catalogue(where, classes or found, parts, WINDOW, tuple(channels))


def _sifted(found: RecordedWindows, door: SampleFilter) -> RecordedWindows:
    """Without windows that hold a value which is none, where they are to be skipped."""
    if door.policy == "stop":
        return found
    return found.take(np.flatnonzero(door.kept({"value": WindowRule.unusable(found.x)})))


def open_table(
    path: Path, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
) -> Catalogue:
    """One table with a column of classes; without --window and times each row is a vector.

    Raises:
        DfedgeError: no such column, or times and no --window.
    """
    table = read_table(path, reading.label, door)
    LOG.info("%s: %s", path, table.columns)
    if not table.labels and not reading.unlabelled:
        raise DfedgeError(
            f"{path}: no column names the class; name it with --label COLUMN, or put one table of "
            "each class in a folder of its name"
        )
    if not reading.window:
        if table.step:
            raise DfedgeError(
                f"{path}: a recording over time; give --window SAMPLES (and --hop) to cut it"
            )
        reading = replace(reading, window=1, hop=1)
    return signals(
        str(path), {"all": stretches(table, NORMAL, {})}, table.names, classes, door, reading
    )


def table_files(folder: Path, unlabelled: bool = False) -> dict[str, list[Path]]:
    """Class -> its tables, of a folder CLASS/*.csv; none where no class has one.

    Args:
        unlabelled: see `dfedge.data.folders.named_folders`.
    """
    found = {
        spelled(name): samples_in(sub, (SUFFIX,)) for name, sub in named_folders(folder, unlabelled)
    }
    return found if any(found.values()) else {}


def open_by_class(
    folder: Path, classes: tuple[str, ...] | None, door: SampleFilter, reading: Reading
) -> Catalogue:
    """A folder of tables by class, each a recording.

    Raises:
        DfedgeError: a class without a table, or tables of different channels or rates.
    """
    tables: list[tuple[Path, CsvFile]] = []
    named: Named = []
    for name, files in table_files(folder, reading.unlabelled).items():
        if not files:
            raise DfedgeError(
                f"{folder / name}: a class without a table, beside classes with tables *{SUFFIX}; "
                "add one, or remove the folder"
            )
        for file in files:
            table = read_table(file, reading.label, door)
            tables.append((file, table))
            named += [(name, one) for _, one in stretches(table, name, {})]
    channels = check_alike(tables)
    LOG.info("%s: tables of %s", folder, tables[0][1].columns)
    return signals(str(folder), {"all": named}, channels, classes, door, reading)
