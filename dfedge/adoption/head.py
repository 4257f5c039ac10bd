"""Which classes a foreign net's scores stand for, and which of its last layer's rows are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dfedge.adoption.blocks import tail_of
from dfedge.adoption.graph import ForeignGraph, ForeignNode, average
from dfedge.errors import DfedgeError, UsageError, foreign, unknown_name
from dfedge.names import class_flaw, some, spelled
from dfedge.regular import read_bytes

HEADS = ("own", "keep", "keep:ROW,ROW,...", "new", "add")


@dataclass(frozen=True)
class Headed:
    """A net with a score for each of these classes.

    Attributes:
        fit: the last layer has no weights yet: see `dfedge.adoption.head_fit`.
    """

    graph: ForeignGraph
    classes: tuple[str, ...]
    fit: bool = False


def read_names(path: Path | None) -> tuple[str, ...]:
    """A file's lines: names of a net's scores, in their order; none without a file.

    Raises:
        DfedgeError: no such file, or names that are empty or alike.
    """
    if path is None:
        return ()
    with foreign(path, "names of classes", "one name a line, in the order of the net's scores"):
        lines = read_bytes(path).decode().splitlines()
    names = [line.strip() for line in lines if line.strip()]
    flaw = class_flaw(names) if names else "none"
    if flaw is not None:
        raise DfedgeError(f"{path}: invalid names of classes: {flaw}")
    return tuple(map(spelled, names))


def headed(
    graph: ForeignGraph, head: str, names: Sequence[str], classes: tuple[str, ...]
) -> Headed:
    """Give a net the last layer that is asked for.

    Args:
        graph: folded.
        head: one of `HEADS`.
        names: of its scores, where they are known.
        classes: of the data.

    Raises:
        UsageError: no such head, or rows that the net has not.
        DfedgeError: scores that are not the data's classes, with what to do.
    """
    kind, _, rows = head.partition(":")
    if kind in ("new", "add") and not rows:
        instead = kind == "new" and not graph.embeds
        return Headed(_with_head(graph, len(classes), instead), classes, fit=True)
    channels, height, width = graph.nodes[-1].shape
    if names and len(names) != channels:
        raise DfedgeError(
            f"--classes names {len(names):,} scores, and the net gives {channels:,}; one name a "
            "line, in the order of the scores"
        )
    if head == "own":
        if (height, width) != (1, 1):
            raise DfedgeError(
                f"the net's output is {channels} x {height} x {width} a sample; allowed: one score "
                "per class; --head add puts a last layer on its mean"
            )
        return Headed(graph, _own_classes(channels, tuple(names), classes))
    if kind != "keep":
        raise unknown_name("--head", head, list(HEADS))
    return Headed(_kept(graph, _rows(rows, channels, names, classes)), classes)


def _own_classes(scores: int, names: tuple[str, ...], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all scores: those given, else the data's, else numbers where the data have none."""
    numbers = tuple(str(number) for number in range(scores))
    known = names or (classes if len(classes) == scores else numbers)
    strange = [name for name in classes if name not in known]
    if not strange:
        return known
    if names:
        raise DfedgeError(
            f"the data have classes that --classes does not name: {some(strange)}; rename them, or "
            "take --head new"
        )
    raise DfedgeError(
        f"the net gives {scores:,} scores, and the data have {len(classes)} classes; --classes "
        "FILE names the scores, one a line; --head keep:ROW,ROW,... takes those rows of the last "
        "layer, one for each class of the data in their order; --head new sets a new last layer"
    )


def _rows(rows: str, scores: int, names: Sequence[str], classes: tuple[str, ...]) -> list[int]:
    """Of each of the data's classes in order: a number, or a name of ``names``."""
    wanted = rows.split(",") if rows else list(classes)
    if len(wanted) != len(classes):
        raise UsageError(
            f"--head keep: {len(wanted)} rows, and the data have {len(classes)} classes "
            f"({some(classes)}); one row each"
        )
    places = {name: place for place, name in enumerate(names)}
    found = [
        places[spelled(word)] if spelled(word) in places else _number(word, scores)
        for word in wanted
    ]
    if len(set(found)) < len(found):
        raise UsageError(f"--head keep:{rows}: a row is listed twice")
    return found


def _number(word: str, scores: int) -> int:
    if not word.isdecimal() or int(word) >= scores:
        raise UsageError(
            f"--head keep: no row '{word}'; allowed: numbers from 0 to {scores - 1:,}, or names of "
            "--classes FILE"
        )
    return int(word)


def _kept(graph: ForeignGraph, rows: list[int]) -> ForeignGraph:
    last = graph.nodes[tail_of(graph).scores]
    kept = replace(last, weight=last.weight[rows], bias=last.bias[rows], shape=(len(rows), 1, 1))
    return replace(graph, nodes=[*graph.nodes[:-1], kept])


def _with_head(graph: ForeignGraph, classes: int, instead: bool) -> ForeignGraph:
    """With a last layer of zeros, in the place of the net's own, or over its results."""
    nodes = list(graph.nodes)
    if instead and nodes[-1].op == "conv" and nodes[-1].shape[1:] == (1, 1):
        (end,) = nodes[-1].reads
        nodes = nodes[: end + 1]
    if nodes[-1].shape[1:] != (1, 1):
        nodes.append(average(len(nodes) - 1, nodes[-1], "head.mean"))
    weight = torch.zeros(classes, nodes[-1].shape[0], 1, 1)
    nodes.append(
        ForeignNode(
            "conv",
            "head",
            (len(nodes) - 1,),
            (classes, 1, 1),
            weight=weight,
            bias=torch.zeros(classes),
        )
    )
    return replace(graph, nodes=nodes, embeds=False)
