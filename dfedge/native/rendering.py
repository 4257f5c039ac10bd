"""The two renderings of a format: over stock operators, and over one operation of our own.

The native rendering of FORMAT is a format of its own in a bundle, ``FORMAT-native``, with its own
programs, memory plan and verification; the programs of both hold the same bits.
"""

from dfedge.runtimes import OWN

RENDERED = tuple(one.stock for one in OWN.values() if one.stock)
"""Formats that have both."""
STOCK, NATIVE = "-stock", "-native"


def native_of(format: str) -> str:
    """The native rendering's name."""
    return f"{format}{NATIVE}"


def exactly(runtime: str) -> str:
    """What a session is asked for to run this rendering, whatever else the bundle has."""
    return f"{runtime}{STOCK}" if runtime in RENDERED else runtime


def format_of(name: str) -> str:
    """The format of a rendering's name."""
    return name.removesuffix(NATIVE)


def by_interpreter(format: str) -> bool:
    """Whether the C interpreter runs a format's programs."""
    return format == "c" or is_native(format)


def is_native(name: str) -> bool:
    """Whether it is the name of a format's native rendering."""
    return name in map(native_of, RENDERED)
