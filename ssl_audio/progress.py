"""Progress bars with an ETA that also read well in a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress_bar(total: int, description: str, unit: str, **settings: Any) -> "tqdm[Any]":
    """A bar on standard error: redrawn often on a terminal, every ten seconds elsewhere.

    It appears after a second, elsewhere after five: what is quick needs none.

    Args:
        total: units of work.
        description: in front of the bar.
        unit: of the count, singular.
        settings: of tqdm.
    """
    often, after = (0.2, 1.0) if sys.stderr.isatty() else (10.0, 5.0)
    return tqdm(
        total=total, desc=description, unit=unit, mininterval=often, delay=after, **settings
    )


def with_progress(items: Iterable[Item], total: int, description: str, unit: str) -> Iterator[Item]:
    """The items, with a bar that vanishes when they are through."""
    with progress_bar(total, description, unit, leave=False) as bar:
        for item in items:
            yield item
            bar.update()
