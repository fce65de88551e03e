"""How well the segments of a clip are found: event by event, and second by second.

An event is found if one of the same emotion was reported that starts within a collar around its
start, and ends within one around its end. Every reported event counts for one event at most, in the
assignment that finds most of them.

Source: Mesaros, Heittola and Virtanen 2016, "Metrics for polyphonic sound event detection" (event-
based and segment-based statistics, micro and macro averages); collars as in DCASE's task 4 (200 ms,
for ends 20 % of the event if that is more). With ``Collars(offset_share=0.5)`` scores over all
events together are those of sed_eval 0.2.1, the authors' toolbox, whose last release is of 2018.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from finetune.answers import AnswerRule
from finetune.timeline import LEAST_SECONDS, ROUNDING_SECONDS, OverTime, Segment
from ssl_audio.data.corpora.joined import utterance_ids
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import whole_clips
from ssl_audio.errors import DataError
from ssl_audio.objectives.base import to_float
from ssl_audio.progress import with_progress

CELL_SECONDS = 1.0
"""Of the grid on which segments are compared."""


@dataclass(frozen=True)
class Collars:
    """How far off an event may be and still count as found.

    Attributes:
        onset_seconds: of its start, to either side.
        offset_seconds: of its end.
        offset_share: of its end, as a share of its true length; the greater of both holds.
    """

    onset_seconds: float = 0.2
    offset_seconds: float = 0.2
    offset_share: float = 0.2


@dataclass(frozen=True)
class Counts:
    """Of events or of cells."""

    found: int = 0
    true: int = 0
    reported: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.found + other.found, self.true + other.true, self.reported + other.reported
        )

    @property
    def precision(self) -> float:
        """Share of what was reported that is true; NaN if nothing was."""
        return self.found / self.reported if self.reported else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is true that was found; NaN if there is nothing."""
        return self.found / self.true if self.true else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; NaN if there is nothing and nothing was reported."""
        total = self.true + self.reported
        return 2 * self.found / total if total else float("nan")


Timelines = Iterable[tuple[Sequence[Segment], Sequence[Segment]]]
"""Of each clip the true segments and the reported ones."""


class TimelineModel(Protocol):
    """What a timeline is asked of."""

    config: Any

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def probabilities_over_time(self, waveform: Tensor) -> OverTime:
        """Of one clip, (samples,) float32 in [-1, 1]."""


def score_timeline(
    model: TimelineModel,
    joined: PreparedCorpus,
    source: PreparedCorpus,
    indices: npt.NDArray[np.int64],
    collars: Collars | None = None,
    least_seconds: float = LEAST_SECONDS,
) -> dict[str, float]:
    """How well a classifier finds which utterance of a joined clip has which emotion.

    Args:
        model: classifier.
        joined: corpus prepared by ``joined``.
        source: the prepared corpus that it was made from.
        indices: (clips,) positions in ``joined`` of the clips to score.
        collars: of events; None is ``Collars()``.
        least_seconds: of a segment.

    Returns:
        As ``score_events``.

    Raises:
        DataError: ``joined`` was not made from ``source``, or has emotions that are none of the
            model's classes.
    """
    rule = AnswerRule.of(model.config)
    lengths = {clip.clip_id: int(clip.num_samples or 0) for clip in source.clips}
    true = {int(index): joined_segments(joined.clips[index], lengths) for index in indices}
    said = {segment.emotion for segments in true.values() for segment in segments}
    if odd := sorted(said - set(rule.classes)):
        raise DataError(
            f"{joined.root} has utterances that are {', '.join(odd)}; the model's classes are "
            f"{', '.join(rule.classes)}"
        )

    @torch.no_grad()
    def timelines() -> Iterator[tuple[list[Segment], list[Segment]]]:
        for (index,), waveform, _ in whole_clips(joined, indices, 1):
            over_time = model.probabilities_over_time(to_float(waveform.to(model.device))[0])
            yield true[int(index)], rule.segments(over_time, least_seconds)

    with_bar = with_progress(timelines(), len(indices), "timeline", "clip")
    return score_events(with_bar, rule.classes, collars)


def score_events(
    timelines: Timelines,
    classes: Sequence[str],
    collars: Collars | None = None,
    cell_seconds: float = CELL_SECONDS,
) -> dict[str, float]:
    """Event-level and segment-level scores over all clips.

    Args:
        timelines: true and reported segments of each clip.
        classes: the emotions that are scored.
        collars: of events; None is ``Collars()``.
        cell_seconds: of the grid that segment-level scores compare.

    Returns:
        ``event_f1``, ``event_precision``, ``event_recall`` of all events together,
        ``event_macro_f1`` as the mean over the emotions of which there is any, the same with
        ``segment_``, and the number of true and reported events.

    Raises:
        ValueError: a segment of another emotion.
    """
    collars = collars or Collars()
    events = dict.fromkeys(classes, Counts())
    cells = dict.fromkeys(classes, Counts())
    for true, reported in timelines:
        if odd := {segment.emotion for segment in (*true, *reported)} - set(classes):
            raise ValueError(f"segments of {', '.join(sorted(odd))}, not among {classes}")
        for name in classes:
            mine = [segment for segment in true if segment.emotion == name]
            said = [segment for segment in reported if segment.emotion == name]
            pairs = match_events(mine, said, collars)
            events[name] += Counts(len(pairs), len(mine), len(said))
            cells[name] += count_cells(mine, said, cell_seconds)
    total = sum(events.values(), Counts())
    return {
        **_summarise("event", events),
        **_summarise("segment", cells),
        "num_true_events": total.true,
        "num_reported_events": total.reported,
    }


def match_events(
    true: Sequence[Segment], reported: Sequence[Segment], collars: Collars
) -> list[tuple[int, int]]:
    """As many pairs of true and reported events as can be, whatever their emotions.

    Returns:
        Positions in ``true`` and in ``reported``; each occurs once at most.
    """
    if not true or not reported:
        return []
    starts, ends = _edges(true)
    said_starts, said_ends = _edges(reported)
    offset = np.maximum(collars.offset_seconds, collars.offset_share * (ends - starts))
    fits = np.abs(starts[:, None] - said_starts) <= collars.onset_seconds + ROUNDING_SECONDS
    fits &= np.abs(ends[:, None] - said_ends) <= offset[:, None] + ROUNDING_SECONDS
    partners = maximum_bipartite_matching(csr_array(fits), perm_type="column")
    return [(row, int(column)) for row, column in enumerate(partners) if column >= 0]


def count_cells(
    true: Sequence[Segment], reported: Sequence[Segment], cell_seconds: float
) -> Counts:
    """Cells of a grid in which there is anything of a segment, however little.

    Args:
        true: segments of one emotion.
        reported: the same.
        cell_seconds: the first cell starts at 0.
    """
    mine, said = _active_cells(true, cell_seconds), _active_cells(reported, cell_seconds)
    return Counts(len(mine & said), len(mine), len(said))


def joined_segments(clip: Clip, lengths: Mapping[str, int]) -> list[Segment]:
    """Where each utterance of a joined clip lies: its own emotion from its start to its end.

    Utterances are taken whole, with the silence before and after what is said.

    Args:
        clip: of a corpus prepared by ``joined``.
        lengths: samples at 16 kHz by clip_id of the corpus it was made from.

    Raises:
        DataError: the clip is none of a joined corpus, or was made from another one.
    """
    names = utterance_ids(clip)
    missing = [name for name in names if name not in lengths]
    if missing or len(names) != len(clip.emotions):
        raise DataError(
            f"{clip.clip_id} names {len(names)} utterances and {len(clip.emotions)} emotions; "
            f"unknown here: {', '.join(missing) or 'none'}: give the prepared corpus that the "
            "joined one was made from"
        )
    edges = np.cumsum([0, *(lengths[name] for name in names)])
    if clip.num_samples not in (None, edges[-1]):
        raise DataError(
            f"{clip.clip_id} has {clip.num_samples} samples, its utterances have {edges[-1]}: they "
            "were prepared anew since they were joined; join them again"
        )
    seconds = (edges / SAMPLE_RATE).tolist()
    return [
        Segment(start, end, emotion)
        for start, end, emotion in zip(seconds, seconds[1:], clip.emotions, strict=False)
    ]


def _summarise(kind: str, counts: Mapping[str, Counts]) -> dict[str, float]:
    total = sum(counts.values(), Counts())
    of_each = [item.f1 for item in counts.values() if item.true or item.reported]
    return {
        f"{kind}_f1": total.f1,
        f"{kind}_macro_f1": float(np.mean(of_each)) if of_each else float("nan"),
        f"{kind}_precision": total.precision,
        f"{kind}_recall": total.recall,
    }


def _edges(segments: Sequence[Segment]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return (
        np.array([segment.start_seconds for segment in segments]),
        np.array([segment.end_seconds for segment in segments]),
    )


def _active_cells(segments: Sequence[Segment], cell_seconds: float) -> set[int]:
    cells: set[int] = set()
    for segment in segments:
        first = int((segment.start_seconds + ROUNDING_SECONDS) // cell_seconds)
        after = -int(-(segment.end_seconds - ROUNDING_SECONDS) // cell_seconds)
        cells.update(range(first, after))
    return cells
