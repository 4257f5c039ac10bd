"""Two ONNX graphs as one: a trunk, and a method that begins with what the trunk gives."""

import onnx
from onnx.compose import add_prefix_graph

PREFIX = "trunk."
"""Before the names of all that is the trunk's own."""


def joined(trunk: onnx.ModelProto, method: onnx.ModelProto) -> onnx.ModelProto:
    """The method on images.

    Args:
        trunk: ``x -> latent``.
        method: its input x is that latent; left as it is.
    """
    (image,), (latent,) = trunk.graph.input, trunk.graph.output
    below = add_prefix_graph(trunk.graph, PREFIX, rename_inputs=False)
    whole = onnx.ModelProto()
    whole.CopyFrom(method)
    graph, nodes = whole.graph, list(method.graph.node)
    del graph.node[:]
    graph.node.extend([*below.node, *nodes])
    for node in graph.node[len(below.node) :]:
        for place, name in enumerate(node.input):
            if name == image.name:
                node.input[place] = PREFIX + latent.name
    graph.initializer.extend(below.initializer)
    graph.value_info.extend([*below.value_info, *below.output])
    for value in graph.input:
        if value.name == image.name:
            value.CopyFrom(image)
    return whole
