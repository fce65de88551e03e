"""Predictions that something else made, into a results folder: they get the same treatment."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.results import check_predictions, predictions_path, save_predictions, slug
from finetune.predictions import Predictions, Provenance
from ssl_audio.data.dealing import ROW_COLUMNS
from ssl_audio.errors import DataError, UserError


def import_predictions(
    source: Path, system: str, protocol: str | None, results: Path
) -> list[Path]:
    """Checks predictions and stores them, one file for each fold and seed.

    Args:
        source: CSV with the columns clip_id, speaker (may be empty), fold, seed, label and one
            column of probabilities for each class; or a parquet file that ``finetune`` wrote.
        system: the row's name in the table; importing under it again replaces folds and seeds.
        protocol: full name of what a CSV was tested by; a parquet file says it itself.
        results: folder, made if it is not there.

    Returns:
        The files written.

    Raises:
        UserError: a file that can't be read or scored, or a name that another row has.
    """
    if not system.strip():
        raise UserError("--system is the row's name and must not be empty")
    predictions = _read(source, protocol)
    predictions = replace(predictions, about=replace(predictions.about, system=system))
    check_predictions(predictions, str(source))
    parts = {
        predictions_path(
            results, predictions.about.protocol, slug(system), int(fold), int(seed)
        ): replace(predictions, frame=frame)
        for (fold, seed), frame in predictions.frame.groupby(["fold", "seed"])
    }
    for path in parts:
        if path.exists() and (other := Predictions.load(path).about.system) != system:
            raise UserError(f"--system {system}: {path} is of {other!r}; choose another name")
    for path, part in parts.items():
        save_predictions(part, path)
    return list(parts)


def _read(source: Path, protocol: str | None) -> Predictions:
    if source.suffix == ".csv":
        if not protocol:
            raise UserError(
                f"{source} does not say what it was tested by: give --protocol, "
                "for example --protocol ravdess-speech-8/emobox6"
            )
        return _read_csv(source, protocol)
    predictions = Predictions.load(source)
    if protocol not in (None, predictions.about.protocol):
        raise UserError(
            f"{source} was tested by {predictions.about.protocol}: leave --protocol {protocol} out"
        )
    return predictions


def _read_csv(source: Path, protocol: str) -> Predictions:
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
