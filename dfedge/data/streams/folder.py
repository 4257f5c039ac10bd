"""Samples that arrive over time: a folder CLASS/*.png or CLASS/*.wav, in order of their dates."""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Split
from dfedge.data.folders import files_by_class, kind_of
from dfedge.data.inputs import record_of
from dfedge.data.streams.stream import Experience, Source, Stream, StreamKind
from dfedge.errors import UsageError, foreign
from dfedge.regular import is_folder


class FolderOverTime(StreamKind, frozen=True):
    """The files in order of modification, then of name, cut into equal parts.

    Attributes:
        experiences: parts.
        held_out: every so many-th file is only tested.
    """

    experiences: Annotated[int, Meta(ge=1)] = 5
    held_out: Annotated[int, Meta(ge=2)] = 5

    def make(self, source: Source, seed: int) -> Stream:
        """See `StreamKind.make`."""
        folder = Path(source.data)
        if not is_folder(folder):
            raise UsageError(f"stream folder: {folder} is no folder; wanted: CLASS/*.png")
        kind = kind_of([folder], source.reading.input)
        found = files_by_class(folder, kind)
        files = [(path, label) for label, group in enumerate(found.values()) for path in group]
        if len(files) < self.experiences * self.held_out:
            raise UsageError(
                f"stream folder: {folder} holds {len(files)} files, too few for "
                f"{self.experiences} experiences of {self.held_out}; wanted: CLASS/*.png"
            )
        with foreign(folder, "a stream of files"):
            files.sort(key=lambda file: (file[0].stat().st_mtime_ns, file[0].name))
        rule = source.rule or record_of(kind).of_files([path for path, _ in files])
        x = np.concatenate([rule.read(path) for path, _ in files])
        y = np.array([label for _, label in files], np.int64)
        parts = np.array_split(np.arange(len(files)), self.experiences)
        return Stream(tuple(found), tuple(
            Experience(f"part {e + 1}", *self._cut(Split(x[part], y[part])))
            for e, part in enumerate(parts)
        ))  # fmt: skip

    def _cut(self, split: Split) -> tuple[Split, Split]:
        tested = np.arange(len(split)) % self.held_out == self.held_out - 1
        return split.take(np.flatnonzero(~tested)), split.take(np.flatnonzero(tested))
