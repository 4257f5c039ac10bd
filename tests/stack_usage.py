"""A bound of the stack, from what GCC writes of every function by -fcallgraph-info=su.

A call by a pointer may lead to any function of its kind: the operations of a trunk, their checks,
the hot loops, the care's loop over samples.  A cycle is a trunk's chain of rows, which calls itself
once for each of at most DFE_MAX_CHAIN operations.  Of C's library memcpy and its like are called:
they have no stack of their own.  What a medium's functions need comes to it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from dfedge.native.places import MAX_CHAIN

NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"\\]+\\n[^"]*?\\n(\d+) bytes \(static\)')
DYNAMIC = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*bytes \((?!static)')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
POINTER = "__indirect_call"
LOOPS = re.compile(r"(portable|scalar|cortex_m|cortex_m_packed|mve)\.c:|dfe_(move|lookup)_plain")
"""The hot loops; `correlate` is called where weights are updated alone."""
PACKED = (":pack", ":sums", ":floored", ":scale")
"""Those that packed weights are for."""


class Calls:
    """The functions of object files."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.frames: dict[str, int] = {}
        self.edges: dict[str, set[str]] = defaultdict(set)
        for path in files:
            text = path.read_text()
            assert not DYNAMIC.search(text), f"{path.name}: a stack whose size is not known"
            self.frames |= {name: int(size) for name, size in NODE.findall(text)}
            for source, target in EDGE.findall(text):
                self.edges[source].add(target)

    def _pointed(self, caller: str) -> list[str]:
        if caller.endswith(("run_row", "dfe_trunk")):
            return [n for n in self.frames if n.startswith("dfe_run_") and n[8:] not in CALLS]
        if caller.endswith("dfe_good_trunk"):
            return [n for n in self.frames if n.startswith("dfe_good_")]
        if caller.endswith("panel.c:have"):
            return [n for n in self.frames if n.endswith(":pack")]
        loops = [n for n in self.frames if LOOPS.search(n)]
        if "panel.c:" in caller or caller == "dfe_panel_convolve":
            return [n for n in loops if n.endswith(PACKED)]
        learns = "update.c:" in caller or caller == "dfe_conv_update"
        return loops if learns else [n for n in loops if not n.endswith(":correlate")]

    def deepest(self, entry: str) -> int:
        """Bytes from an entry point on, its own frame included."""
        return self._deepest(entry, ())

    def _deepest(self, name: str, path: tuple[str, ...]) -> int:
        if path.count(name) == MAX_CHAIN:
            return 0
        called = self.edges[name] - {POINTER}
        if POINTER in self.edges[name]:
            called |= set(self._pointed(name))
        inner = [self._deepest(one, (*path, name)) for one in called if one in self.frames]
        return self.frames[name] + max(inner, default=0)


CALLS = ("checked", "sized", "kept", "known")
"""What begins with dfe_run_ and is not an operation."""
