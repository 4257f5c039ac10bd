"""Keep freed memory in the process: for the host, where time is dearer than memory.

glibc gives every large block back to the kernel as soon as it is freed, and the next training step
pays for mapping and clearing the same pages again: half of a run's time on the machine that this
was measured on.  Never called on a device.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Names of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Tell glibc's allocator; another libc keeps its own habits."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 256 << 20)
