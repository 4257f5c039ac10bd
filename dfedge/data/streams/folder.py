"""Images that arrive over time: a folder CLASS/*.png, in the order of the files' dates."""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Split
from dfedge.data.files import images_by_class
from dfedge.data.inputs.image import common_rule, look_at
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
        found = images_by_class(folder)
        files = [(path, label) for label, group in enumerate(found.values()) for path in group]
        if len(files) < self.experiences * self.held_out:
            raise UsageError(
                f"stream folder: {folder} holds {len(files)} images, too few for "
                f"{self.experiences} experiences of {self.held_out}; wanted: CLASS/*.png"
            )
        with foreign(folder, "a stream of images"):
            files.sort(key=lambda file: (file[0].stat().st_mtime_ns, file[0].name))
        rule = source.rule or common_rule(look_at([path for path, _ in files]))
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
