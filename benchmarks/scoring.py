"""Every number of the table, computed from predictions; none is stored elsewhere."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from benchmarks.comparisons import (
    Comparison,
    Resolution,
    compare_all,
    detectable_difference,
    find_winners,
)
from benchmarks.results import SystemResult
from benchmarks.statistics import (
    ENOUGH_SPEAKERS,
    SCORES,
    Clusters,
    Estimate,
    choose_clusters,
    confusion_by,
    pooled_estimate,
    spread_over_folds,
)
from finetune.gender_emotion import LOWEST, joint_scores
from finetune.metrics import calibration_bins, expected_calibration_error
from finetune.predictions import Provenance, collect_genders

Test = tuple[int, str]
"""A fold and a clip tested in it."""

LEAK_NOTES = {
    "leaky": "leaky: the split lets a system see in training what it is tested on; "
    "not comparable with honest rows",
    "transductive": "transductive: the encoder saw the audio of the test clips, without labels",
}

ONE_FOLD = (
    "One fold judged every speaker: intervals are about its fits, not about training on other "
    "speakers, and differences have none and are not tested."
)

LEAK_WARNING = (
    "This table leaks: training saw what is tested. Its numbers show the inflation, not the "
    "systems, and can't be compared with those of any other table."
)


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
    by_speaker: dict[str, npt.NDArray[np.float64]]
    """(classes, classes) of each speaker; empty where one is unknown."""
    calibration: npt.NDArray[np.float64]
    """See ``calibration_bins``."""
    num_clips: int
    num_speakers: int | None
    """None: unknown."""
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    caveats: tuple[str, ...]
    """What speakers and folds mean for the intervals, and for what the row may be compared with."""
    partial: str
    """Says so if every row of the table lacks folds of the protocol; empty if not."""
    barred: tuple[str, ...]
    """Why it can't be the best of its table, whatever its numbers: leaks, less than its
    neighbours were tested on, smaller than its name, test labels in its weights."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of this row, the gravest first."""
        return *self.barred, *self.about.notes


@dataclass(frozen=True)
class Section:
    """The rows of one protocol, which share a table with no other; leaky ones are apart."""

    protocol: str
    task: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    """Worst first."""
    comparisons: tuple[Comparison, ...] = ()
    """Every pair of rows; none in a table that leaks."""
    resolution: Resolution | None = None
    """What difference the design can show."""

    @property
    def warning(self) -> str:
        """What a reader must know before the numbers; empty for honest rows."""
        return LEAK_WARNING if any(row.about.leak == "leaky" for row in self.rows) else ""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Rows that may be the best of the table, worst first."""
        return tuple(row.about.system for row in self.rows if not row.barred)

    @property
    def is_indicative(self) -> bool:
        """Whether a candidate rests on too few speakers or on part of the protocol."""
        return any(
            row.partial or (row.num_speakers or ENOUGH_SPEAKERS) < ENOUGH_SPEAKERS
            for row in self.rows
            if not row.barred
        )

    @property
    def winners(self) -> tuple[str, ...]:
        """The candidate that beats all others after correction, if there is one."""
        return () if self.is_indicative else find_winners(self.comparisons, self.candidates)

    @property
    def genders(self) -> dict[str, str]:
        """By speaker, as far as any row knows and none contradicts."""
        return collect_genders(known for row in self.rows for known in row.about.genders.items())

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the number of speakers means for the intervals of these rows."""
        return tuple(dict.fromkeys(caveat for row in self.rows for caveat in row.caveats))

    @property
    def notes(self) -> tuple[str, ...]:
        """Every different note of a row, in the order of the rows."""
        return tuple(dict.fromkeys(note for row in self.rows for note in row.notes))


def score_all(systems: Sequence[SystemResult]) -> list[Section]:
    """Scores every system and sorts the rows of each table by the headline.

    Under one protocol, rows that leak and rows that don't are two tables; leaky ones come last.
    """

    def table_of(result: SystemResult) -> tuple[bool, str, str]:
        return result.about.leak == "leaky", result.about.protocol, result.about.task

    return [
        _score_section(protocol, task, leaks, list(group))
        for (leaks, protocol, task), group in groupby(sorted(systems, key=table_of), table_of)
    ]


