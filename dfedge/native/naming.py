"""Names in exported C: what a net's own begin with, and its classes as strings.

Texts are written for a net that is called ``net``; `renamed` gives them another name, so that two
nets lie in one firmware.
"""

import re

from dfedge.errors import UsageError

NET = "net"
PREFIX = re.compile(r"[a-z][a-z0-9_]{0,31}")
STANDARD = frozenset(
    (
        "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits",
        "locale", "math", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool",
        "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string", "tgmath", "threads",
        "time", "uchar", "wchar", "wctype",
    )
)  # fmt: skip
"""Headers of C, which a file of the same name would hide."""
PARTS = ("known", "normal", "store")
"""Files NAME_known.h and so on, which the net of such a prefix would write over."""
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -")


def check_prefix(prefix: str) -> None:
    """Refuse what cannot begin names and files of a net.

    Raises:
        UsageError: with what is allowed.
    """
    if not PREFIX.fullmatch(prefix):
        raise UsageError(
            f"--prefix {prefix}: allowed: a small letter, then up to 31 of a-z, 0-9 and _"
        )
    if prefix in STANDARD or prefix.startswith("dfe") or prefix.endswith(PARTS):
        raise UsageError(
            f"--prefix {prefix}: taken by C, by dfedge or by another file of the folder; choose "
            "another, as my_net"
        )


def renamed(text: str, prefix: str) -> str:
    """A text or a file's name, of a net of another prefix."""
    if prefix == NET:  # a large net's tables are tens of megabytes
        return text
    text = re.sub(r"\bnet_", f"{prefix}_", text)
    text = re.sub(r"\bNET_", f"{prefix.upper()}_", text)
    return re.sub(r"\bnet\.([ch]|dfe)\b", rf"{prefix}.\1", text)


def c_string(text: str) -> str:
    """A C string literal of UTF-8.

    All but letters, digits, blanks and hyphens are escaped: a name in a bundle is a stranger's, and
    may neither end the literal nor look like a name of ours.
    """
    raw = text.encode(errors="surrogatepass")
    return '"' + "".join(chr(b) if b in PLAIN else f"\\{b:03o}" for b in raw) + '"'
