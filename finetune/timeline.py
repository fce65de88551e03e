"""What is felt when: probabilities at the moments of a clip, and the segments that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

LEAST_SECONDS = 1.0
"""Of a segment, unless said."""
ROUNDING_SECONDS = 1e-6
"""Times that differ by less are equal."""


@dataclass(frozen=True)
class OverTime:
    """Probabilities over a clip, cut into moments without gap or overlap.

    Attributes:
        starts: (moments,) float64 seconds; the first is 0.
        ends: (moments,) float64 seconds; the last is the clip's length.
        probabilities: (moments, classes) float32.

    Raises:
        ValueError: no moments, other shapes, or moments that do not follow on each other.
    """

    starts: Float64
    ends: Float64
    probabilities: Float32

    def __post_init__(self) -> None:
        num_moments = len(self.probabilities)
        if not self.starts.shape == self.ends.shape == (num_moments,) or not num_moments:
            raise ValueError(
                f"expected as many starts and ends as probabilities, at least one; got "
                f"{self.starts.shape}, {self.ends.shape} and {self.probabilities.shape}"
            )
        gaps = np.abs(self.starts - np.concatenate([[0.0], self.ends[:-1]]))
        if gaps.max() > ROUNDING_SECONDS or (self.ends <= self.starts).any():
            where = int(np.argmax((gaps > ROUNDING_SECONDS) | (self.ends <= self.starts)))
            raise ValueError(
                f"moment {where} must start where the one before ends and last a while, got "
                f"{self.starts[where]:g} s to {self.ends[where]:g} s"
            )

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return float(self.ends[-1])

    def mean(self, start_seconds: float, end_seconds: float) -> Float64:
        """(classes,) float64: the mean over a stretch of time, each moment by its share of it.

        Raises:
            ValueError: nothing of the clip is in it.
        """
        shares = np.minimum(self.ends, end_seconds) - np.maximum(self.starts, start_seconds)
        shares = np.maximum(shares, 0.0)
        if not shares.any():
            raise ValueError(
                f"{start_seconds:g} s to {end_seconds:g} s is not within 0 to {self.seconds:g} s"
            )
        mean: Float64 = shares @ self.probabilities.astype(np.float64) / shares.sum()
        return mean


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip with one emotion."""

    start_seconds: float
    end_seconds: float
    emotion: str
    probability: float = 1.0
    """Mean over the segment; 1 for what is known."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_seconds - self.start_seconds


def to_segments(
    over_time: OverTime,
    classes: Sequence[str],
    task: str = "single",
    thresholds: Sequence[float] | None = None,
    least_seconds: float = LEAST_SECONDS,
) -> list[Segment]:
    """The segments of a clip, by their start.

    Where every clip has one class, segments follow on each other from the clip's start to its end.
    Of all such timelines without a segment shorter than ``least_seconds`` it is the one that
    promises most seconds with the right class: the sum of each moment's probability of the class
    given to it, times its length. A run of moments that is too short goes to its neighbours.

    With ``multilabel`` each class has segments of its own, which may overlap with those of others:
    those with the greatest sum of probability less threshold, times length, if neither a segment
    nor a pause is shorter than ``least_seconds``.

    A clip that is itself shorter is one segment, or with ``multilabel`` one or none of each class.

    Args:
        over_time: of the clip.
        classes: names of the probabilities' columns.
        task: ``single``, ``gender-emotion`` or ``multilabel``.
        thresholds: one per class, of ``multilabel`` only; None is 0.5 for all.
        least_seconds: how long a segment is at least.

    Raises:
        ValueError: not as many classes, or thresholds, as the probabilities have.
    """
    num_classes = over_time.probabilities.shape[1]
    limits = np.full(num_classes, 0.5) if thresholds is None else np.asarray(thresholds, float)
    if not len(classes) == len(limits) == num_classes:
        raise ValueError(
            f"probabilities have {num_classes} columns, got {len(classes)} classes and "
            f"{len(limits)} thresholds"
        )
    scores = over_time.probabilities.astype(np.float64)
    if task != "multilabel":
        path = choose_path(over_time, scores, least_seconds)
        runs = [(*run, int(path[run[0]])) for run in _runs(path)]
    else:
        runs = []
        for number, threshold in enumerate(limits):
            gain = scores[:, number] - threshold
            path = choose_path(over_time, np.stack([gain, 0 * gain], axis=1), least_seconds)
            runs += [(*run, number) for run in _runs(path) if path[run[0]] == 0]
    return [_segment(over_time, classes, *run) for run in sorted(runs)]


def choose_path(
    over_time: OverTime, scores: Float64, least_seconds: float
) -> npt.NDArray[np.int64]:
    """(moments,) the choice at each moment that has the greatest sum of score times length.

    No choice is left again before ``least_seconds``, or the clip's end if that comes first. By
    dynamic programming over the moments at which a run ends: the best timeline up to there is the
    best one up to the run's start, and the run.

    Args:
        over_time: its starts and ends are used.
        scores: (moments, choices) float64.
        least_seconds: how long a run is at least.
    """
    least = min(least_seconds, over_time.seconds) - ROUNDING_SECONDS
    lengths = over_time.ends - over_time.starts
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores.T * lengths, 1).T])
    # How many moments there are, from the first on, at which a run may start that ends with each.
    num_starts = np.searchsorted(over_time.starts, over_time.ends - least, side="right")
    num_starts = np.minimum(num_starts, np.arange(1, len(sums)))
    best = np.full(len(sums), -np.inf)
    best[0] = 0.0
    # Of each choice the run's best start so far, and what had been gained before the run.
    start, before = np.zeros(scores.shape[1], np.int64), np.full(scores.shape[1], -np.inf)
    came_from = np.zeros((len(sums), 2), np.int64)
    num_seen = 0
    for end, num_allowed in enumerate(num_starts, start=1):
        for place in range(num_seen, num_allowed):
            better = best[place] - sums[place] > before
            start[better] = place
            before[better] = (best[place] - sums[place])[better]
        num_seen = max(num_seen, num_allowed)
        totals = sums[end] + before
        choice = int(totals.argmax())
        best[end] = totals[choice]
        came_from[end] = start[choice], choice
    path = np.zeros(len(scores), np.int64)
    end = len(scores)
    while end:
        first, choice = came_from[end]
        path[first:end] = choice
        end = first
    return path


def _runs(path: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """First moment, and the first one after it, of each run of equal choices."""
    runs, place = [], 0
    for _, run in groupby(path.tolist()):
        length = len(list(run))
        runs.append((place, place + length))
        place += length
    return runs


def _segment(
    over_time: OverTime, classes: Sequence[str], first: int, after: int, number: int
) -> Segment:
    start, end = float(over_time.starts[first]), float(over_time.ends[after - 1])
    probability = float(over_time.mean(start, end)[number])
    return Segment(start, end, classes[number], probability)
