"""Samples that arrive over time: a folder of images, sounds or recordings by class, by date."""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Split
from dfedge.data.folders import files_by_class, kind_of
from dfedge.data.inputs import InputRule, record_of
from dfedge.data.signals import table_files
from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource
from dfedge.errors import UsageError, foreign
from dfedge.regular import is_folder

WANTED = "expected: CLASS/*.png, *.wav or *.csv"


class FolderOverTime(StreamKind, frozen=True):
    """The files in order of modification, then of name, cut into equal parts.

    A recording gives as many samples as it has windows.

    Attributes:
        experiences: parts.
        held_out: every so many-th file is only tested.
    """

    experiences: Annotated[int, Meta(ge=1)] = 5
    held_out: Annotated[int, Meta(ge=2)] = 5

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`."""
        folder = Path(source.data)
        if not is_folder(folder):
            raise UsageError(f"stream folder: {folder} is not a folder; {WANTED}")
        recordings = table_files(folder)
        kind = "" if recordings else kind_of([folder], source.reading.input)
        found = recordings or files_by_class(folder, kind)
        files = [(path, label) for label, group in enumerate(found.values()) for path in group]
        if len(files) < self.experiences * self.held_out:
            raise UsageError(
                f"stream folder: {folder} holds {len(files)} files, too few for "
                f"{self.experiences} experiences of {self.held_out}; {WANTED}"
            )
        with foreign(folder, "a stream of files"):
            files.sort(key=lambda file: (file[0].stat().st_mtime_ns, file[0].name))
        rule = source.rule or (
            source.open().own_rule()
            if recordings
            else record_of(kind).of_files([path for path, _ in files])
        )
        parts = np.array_split(np.arange(len(files)), self.experiences)
        return Stream(
            tuple(found),
            tuple(
                Experience(f"part {e + 1}", *self._cut([files[i] for i in part], rule))
                for e, part in enumerate(parts)
            ),
        )

    def _cut(self, files: list[tuple[Path, int]], rule: InputRule) -> tuple[Split, Split]:
        last = self.held_out - 1
        tested = [file for i, file in enumerate(files) if i % self.held_out == last]
        return _read([file for file in files if file not in tested], rule), _read(tested, rule)


def _read(files: list[tuple[Path, int]], rule: InputRule) -> Split:
    samples = [rule.read(path) for path, _ in files]
    y = np.repeat([label for _, label in files], [len(one) for one in samples])
    return Split(np.concatenate(samples), y.astype(np.int64))
