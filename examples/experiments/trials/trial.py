"""One call on hostile input: it runs, or it is refused with one line; what else happens is a fault.

``memory`` bounds what it may allocate: an allocation beyond fails, and the failure is a fault.
"""

import os
import re
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dfedge.errors import LONGEST_MESSAGE, DfedgeError
from trials.structure import MARK

GIB = 1 << 30


@dataclass
class Trials:
    """What became of many calls.

    Attributes:
        run, refused: how many were done, and refused with one line.
        refusals: the first words of a refusal -> how many; to see what was reached.
        faults: what was wrong -> how many.
        slowest: seconds of processor time of the slowest call, with what it started.
    """

    run: int = 0
    refused: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def judge(self, call: Callable[[], object], folder: Path) -> None:
        """Make a call and count what became of it.

        Args:
            folder: the current one, where run code leaves its mark.
        """
        start = _processor_seconds()
        try:
            call()
            self.run += 1
        except DfedgeError as error:
            self.refused += 1
            text = str(error)
            self.refusals[_form(text)] += 1
            if "\n" in text or len(text) > LONGEST_MESSAGE:
                self.faults[f"a long error: {_form(text)}"] += 1
        except Exception as error:
            self.faults[_form(f"{type(error).__name__}: {error}")] += 1
        self.slowest = max(self.slowest, _processor_seconds() - start)
        if (folder / MARK).exists():
            (folder / MARK).rmdir()
            self.faults["code was run"] += 1


def _processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    return sum(os.times()[:4])


def _form(text: str) -> str:
    """A message without what differs from one input to the next."""
    return re.sub(r"'[^']*'|/\S+|0x\w+|-?\d[\d,.e+]*", "#", text)[:120]


@contextmanager
def memory(most: int = GIB) -> Iterator[None]:
    """Let this process allocate so many bytes more, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
