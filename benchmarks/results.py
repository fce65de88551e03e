"""A results folder: ``predictions/*.parquet``, one file per row of the table, fold and seed."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune.predictions import Predictions, Provenance, collect_genders
from ssl_audio.audit import LEAKY_ENDING
from ssl_audio.data.dealing import ROW_COLUMNS
from ssl_audio.errors import DataError, UserError

LEAKS = ("leaky", "transductive", "")
"""Worst first."""


@dataclass(frozen=True)
class SystemResult:
    """Every test prediction of one system under one protocol."""

    about: Provenance
    """Of all its runs: notes are joined, seconds are the mean over runs."""
    frame: pd.DataFrame
    """Columns as in ``Predictions``, sorted by seed, fold and clip."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(rows,) indices of the classes."""
        return np.asarray(pd.Index(self.about.classes).get_indexer(self.frame["label"]), np.int64)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """(rows, classes)."""
        return Predictions(self.about, self.frame).probabilities()

    @property
    def speakers(self) -> list[str | None]:
        """Per row; None where unknown."""
        return [None if pd.isna(speaker) else str(speaker) for speaker in self.frame["speaker"]]


def slug(name: str) -> str:
    """A name as part of a file name: ``MFCC + XGBoost`` becomes ``mfcc-xgboost``."""
    return re.sub(r"\W+", "-", name.lower()).strip("-") or "unnamed"


def run_name(protocol: str, name: str, fold: int, seed: int) -> str:
    """How the files of one run are called."""
    return f"{slug(protocol)}__{name}__fold{fold}__seed{seed}"


def predictions_path(results: Path, protocol: str, name: str, fold: int, seed: int) -> Path:
    """Where the predictions of one run are."""
    return results / "predictions" / f"{run_name(protocol, name, fold, seed)}.parquet"


def list_rows(results: Path, protocol: str) -> dict[str, tuple[Path, str]]:
    """One file and the title of every row that a folder holds under a protocol, by name.

    Args:
        results: folder, which need not be there.
        protocol: full name.
    """
    rows: dict[str, tuple[Path, str]] = {}
    for path in sorted((results / "predictions").glob(f"{slug(protocol)}__*__fold*.parquet")):
        name = path.name.removeprefix(f"{slug(protocol)}__").rpartition("__fold")[0]
        if name not in rows:
            about = Predictions.load(path).about
            if about.protocol == protocol:  # of two with one slug
                rows[name] = path, about.system
    return rows


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Writes aside and renames, so that a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    predictions.save(aside)
    aside.replace(path)


def refuse_taken_names(classes: Sequence[str], source: str) -> None:
    """Refuses classes that share a name with another column of predictions.

    Args:
        classes: their names.
        source: what to name in an error.

    Raises:
        DataError: such a class.
    """
    taken = [name for name in classes if name in ROW_COLUMNS]
    if taken:
        raise DataError(
            f"{source}: a class is called {taken[0]!r}, which names another column of the "
            f"predictions (those are {', '.join(ROW_COLUMNS)}): rename the class"
        )


def check_predictions(predictions: Predictions, source: str) -> None:
    """Refuses what can't be scored.

    Args:
        predictions: of one or more folds and seeds.
        source: what to name in an error.

    Raises:
        DataError: a class named as a column, no rows, a clip twice under one fold and seed, a
            label that is no class, or rows that are not probabilities.
    """
    frame, classes = predictions.frame, predictions.about.classes
    refuse_taken_names(classes, source)
    if frame.empty:
        raise DataError(f"{source}: expected predictions, got no rows")
    twice = frame[frame.duplicated(["clip_id", "fold", "seed"])]
    if len(twice):
        clip_id, fold, seed = twice.iloc[0][["clip_id", "fold", "seed"]]
        raise DataError(
            f"{source}: clip {clip_id} is there twice for fold {fold}, seed {seed}; "
            "give one prediction for each"
        )
    strange = frame[~frame["label"].isin(classes)]
    if len(strange):
        row = strange.iloc[0]
        raise DataError(
            f"{source}: clip {row['clip_id']} has the label {row['label']!r}, which is none of the "
            f"classes {', '.join(classes)}"
        )
    probabilities = predictions.probabilities()
    # NaN compares false; float32 may round a sure class a little above 1.
    bad = ~np.all((probabilities >= 0) & (probabilities <= 1 + 1e-6), axis=1)
    if bad.any():
        row = frame.iloc[int(bad.argmax())]
        values = ", ".join(f"{value:g}" for value in probabilities[bad.argmax()])
        raise DataError(
            f"{source}: clip {row['clip_id']}: expected probabilities in [0, 1], got {values}"
        )
    off = np.abs(probabilities.sum(axis=1) - 1)
    if off.max() > 1e-3:
        worst = int(off.argmax())
        raise DataError(
            f"{source}: clip {frame.iloc[worst]['clip_id']}: probabilities must sum to 1, "
            f"got {probabilities[worst].sum():g}"
        )


