"""Which tensors of a state travel: shared parts are summed, personal ones stay at home."""

from collections.abc import Sequence

from dfedge.errors import UsageError, unknown_name
from dfedge.state import MOVED, State

ALL, LAST = "all", "last"
KINDS = {"weights": ".weight", "anchors": ".anchors"}
"""A word of the options -> how its tensors' names end."""


def moved_names(state: State) -> list[str]:
    """The tensors that learning moves, in name order."""
    return sorted(name for name in state if name.endswith(MOVED))


def selected(
    state: State, share: Sequence[str] = (ALL,), personal: Sequence[str] = ()
) -> list[str]:
    """The tensors that travel, in name order: what is shared and is not personal.

    Args:
        share, personal: words: ``all``; ``weights`` or ``anchors`` of all layers; ``last``, the
            last layer; ``layer2``, one layer; or a tensor's whole name.

    Raises:
        UsageError: a word that means no tensor of this state, or nothing is left to travel.
    """
    names = moved_names(state)
    shared = {name for word in share for name in _meant(word, names)}
    kept = {name for word in personal for name in _meant(word, names)}
    found = [name for name in names if name in shared - kept]
    if not found:
        raise UsageError(
            f"nothing is shared: of {', '.join(share) or 'nothing'} all is personal "
            f"({', '.join(personal)}); share more"
        )
    return found


def _meant(word: str, names: list[str]) -> list[str]:
    layers = sorted({name.split(".")[0] for name in names}, key=lambda n: (len(n), n))
    if word == ALL:
        return names
    if word in KINDS:
        return [name for name in names if name.endswith(KINDS[word])]
    layer = layers[-1] if word == LAST else word
    found = [name for name in names if name == word or name.split(".")[0] == layer]
    if not found:
        raise unknown_name("part of the state", word, [ALL, LAST, *KINDS, *layers])
    return found
