"""Progress bars with an ETA that also read well in a log file."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, description: str, unit: str, **settings: Any) -> "tqdm[Any]":
    """A bar on standard error: redrawn often on a terminal, every ten seconds elsewhere.

    Args:
        total: units of work.
        description: in front of the bar.
        unit: of the count, singular.
        settings: of tqdm.
    """
    seconds = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=description, unit=unit, mininterval=seconds, **settings)
