"""How a person's files are to be understood, where they do not say it themselves."""

from typing import Annotated

import msgspec
from msgspec import Meta

from dfedge.limits import Natural

NORMAL = "normal"
"""Class of samples that bear no label."""
Word = Annotated[str, Meta(max_length=200)]


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kept by a run and a bundle, so that the same files are read so again.

    Attributes:
        input: the kind of input, of `dfedge.data.inputs.KINDS`; empty: what the data look like.
        window: samples of a window; 0: recordings are windows as they are.
        hop: samples from one window's start to the next one's; 0: half a window.
        label: the column of a table that names the class; empty: as `dfedge.data.tables` knows it.
        leave_out: whose samples are the test split, as ``person:3``; empty: drawn ones.
        unlabelled: samples need no label; those without are `NORMAL`.
    """

    input: Word = ""
    window: Natural = 0
    hop: Natural = 0
    label: Word = ""
    leave_out: Word = ""
    unlabelled: bool = False

    @property
    def step(self) -> int:
        """From one window's start to the next one's."""
        return self.hop or max(self.window // 2, 1)


AS_THEY_ARE = Reading()
"""Nothing is asked for."""
