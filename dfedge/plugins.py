"""Tables of records that installed packages add to, by an entry point of the table's group.

Some tables also take code by its place, ``package.module:object``.  It is imported only where a
person has named it in this process (`trust`), or has set `TRUST`: a RUN that is a stranger's may
name any code.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar

from dfedge.errors import DfedgeError, UsageError

T = TypeVar("T")
TRUST = "DFEDGE_TRUST_CODE"
"""1: code that a file names is imported."""
CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_named: set[str] = set()


def trust(name: str) -> None:
    """A person has named this here; if it is code, it may be imported."""
    if CODE.match(name):
        _named.add(name)


class Records(Generic[T]):
    """dfedge's own records by name, and those of installed packages.

    Args:
        own: that come with dfedge.
        group: of entry points, ``dfedge.`` and the table's name.
        kind: of a record.
        wrap: makes a record of an object that was named as code; None where it is none.  Without
            it no code is taken.
    """

    def __init__(
        self, own: Mapping[str, T], group: str, kind: type[T],
        wrap: Callable[[str, Any], T | None] | None = None,
    ) -> None:  # fmt: skip
        self.own, self.group, self.kind, self.wrap = own, group, kind, wrap

    def find(self, name: str) -> T | None:
        """The record of a name; None: there is none.

        Own names are found without a look at what is installed, which takes its time.

        Raises:
            DfedgeError: as `all`.
        """
        if self.wrap is not None and CODE.match(name):
            return self._code(name)
        return self.own.get(name) or self._every.get(name)

    def _code(self, name: str) -> T:
        assert self.wrap is not None
        if name not in _named and os.environ.get(TRUST) != "1":
            raise DfedgeError(
                f"'{name}' is code that a file names; if you trust it, repeat with {TRUST}=1"
            )
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            found = resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(f"{name}: cannot be imported ({error})") from error
        made = found if isinstance(found, self.kind) else self.wrap(name, found)
        if made is None:
            raise UsageError(f"{name} is of type {type(found).__name__}; expected: {self._thing}")
        return made

    @property
    def _thing(self) -> str:
        return self.group.partition(".")[2].removesuffix("s").replace("_", " ")

    def all(self) -> dict[str, T]:
        """Every record by name, dfedge's own first.

        Raises:
            DfedgeError: an entry point that cannot be loaded, is not a record, or takes a name that
                is there.
        """
        return self._every

    @cached_property
    def _every(self) -> dict[str, T]:
        found, kind, thing = dict(self.own), self.kind, self._thing
        for point in entry_points(group=self.group):

            def refused(why: str, name: str = point.name) -> DfedgeError:
                return DfedgeError(
                    f"{thing} '{name}', which an installed package adds: {why}; repair that "
                    "package or uninstall it"
                )

            try:
                record = point.load()
            except Exception as error:  # another's code: whatever it raises
                raise refused(f"{type(error).__name__}: {error}") from error
            if not isinstance(record, kind):
                raise refused(f"{point.value} is not a {kind.__module__}.{kind.__qualname__}")
            if point.name in found:
                raise refused(f"there is a {thing} of this name")
            found[point.name] = record
        return found
