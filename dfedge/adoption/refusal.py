"""What is said of an operation that cannot be adopted: where it stands, what would replace it."""

import re
from dataclasses import dataclass, replace

from dfedge.errors import DfedgeError

WINDOW = (
    "a net that remembers what came before has no form here; export it so that its input is the "
    "whole window (of a streaming net: the file before it was made to stream)"
)
ENLARGED = "enlarge by mode nearest, or bilinear by whole factors with align_corners=False"
REMEDIES = {
    "layernorm": "replace LayerNorm by nn.BatchNorm2d and train again",
    "groupnorm": "replace GroupNorm by nn.BatchNorm2d and train again",
    "instancenorm": "replace InstanceNorm by nn.BatchNorm2d and train again",
    "softmax": "leave softmax out, but for one at the very end: scores need none",
    "resize": ENLARGED,
    "transposeconv": "transposed convolutions belong to decoders; dfedge adopts classifiers",
    "variable": WINDOW,
    "varhandle": WINDOW,
    "lstm": WINDOW,
    "gru": WINDOW,
    "convtranspose": "transposed convolutions belong to decoders; dfedge adopts classifiers",
    "upsample": ENLARGED,
    "cond": "a net must run the same operations whatever it sees",
    "control flow": "a net must run the same operations whatever it sees",
    "scaleddotproductattention": "attention has no integer form here",
    "quantizelinear": "give the float model that it was made from; dfedge quantises it itself",
    "qlinear": "give the float model that it was made from; dfedge quantises it itself",
    "integer": "give the float model that it was made from; dfedge quantises it itself",
}
"""Part of an operation's name, in small letters without underscores -> what would replace it."""
ALLOWED = (
    "allowed: convolution, linear, batch norm, activations that work number by number, add, "
    "multiply, concat, split and shuffle of channels, average and max pool, mean and maximum over "
    "the image, padding, nearest and bilinear enlargement, flatten, dropout"
)


@dataclass(frozen=True)
class Site:
    """Where an operation stands in the foreign graph.

    Attributes:
        what: the operation, as its framework calls it.
        node: the graph's own name of it.
        module: the module that it belongs to, where the graph tells.
        line: ``file:line`` of the user's source, likewise.
    """

    what: str
    node: str
    module: str = ""
    line: str = ""

    @property
    def name(self) -> str:
        """What the user would call it."""
        return self.module or self.node

    def called(self, what: str) -> "Site":
        """The same place, and what is done there in words."""
        return replace(self, what=what)

    @property
    def what_and_where(self) -> str:
        """In words."""
        return f"{self.what} at '{self.name}'"


def refusal(site: Site, what: str = "", instead: str = "") -> DfedgeError:
    """Make the error for an operation.

    Args:
        what: about it is not possible; default: all of it.
        instead: what is allowed; default: what usually replaces it, else everything.
    """
    what = what or site.what
    canonical = what.lower().replace("_", "")
    hint = next((text for part, text in REMEDIES.items() if part in canonical), ALLOWED)
    module = f"module '{site.module}'" if site.module else ""
    place = ", ".join(part for part in (module, site.line) if part)
    return DfedgeError(
        f"operation '{what}' at node '{site.node}'{f' ({place})' if place else ''} cannot be "
        f"adopted; {f'allowed: {instead}' if instead else hint}"
    )


def line_of(stack_trace: str) -> str:
    """``file:line`` of the innermost frame that is not torch's own, or nothing."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', stack_trace)
    own = [frame for frame in frames if "/torch/" not in frame[0]]
    return ":".join((own or frames or [("", "")])[-1]).strip(":")
