"""Tables of records that installed packages add to, by an entry point of the table's group."""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from dfedge.errors import DfedgeError

T = TypeVar("T")


class Records(Generic[T]):
    """dfedge's own records by name, and those of installed packages.

    Args:
        own: that come with dfedge.
        group: of entry points, ``dfedge.`` and the table's name.
        kind: of a record.
    """

    def __init__(self, own: Mapping[str, T], group: str, kind: type[T]) -> None:
        self.own, self.group, self.kind = own, group, kind

    def find(self, name: str) -> T | None:
        """The record of a name; None: there is none.

        Own names are found without a look at what is installed, which takes its time.

        Raises:
            DfedgeError: as `all`.
        """
        return self.own.get(name) or self._every.get(name)

    def all(self) -> dict[str, T]:
        """Every record by name, dfedge's own first.

        Raises:
            DfedgeError: an entry point that cannot be loaded, is not a record, or takes a name that
                is there.
        """
        return self._every

    @cached_property
    def _every(self) -> dict[str, T]:
        found, kind = dict(self.own), self.kind
        thing = self.group.partition(".")[2].removesuffix("s").replace("_", " ")
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
