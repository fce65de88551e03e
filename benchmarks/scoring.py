"""Every number of the table, computed from predictions; none is stored elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from benchmarks.results import SystemResult
from benchmarks.statistics import (
    SCORES,
    Estimate,
    choose_clusters,
    confusion_by,
    pooled_estimate,
    spread_over_folds,
)
from finetune.metrics import expected_calibration_error
from finetune.predictions import Provenance
from ssl_audio.audit import LEAKY_ENDING

LEAK_NOTES = {
    "leaky": "leaky: the split lets a system see in training what it is tested on; "
    "not comparable with honest rows",
    "transductive": "transductive: the encoder saw the audio of the test clips, without labels",
}


@dataclass(frozen=True)
class Row:
    """One system under one protocol, scored."""

    about: Provenance
    estimates: dict[str, Estimate]
    """By metric, the headline first."""
    fold_sds: dict[str, float | None]
    """By metric; None for a single fold."""
    confusion: npt.NDArray[np.float64]
    """(classes, classes), all predictions pooled."""
    num_clips: int
    num_speakers: int | None
    """None: unknown."""
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    caveat: str
    """What the number of speakers means for the intervals."""
    notes: tuple[str, ...]
    """What a reader must know of this row."""


@dataclass(frozen=True)
class Section:
    """The rows of one protocol, which share a table with no other."""

    protocol: str
    task: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    """Worst first."""

    @property
    def leaky(self) -> str:
        """A warning if the protocol leaks on purpose, else empty."""
        if not self.protocol.endswith(LEAKY_ENDING):
            return ""
        return "This protocol leaks on purpose: its numbers show the inflation, not the systems."

    @property
    def caveats(self) -> tuple[str, ...]:
        """What all readers of the table must know: of leaks, of intervals on few speakers."""
        caveats = (self.leaky, *(row.caveat for row in self.rows))
        return tuple(dict.fromkeys(caveat for caveat in caveats if caveat))

    @property
    def notes(self) -> tuple[str, ...]:
        """Every different note of a row, in the order of the rows."""
        return tuple(dict.fromkeys(note for row in self.rows for note in row.notes))


def score_all(systems: Sequence[SystemResult]) -> list[Section]:
    """Scores every system and sorts the rows of each protocol by the headline."""

    def table_of(result: SystemResult) -> tuple[str, str]:
        return result.about.protocol, result.about.task

    sections = []
    for (protocol, task), group in groupby(sorted(systems, key=table_of), table_of):
        members = list(group)
        all_folds = {int(fold) for result in members for fold in result.frame["fold"]}
        rows = [score(result, all_folds) for result in members]
        rows.sort(key=lambda row: (row.estimates["uar"].value, row.about.system))
        sections.append(Section(protocol, task, rows[0].about.classes, tuple(rows)))
    return sections


def score(result: SystemResult, all_folds: set[int]) -> Row:
    """Every number of a row.

    Args:
        result: its predictions.
        all_folds: that any system of the same table was tested on.
    """
    frame, labels, probabilities = result.frame, result.labels, result.probabilities
    clusters = choose_clusters(result.speakers, list(frame["clip_id"]))
    by_cluster = confusion_by(labels, probabilities, clusters.names)
    by_fold = confusion_by(labels, probabilities, frame["fold"].to_numpy())
    estimates = {name: pooled_estimate(by_cluster, metric) for name, metric in SCORES.items()}
    calibration_error = expected_calibration_error(labels, probabilities)
    folds = tuple(sorted({int(fold) for fold in frame["fold"]}))
    seeds = tuple(sorted({int(seed) for seed in frame["seed"]}))
    return Row(
        about=result.about,
        estimates={**estimates, "calibration_error": Estimate(calibration_error)},
        fold_sds={name: spread_over_folds(by_fold, metric) for name, metric in SCORES.items()},
        confusion=by_cluster.sum(axis=0),
        num_clips=frame["clip_id"].nunique(),
        num_speakers=clusters.num_speakers,
        folds=folds,
        seeds=seeds,
        caveat=clusters.caveat,
        notes=(*_find_gaps(result, all_folds), *_tell_leak(result), *result.about.notes),
    )


def _find_gaps(result: SystemResult, all_folds: set[int]) -> tuple[str, ...]:
    """Says so if a row was not tested on all that its neighbours were."""
    folds = {int(fold) for fold in result.frame["fold"]}
    grid = result.frame[["fold", "seed"]].drop_duplicates()
    if folds != all_folds:
        return (f"incomplete: {len(folds)} of {len(all_folds)} folds",)
    if len(grid) < grid["fold"].nunique() * grid["seed"].nunique():
        return ("incomplete: not every seed on every fold",)
    return ()


def _tell_leak(result: SystemResult) -> tuple[str, ...]:
    return (LEAK_NOTES[result.about.leak],) if result.about.leak else ()