def load_results(results: Path) -> list[SystemResult]:
    """Every system of a results folder, by protocol and name.

    Raises:
        UserError: there are no predictions.
        DataError: a file that can't be read or scored, or files that contradict each other.
    """
    files = sorted((results / "predictions").glob("*.parquet"))
    if not files:
        raise UserError(
            f"{results} holds no predictions/*.parquet: make some with python -m benchmarks run or "
            "bring your own with python -m benchmarks import"
        )
    groups: defaultdict[tuple[str, str, str], list[tuple[Path, Predictions]]] = defaultdict(list)
    for file in files:
        predictions = Predictions.load(file)
        about = predictions.about
        groups[about.protocol, about.task, about.system].append((file, predictions))
    joined = [_join(parts) for _, parts in sorted(groups.items(), key=lambda item: item[0])]
    _refuse_contradictions(joined)
    return joined


def _join(parts: list[tuple[Path, Predictions]]) -> SystemResult:
    first_file, first = parts[0]
    for file, predictions in parts:
        if predictions.about.classes != first.about.classes:
            raise DataError(
                f"{file} and {first_file} are of one system but have different classes: "
                f"{', '.join(predictions.about.classes)} and {', '.join(first.about.classes)}"
            )
    _refuse_repeated(parts)
    frame = pd.concat([predictions.frame for _, predictions in parts], ignore_index=True)
    frame = frame.sort_values(["seed", "fold", "clip_id"], kind="stable", ignore_index=True)
    abouts = [predictions.about for _, predictions in parts]
    seconds = [about.train_seconds for about in abouts if about.train_seconds is not None]
    weights = [about.parameters for about in abouts if about.parameters is not None]
    factors = [about.real_time_factor for about in abouts if about.real_time_factor is not None]
    about = replace(
        first.about,
        parameters=max(weights, default=None),
        train_seconds=sum(seconds) / len(seconds) if seconds else None,
        real_time_factor=sum(factors) / len(factors) if factors else None,
        pretraining_data=_join_texts(about.pretraining_data for about in abouts),
        leak=min((_leak_of(about) for about in abouts), key=LEAKS.index),
        notes=tuple(dict.fromkeys(note for about in abouts for note in about.notes)),
        copies=tuple(sorted({group for about in abouts for group in about.copies})),
        genders=collect_genders(known for about in abouts for known in about.genders.items()),
        num_folds=max(about.num_folds or 0 for about in abouts) or None,
        data=_join_texts(about.data for about in abouts),
        split=_join_texts(about.split for about in abouts),
        code=_join_texts(about.code for about in abouts),
        weights=_join_texts(about.weights for about in abouts),
        reduced=_join_texts(about.reduced for about in abouts),
        contaminated=_join_texts(about.contaminated for about in abouts),
    )
    check_predictions(Predictions(about, frame), f"{first_file.parent}, {about.system}")
    return SystemResult(about, frame)


def _refuse_repeated(parts: list[tuple[Path, Predictions]]) -> None:
    """Of one title, two files must not hold the same test."""
    tests = ["clip_id", "fold", "seed"]
    named = {str(file): predictions.frame[tests] for file, predictions in parts}
    together = pd.concat(named, names=["file"]).reset_index("file").drop_duplicates()
    twice = together[together.duplicated(tests, keep=False)]
    if len(twice):
        clip_id, fold, seed = twice.iloc[0][tests]
        files = twice[(twice[tests] == twice.iloc[0][tests]).all(axis=1)]["file"]
        raise DataError(
            f"{files.iloc[0]} and {files.iloc[1]} are both of {parts[0][1].about.system!r} and "
            f"both hold clip {clip_id} for fold {fold}, seed {seed}: give the rows different "
            "titles, or delete one of the files"
        )


def _join_texts(texts: Iterable[str]) -> str:
    """Every different one that is not empty, in the order of the runs."""
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _leak_of(about: Provenance) -> str:
    """What the file declares, or more if its protocol leaks by name, whoever made the file."""
    return "leaky" if about.protocol.endswith(LEAKY_ENDING) else about.leak


def _refuse_contradictions(joined: list[SystemResult]) -> None:
    """Under one protocol a clip has one label and the classes are the same."""
    labels: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    firsts: dict[tuple[str, str], Provenance] = {}
    for result in joined:
        about = result.about
        first = firsts.setdefault((about.protocol, about.task), about)
        if set(about.classes) != set(first.classes):
            raise DataError(
                f"{about.protocol}: the classes are {', '.join(about.classes)} for {about.system} "
                f"and {', '.join(first.classes)} for {first.system}: they can't stand in one table"
            )
        known = labels.setdefault((about.protocol, about.task), {})
        for clip_id, label in zip(result.frame["clip_id"], result.frame["label"], strict=True):
            other, system = known.setdefault(clip_id, (label, about.system))
            if other != label:
                raise DataError(
                    f"{about.protocol}: clip {clip_id} is {label!r} for {about.system} and "
                    f"{other!r} for {system}: they can't stand in one table, run one again "
                    "with the labels of the other"
                )
