"""Data split among devices that are simulated: equal shares, few classes each, or a person each."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfedge.data.catalogue import Catalogue
from dfedge.data.dataset import Labels, Split
from dfedge.data.inputs import InputRule
from dfedge.errors import UsageError
from dfedge.fleet.words import EQUAL, SPLIT_HELP


@dataclass(frozen=True)
class Member:
    """One device of a simulated fleet.

    Attributes:
        name: also of its state folder.
        learns: its own samples.
        tested: samples of its own that it does not learn; None: it has none.
    """

    name: str
    learns: Split
    tested: Split | None = None


def shared_out(split: Split, how: str, devices: int, seed: int) -> list[Member]:
    """Samples dealt to devices, none to two of them.

    Args:
        how: ``equal`` or ``classes:N``.

    Raises:
        UsageError: no such way, or a device would get nothing.
    """
    if how == EQUAL:
        index = _dealt(len(split), devices, seed)
    else:
        found = re.fullmatch(r"classes:([1-9]\d{0,4})", how)
        if not found:
            raise UsageError(f"--split {how}: allowed: {SPLIT_HELP}")
        index = _by_classes(split.y, devices, int(found[1]), seed)
    empty = next((i for i, own in enumerate(index) if not len(own)), None)
    if empty is not None:
        raise UsageError(
            f"{len(split):,} samples are too few for {devices:,} devices by --split {how}: device "
            f"{empty} would have none; give fewer --devices"
        )
    width = len(str(devices - 1))
    return [Member(f"{i:0{width}}", split.take(own)) for i, own in enumerate(index)]


def by_group(found: Catalogue, rule: InputRule, seed: int, trained_on: str = "") -> list[Member]:
    """One device for everybody whose samples the data name, with those that are only tested.

    Args:
        seed: of the cut in what is learned and what is tested (`Catalogue.only`).
        trained_on: somebody, as ``person:3``, who is not a device.

    Raises:
        UsageError: data that do not say whose they are.
    """
    everybody = [one for one in found.everybody() if one != trained_on]
    if not everybody:
        raise UsageError(f"{found.name} does not say to whom its samples belong; --split {EQUAL}")
    members = []
    for who in everybody:
        own = found.only(who, seed)
        parts = {name: own.parts[name].read(rule) for name in ("train", "test")}
        members.append(Member(who.replace(":", "-"), parts["train"], parts["test"]))
    return members


def _dealt(count: int, devices: int, seed: int) -> list[NDArray[np.int64]]:
    order = np.random.default_rng(seed).permutation(count).astype(np.int64)
    return [np.sort(order[i::devices]) for i in range(devices)]


def _by_classes(y: Labels, devices: int, each: int, seed: int) -> list[NDArray[np.int64]]:
    """Device i has the classes that follow each other from ``i each`` on; a class's samples are
    dealt to those that have it.
    """
    classes = np.unique(y)
    if each > len(classes):
        raise UsageError(f"--split classes:{each}: the data have {len(classes)} classes")
    draw = np.random.default_rng(seed)
    order = draw.permutation(classes)
    has = [[order[(i * each + j) % len(order)] for j in range(each)] for i in range(devices)]
    found: list[list[NDArray[np.int64]]] = [[] for _ in range(devices)]
    for k in classes:
        owners = [i for i in range(devices) if k in has[i]]
        own = draw.permutation(np.flatnonzero(y == k)).astype(np.int64)
        for place, i in enumerate(owners):
            found[i].append(own[place :: len(owners)])
    return [np.sort(np.concatenate(one)) for one in found]
