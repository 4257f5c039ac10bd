"""Numbers as people read them."""


def size(count: int) -> str:
    """Bytes in the unit that fits, to three digits: ``520 B``, ``61.8 KiB``, ``2 GiB``."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


def percent(fraction: float) -> str:
    """``98.89 %``."""
    return f"{100 * fraction:.2f} %"
