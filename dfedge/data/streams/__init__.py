"""Streams of experiences made from a data set: reproducible by seed, named on the command line.

    drift:rotate=90,samples=5000     drift:gain=0.5     class-incremental:each=2
    new-user:speaker=theo            new-user:who=person:3

A stream is a sequence of experiences; an experience is labelled samples that arrive together, with
test samples of the same kind.
"""

from pkgutil import resolve_name

import msgspec

from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource
from dfedge.errors import UsageError, unknown_name

__all__ = ["KINDS", "Experience", "Stream", "StreamKind", "StreamSource", "parse_stream"]

KINDS = {
    "labelled": "dfedge.data.streams.labelled:Labelled",
    "drift": "dfedge.data.streams.drift:Drift",
    "class-incremental": "dfedge.data.streams.classes:ClassIncremental",
    "domain-incremental": "dfedge.data.streams.domains:DomainIncremental",
    "new-user": "dfedge.data.streams.user:NewUser",
    "folder": "dfedge.data.streams.folder:FolderOverTime",
}
"""Name -> module:class; reading the table imports nothing."""


def parse_stream(text: str) -> StreamKind:
    """Read ``NAME`` or ``NAME:setting=value,...``.

    Raises:
        UsageError: a stream or setting that does not exist, or a value out of its range.
    """
    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise unknown_name("stream", name, list(KINDS))
    settings: type[StreamKind] = resolve_name(KINDS[name])
    given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    try:
        return settings.read(given)
    except msgspec.ValidationError as error:
        known = ", ".join(settings.__struct_fields__)
        raise UsageError(f"stream '{text}': {error}; settings of {name}: {known}") from error
