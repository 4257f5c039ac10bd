"""Numbers as people read them."""


def size(count: int) -> str:
    """Bytes in the unit that fits, to three digits: ``520 B``, ``61.8 KiB``, ``2 GiB``."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


def apart(needs: int, allowed: int) -> tuple[str, str]:
    """Two counts of bytes that are compared: in `size`'s units, or exact where those look alike."""
    words = size(needs), size(allowed)
    return words if words[0] != words[1] else (f"{needs:,} B", f"{allowed:,} B")


def percent(fraction: float) -> str:
    """``98.89 %``."""
    return f"{100 * fraction:.2f} %"
