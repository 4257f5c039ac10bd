"""Samples that say whose they are: a person's, a machine's, of a day."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from dfedge.data.dataset import Divided
from dfedge.errors import DfedgeError, unknown_name

Groups = dict[str, NDArray[np.str_]]
"""Kind -> whose each sample is, [N]; none where the samples do not say it."""


class Grouped:
    """What parts have in common whose samples say whose they are (`dfedge.data.catalogue.Part`).

    Attributes:
        groups: see `Groups`.
        leave_out: see `dfedge.data.reading.Reading`.
        where: begins an error's text.
    """

    groups: Groups
    leave_out: str
    where: str

    def take(self, index: NDArray[np.int64]) -> Self:
        """See `dfedge.data.catalogue.Part`."""
        raise NotImplementedError

    def owned(self, who: str) -> NDArray[np.bool_]:
        """Which samples are somebody's, as ``person:3``: bool [N].

        Raises:
            UsageError: nobody of that name is there.
        """
        kind, _, name = who.partition(":")
        if kind not in self.groups:
            raise unknown_name(f"group of {self.where}", kind, list(self.groups))
        owned = self.groups[kind] == name
        if not owned.any():
            raise unknown_name(f"{kind} of {self.where}", name, [*map(str, set(self.groups[kind]))])
        return np.asarray(owned)

    def holds(self, who: str) -> bool:
        """Whether any sample is somebody's, as ``person:3``."""
        kind, _, name = who.partition(":")
        return kind in self.groups and bool((self.groups[kind] == name).any())

    def of(self, who: str) -> Self:
        """Somebody's samples alone: `divided` cuts these.

        Raises:
            UsageError: as `owned`.
        """
        raise NotImplementedError

    def everybody(self) -> list[str]:
        """All groups of the first kind, ``person:1`` and so on, as they first occur."""
        kind = next(iter(self.groups), None)
        return [f"{kind}:{name}" for name in dict.fromkeys(self.groups[kind])] if kind else []

    def without(self, who: str) -> Divided:
        """Places of everybody else's samples, and of somebody's.

        Raises:
            UsageError: as `owned`.
            DfedgeError: there is nobody else.
        """
        held = self.owned(who)
        if held.all():
            raise DfedgeError(f"{self.where}: nothing is left to train on without {who}")
        return np.flatnonzero(~held), np.flatnonzero(held)


def taken(groups: Groups, index: NDArray[np.int64]) -> Groups:
    """Of the samples at ``index``."""
    return {kind: names[index] for kind, names in groups.items()}
