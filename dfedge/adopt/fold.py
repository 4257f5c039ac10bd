"""Normalisation, activations and constants folded into the operations before them."""

from dfedge.adopt.graph import EVERYTHING, Graph, Node


def fold(graph: Graph) -> Graph:
    """The same function in fewer operations; a normalisation that stands alone becomes a conv."""
    nodes = _kept(graph.nodes)
    into: dict[int, int] = {}
    for i, node in enumerate(nodes):
        node.reads = tuple(into.get(read, read) for read in node.reads)
        if node.op not in ("affine", "clip"):
            continue
        (read,) = node.reads
        before = nodes[read]
        alone = _readers(nodes, into, read) == 1
        if alone and before.bounds == EVERYTHING and _joined(before, node):
            into[i] = read
        elif node.op == "affine":
            _as_conv(node)
    last = into.get(len(nodes) - 1, len(nodes) - 1)
    return Graph(_kept(nodes[: last + 1]))


def _readers(nodes: list[Node], into: dict[int, int], number: int) -> int:
    """How many operations read a result, itself or folded into it."""
    others = [node for i, node in enumerate(nodes) if i not in into]
    return sum(into.get(read, read) == number for node in others for read in node.reads)


def _joined(before: Node, node: Node) -> bool:
    """Put an affine or a clip into the operation before it, where that can hold it."""
    if before.op == "conv" and node.op == "affine":
        before.weight = before.weight * node.weight[:, None, None, None]
        before.bias = before.bias * node.weight + node.bias
        return True
    if before.op == "conv":
        before.weight = before.weight * node.slope
        before.bias = before.bias * node.slope + node.lift
        before.bounds = node.bounds
        return True
    if node.op == "clip" and (node.slope, node.lift) == (1, 0) and before.op in ("add", "mul"):
        before.bounds = node.bounds
        return True
    return False


def _as_conv(node: Node) -> None:
    """A number for each channel, as a depthwise 1 x 1 convolution."""
    channels = node.shape[0]
    node.op, node.groups = "conv", channels
    node.weight = node.weight.reshape(channels, 1, 1, 1).clone()
    node.bias = node.bias.clone()


def _kept(nodes: list[Node]) -> list[Node]:
    """Without what nobody reads, numbers closed up."""
    wanted = {0, len(nodes) - 1}
    for i in reversed(range(len(nodes))):
        if i in wanted:
            wanted |= set(nodes[i].reads)
    order = sorted(wanted)
    place = {old: new for new, old in enumerate(order)}
    for i in order:
        nodes[i].reads = tuple(place[read] for read in nodes[i].reads)
    return [nodes[i] for i in order]
