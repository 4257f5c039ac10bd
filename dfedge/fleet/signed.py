"""Signatures of deltas: who sent them, for a server that knows its devices' public keys."""

from pathlib import Path

from dfedge.errors import DfedgeError
from dfedge.fleet.delta import frame
from dfedge.integrity import signature

CONTEXT = b"dfedge fleet delta 1\n"


def signed(raw: bytes, key: Path) -> bytes:
    """A delta with its signature behind it.

    Raises:
        DfedgeError: no private Ed25519 key (PEM) there.
    """
    framed = frame(raw)
    return framed + signature.signed(framed, key, CONTEXT)


def keys(places: list[Path]) -> list[Path]:
    """Public keys: files, or folders of files ``*.pub``.

    Raises:
        DfedgeError: a folder without any.
    """
    found: list[Path] = []
    for place in places:
        inside = sorted(place.glob("*.pub")) if place.is_dir() else [place]
        if not inside:
            raise DfedgeError(f"{place}: no key *.pub; put the devices' public keys there")
        found += inside
    return found


def signer(raw: bytes, public: list[Path]) -> Path | None:
    """The key that signed a delta; None: none of these.

    Raises:
        DfedgeError: no public key there, or no delta.
    """
    framed = frame(raw)
    mark = raw[len(framed) :]
    return next(
        (key for key in public if mark and signature.is_by(key, mark, framed, CONTEXT)), None
    )
