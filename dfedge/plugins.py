"""What installed packages add to a table of records, by an entry point of the table's group."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from dfedge.errors import DfedgeError

T = TypeVar("T")


def with_added(own: Mapping[str, T], group: str, kind: type[T]) -> dict[str, T]:
    """The records of a table with those of installed packages, by name.

    Args:
        group: of entry points, ``dfedge.`` and the table's name.
        kind: of a record.

    Raises:
        DfedgeError: an entry point that cannot be loaded, is no record, or takes a name that is
            there.
    """
    found = dict(own)
    thing = group.partition(".")[2].removesuffix("s").replace("_", " ")
    for point in entry_points(group=group):

        def refused(why: str, name: str = point.name) -> DfedgeError:
            return DfedgeError(
                f"{thing} '{name}', which an installed package adds: {why}; repair that package "
                "or uninstall it"
            )

        try:
            record = point.load()
        except Exception as error:  # another's code: whatever it raises
            raise refused(f"{type(error).__name__}: {error}") from error
        if not isinstance(record, kind):
            raise refused(f"{point.value} is no {kind.__module__}.{kind.__qualname__}")
        if point.name in found:
            raise refused(f"there is a {thing} of this name")
        found[point.name] = record
    return found