def _score_section(
    protocol: str, task: str, leaks: bool, systems: Sequence[SystemResult]
) -> Section:
    all_tests = {test for result in systems for test in _tests_of(result)}
    rows = [score(result, all_tests) for result in systems]
    rows.sort(key=lambda row: (row.estimates["uar"].value, row.about.system))
    classes = rows[0].about.classes
    if leaks:
        return Section(protocol, task, classes, tuple(rows))
    return Section(
        protocol,
        task,
        classes,
        tuple(rows),
        compare_all(systems),
        detectable_difference(systems),
    )


def score(result: SystemResult, all_tests: set[Test]) -> Row:
    """Every number of a row.

    Args:
        result: its predictions.
        all_tests: folds and clips that any system of the same table was tested on.
    """
    frame, labels, probabilities = result.frame, result.labels, result.probabilities
    clusters = choose_clusters(result.speakers, list(frame["clip_id"]), result.about.copies)
    by_cluster = confusion_by(labels, probabilities, clusters.names)
    by_fold = confusion_by(labels, probabilities, frame["fold"].to_numpy())
    joint = result.about.task == "gender-emotion"
    scores = {**SCORES, **(joint_scores(result.about.classes) if joint else {})}
    estimates = {
        name: pooled_estimate(by_cluster, metric, LOWEST.get(name, 0.0))
        for name, metric in scores.items()
    }
    calibration_error = expected_calibration_error(labels, probabilities)
    folds = tuple(sorted({int(fold) for fold in frame["fold"]}))
    seeds = tuple(sorted({int(seed) for seed in frame["seed"]}))
    gaps = _find_gaps(result, all_tests)
    partial = "" if gaps else _describe_part(folds, result.about.num_folds)
    return Row(
        about=result.about,
        estimates={**estimates, "calibration_error": Estimate(calibration_error)},
        fold_sds={name: spread_over_folds(by_fold, metric) for name, metric in scores.items()},
        confusion=by_cluster.sum(axis=0),
        by_speaker=_name_speakers(clusters, by_cluster),
        calibration=calibration_bins(labels, probabilities),
        num_clips=frame["clip_id"].nunique(),
        num_speakers=clusters.num_speakers,
        folds=folds,
        seeds=seeds,
        caveats=tuple(
            filter(None, [clusters.caveat, partial, ONE_FOLD if len(folds) == 1 else ""])
        ),
        partial=partial,
        barred=(*gaps, *_tell_faults(result.about)),
    )


def _name_speakers(
    clusters: Clusters, confusion: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.float64]]:
    if clusters.num_speakers is None:
        return {}
    return dict(zip(np.unique(clusters.names).tolist(), confusion, strict=True))


def _tests_of(result: SystemResult) -> set[Test]:
    return set(zip(result.frame["fold"].astype(int), result.frame["clip_id"], strict=True))


def _find_gaps(result: SystemResult, all_tests: set[Test]) -> tuple[str, ...]:
    """Says so if a row was not tested on all that its neighbours were."""
    tests, num_seeds = _tests_of(result), result.frame["seed"].nunique()
    folds, all_folds = ({fold for fold, _ in some} for some in (tests, all_tests))
    if folds != all_folds:
        num_folds = max(result.about.num_folds or 0, len(all_folds))
        return (f"incomplete: {_name_folds(folds)} only, of {num_folds}",)
    if tests != all_tests:
        return (f"incomplete: {len(tests)} of {len(all_tests)} test clips",)
    if len(result.frame) < len(tests) * num_seeds:
        return ("incomplete: not every seed on every clip",)
    return ()


def _describe_part(folds: Collection[int], num_folds: int | None) -> str:
    if num_folds is None or len(folds) >= num_folds:
        return ""
    return (
        f"{_name_folds(folds).capitalize()} only, of the protocol's {num_folds}: not comparable "
        "with results of all of them."
    )


def _name_folds(folds: Collection[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, sorted(folds)))}"


def _tell_faults(about: Provenance) -> list[str]:
    """What its files say against a row."""
    faults = [LEAK_NOTES[about.leak]] if about.leak else []
    if about.contaminated:
        faults.append(f"contaminated: {about.contaminated}")
    if about.reduced:
        faults.append(f"reduced: {about.reduced}")
    return faults
