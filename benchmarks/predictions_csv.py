"""Predictions that something else wrote as CSV, read strictly."""

from pathlib import Path

import pandas as pd

from finetune.predictions import Predictions, Provenance
from ssl_audio.data.dealing import ROW_COLUMNS
from ssl_audio.errors import DataError


def read_csv(source: Path, protocol: str) -> Predictions:
    """Reads the columns of predictions and one of probabilities for each class.

    Args:
        source: CSV; ``speaker`` may be empty where unknown.
        protocol: full name of what it was tested by.

    Returns:
        Predictions of a system without a name.

    Raises:
        DataError: not such a file, with the first line that does not fit.
    """
    try:
        # "" is the only missing value: a class or a speaker may well be called NA or None.
        table = pd.read_csv(source, header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{source} can't be read as CSV: {error}") from None
    # A header of the table's own, as pandas would rename a column that is there twice.
    header = table.iloc[0]
    if (again := header[header.duplicated()]).size:
        raise DataError(
            f"{source}: there are two columns {again.iloc[0]!r}; each class needs its own name, "
            f"and none of {', '.join(ROW_COLUMNS)}"
        )
    frame = table.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(header.tolist())
    classes = tuple(name for name in frame.columns if name not in ROW_COLUMNS)
    missing = [name for name in ROW_COLUMNS if name not in frame.columns]
    if missing or len(classes) < 2:
        raise DataError(
            f"{source}: expected the columns {', '.join(ROW_COLUMNS)} and one for each of at "
            f"least two classes, got {', '.join(frame.columns)}"
        )
    frame["speaker"] = frame["speaker"].where(frame["speaker"] != "", None)
    for name in ("fold", "seed"):
        frame[name] = _to_numbers(frame, name, source, r"\d+").astype("int64")
    for name in classes:
        frame[name] = _to_numbers(frame, name, source, r"\s*[\d.]+([eE][+-]?\d+)?\s*")
    about = Provenance(system="", protocol=protocol, classes=classes)
    return Predictions(about, frame)


def _to_numbers(frame: pd.DataFrame, column: str, source: Path, pattern: str) -> pd.Series:
    numbers = pd.to_numeric(frame[column], errors="coerce")
    bad = numbers.isna() | ~frame[column].str.fullmatch(pattern)
    if bad.any():
        line = int(bad.to_numpy().argmax())
        wanted = "a whole number" if pattern == r"\d+" else "a probability"
        raise DataError(
            f"{source}, line {line + 2}: expected {wanted} in column {column}, "
            f"got {frame[column].iloc[line]!r}"
        )
    return numbers
