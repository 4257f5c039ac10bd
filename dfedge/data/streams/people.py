"""People of signals that say whose they are: each is learned, and tested on what comes later."""

import logging

import numpy as np

from dfedge.data.catalogue import Catalogue
from dfedge.data.dataset import Split
from dfedge.data.inputs import InputRule
from dfedge.data.streams.portions import ends, ranked
from dfedge.data.streams.stream import Experience, Stream, StreamSource, drawn
from dfedge.errors import UsageError

LOG = logging.getLogger(__name__)


def people(source: StreamSource, seed: int, who: str, portions: str = "") -> Stream:
    """Experiences of some people, one after the other; ``known`` and ``past`` are the others'.

    Whose samples were left out of training are cut as `Catalogue.only` cuts them, so that none is
    learned and tested.

    Args:
        who: ``person:3+person:5``; empty: who was left out of training, else everybody.
        portions: how many of each class are learned by the end of each experience, the first in
            time, as ``5+20``; empty: all, in one experience.

    Raises:
        UsageError: data that do not say whose they are, nobody of that name, or portions that are
            none.
    """
    found = source.open()
    everybody = found.everybody()
    if not everybody:
        raise UsageError(
            f"new-user: {source.data} does not say to whom its samples belong; of a table a column "
            "person, machine or the like does"
        )
    seed_of_cut = source.seed_of(found, seed)
    found = found.cut(seed_of_cut)
    rule = source.rule or found.own_rule()
    seen = [one for one in everybody if found.trained_on(one)]
    if seen and source.cut is not None:
        LOG.info("%s: all samples of %s were trained on, their tests too", source.data,
                 ", ".join(seen))  # fmt: skip
    named = who or source.reading.leave_out
    learned = named.split("+") if named else everybody
    each = {one: _both(found, one, rule, seed_of_cut) for one in dict.fromkeys(learned)}
    others = [_both(found, one, rule, seed_of_cut) for one in everybody if one not in each]
    return Stream(
        found.classes,
        tuple(
            Experience(name, drawn(part, 0, seed), test)
            for one, (train, test) in each.items()
            for name, part in _portions(one, train, portions)
        ),
        known=_joined([test for _, test in others]),
        past=_joined([drawn(train, 0, seed) for train, _ in others]),
    )


def _both(found: Catalogue, who: str, rule: InputRule, seed: int) -> tuple[Split, Split]:
    """Somebody's train and test samples."""
    own = found.only(who, seed)
    return own.parts["train"].read(rule), own.parts["test"].read(rule)


def _portions(name: str, train: Split, text: str) -> list[tuple[str, Split]]:
    """Parts of somebody's samples, which are in order of time."""
    if not text:
        return [(name, train)]
    rank = ranked(np.arange(len(train)), train.y)
    stops = ends(text, int(rank.max()) + 1)
    return [
        (f"{name}, {end}", train.take(np.flatnonzero((rank >= start) & (rank < end))))
        for start, end in zip([0, *stops], stops, strict=False)
    ]


def _joined(splits: list[Split]) -> Split | None:
    if not splits:
        return None
    return Split(
        np.concatenate([one.x for one in splits]), np.concatenate([one.y for one in splits])
    )
