"""Text of a stranger, made visible: what would steer a terminal or turn letters round is spelled.

A class, a file or a message may hold escape sequences, which a terminal obeys, and marks that
reverse the direction of what follows, which make one name look like another.
"""

import unicodedata

STEERING = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of Unicode: controls, formats, lone surrogates, private letters, line separators."""
JOINERS = "\u200c\u200d"
"""Formats that words are written with, in Persian and in the scripts of India."""


def visible(text: str) -> str:
    r"""The text with such characters as Python spells them: ``\x1b``, ``\u202e``, ``\n``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(c) if _steers(c) else c for c in text)


def _steers(c: str) -> bool:
    return unicodedata.category(c) in STEERING and c not in JOINERS


def _spelled(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode()
