"""What other people call training, validation and test."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_audio.errors import DataError

Strings = npt.NDArray[np.str_]
PART_OF_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def are_parts(written: Iterable[str]) -> bool:
    """Whether all names are of parts, and of two at least; empty ones don't count."""
    named = {name.lower() for name in written if name}
    return named <= PART_OF_NAME.keys() and len({PART_OF_NAME[name] for name in named}) > 1


def read_parts(written: Sequence[str], path: Path) -> Strings:
    """Of every row; empty where the table says nothing.

    Raises:
        DataError: a name that is of no part.
    """
    if odd := sorted({name for name in written if name and name.lower() not in PART_OF_NAME}):
        raise DataError(
            f"{path}: expected parts train, validation and test, got {odd[0]!r}: rename it, or "
            "leave the column out with a table of folds alone"
        )
    return np.array([PART_OF_NAME.get(name.lower(), "") for name in written])
