"""Segments against a search through every timeline, and what holds for all of them."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.timeline import OverTime, Segment, to_segments

CLASSES = ("calm", "angry", "sad")
HOP = 0.5


def over(probabilities: object, last_seconds: float = HOP) -> OverTime:
    values = np.asarray(probabilities, np.float32)
    starts = np.arange(len(values)) * HOP
    ends = np.append(starts[1:], starts[-1] + last_seconds)
    return OverTime(starts, ends, values)


@st.composite
def clips(draw: st.DrawFn, most_moments: int = 12) -> OverTime:
    num_moments = draw(st.integers(1, most_moments))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).dirichlet([0.5] * len(CLASSES), num_moments)
    return over(values, draw(st.sampled_from([HOP, 0.2, 0.0001])))


LEAST = st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0, 1.5, 100.0])


@given(clips(40), LEAST, st.sampled_from(["single", "gender-emotion"]))
def test_segments_of_one_class_tile_the_clip(clip: OverTime, least: float, task: str) -> None:
    segments = to_segments(clip, CLASSES, task, least_seconds=least)
    assert segments[0].start_seconds == 0 and segments[-1].end_seconds == clip.seconds
    for left, right in pairwise(segments):
        assert left.end_seconds == right.start_seconds and left.emotion != right.emotion
    for segment in segments:
        assert segment.seconds >= min(least, clip.seconds) - 1e-6
        assert 0 <= segment.probability <= 1


@given(clips(40), LEAST, st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3))
def test_segments_of_many_classes_may_overlap_but_not_those_of_one(
    clip: OverTime, least: float, thresholds: list[float]
) -> None:
    segments = to_segments(clip, CLASSES, "multilabel", thresholds, least)
    assert [s.start_seconds for s in segments] == sorted(s.start_seconds for s in segments)
    shortest = min(least, clip.seconds) - 1e-6
    for name in CLASSES:
        mine = [segment for segment in segments if segment.emotion == name]
        assert all(segment.seconds >= shortest for segment in mine)
        for left, right in pairwise(mine):
            assert right.start_seconds - left.end_seconds >= max(shortest, 1e-9)


@settings(max_examples=40)
@given(clips(7), st.sampled_from([0.0, 0.5, 1.0, 1.5]))
def test_single_is_the_best_of_all_timelines(clip: OverTime, least: float) -> None:
    values = clip.probabilities.astype(float)
    lengths = clip.ends - clip.starts

    def score(labels: tuple[int, ...]) -> float:
        return sum(values[t, c] * lengths[t] for t, c in enumerate(labels))

    def shortest(labels: tuple[int, ...]) -> float:
        edges = [0, *(t for t in range(1, len(labels)) if labels[t] != labels[t - 1]), len(labels)]
        return min(clip.ends[b - 1] - clip.starts[a] for a, b in pairwise(edges))

    allowed = min(least, clip.seconds) - 1e-6
    everything = product(range(3), repeat=len(values))
    best = max(score(labels) for labels in everything if shortest(labels) >= allowed)
    segments = to_segments(clip, CLASSES, least_seconds=least)
    ours = sum(segment.probability * segment.seconds for segment in segments)
    assert ours == pytest.approx(best, abs=1e-9)


@given(clips(30))
def test_without_a_least_length_each_moment_has_its_own_answer(clip: OverTime) -> None:
    middles = (clip.starts + clip.ends) / 2

    def at(segments: list[Segment], moment: float) -> set[str]:
        return {s.emotion for s in segments if s.start_seconds < moment < s.end_seconds}

    single = to_segments(clip, CLASSES, least_seconds=0)
    several = to_segments(clip, CLASSES, "multilabel", [0.2, 0.4, 0.6], least_seconds=0)
    for moment, row in zip(middles, clip.probabilities, strict=True):
        assert at(single, moment) == {CLASSES[int(row.argmax())]}
        assert at(several, moment) == {
            name for name, p, limit in zip(CLASSES, row, [0.2, 0.4, 0.6], strict=True) if p > limit
        }


def test_a_short_run_goes_to_its_neighbours() -> None:
    """Half a second of sad: the first of its moments leans to what comes before, the last after."""
    calm, angry = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    clip = over([calm, calm, [0.3, 0.1, 0.6], angry, angry])
    segments = to_segments(clip, CLASSES, least_seconds=1.0)
    assert [(s.start_seconds, s.end_seconds, s.emotion) for s in segments] == [
        (0.0, 1.5, "calm"),
        (1.5, 2.5, "angry"),
    ]
    assert segments[0].probability == pytest.approx((0.8 + 0.8 + 0.3) / 3)
    raw = to_segments(clip, CLASSES, least_seconds=0.5)
    assert [s.emotion for s in raw] == ["calm", "sad", "angry"]


def test_pauses_are_filled_and_blips_dropped() -> None:
    on, off, weak = [0.9, 0.1, 0.1], [0.05, 0.1, 0.1], [0.3, 0.1, 0.1]
    clip = over([on, on, weak, on, off, off, off, on, off, off])
    segments = to_segments(clip, CLASSES, "multilabel", least_seconds=1.0)
    assert [(s.start_seconds, s.end_seconds, s.emotion) for s in segments] == [(0.0, 2.0, "calm")]
    assert segments[0].probability == pytest.approx((3 * 0.9 + 0.3) / 4)


def test_the_last_moment_counts_by_its_length() -> None:
    clip = over([[1.0, 0.0], [0.0, 1.0]], last_seconds=0.1)
    np.testing.assert_allclose(clip.mean(0, 0.6), [5 / 6, 1 / 6])
    np.testing.assert_allclose(clip.mean(0.25, 0.55), [5 / 6, 1 / 6])
    (segment,) = to_segments(clip, ("a", "b"), least_seconds=0.3)
    assert (segment.emotion, segment.end_seconds) == ("a", 0.6)


@pytest.mark.parametrize(
    ("starts", "ends", "rows", "said"),
    [
        ([0.0, 1.0], [1.0], 2, "as many starts and ends"),
        ([], [], 0, "at least one"),
        ([0.0, 1.5], [1.0, 2.0], 2, r"moment 1 .* got 1.5 s to 2 s"),
        ([0.5], [1.0], 1, "moment 0"),
        ([0.0, 1.0], [1.0, 1.0], 2, "moment 1"),
    ],
)
def test_moments_that_are_none(
    starts: list[float], ends: list[float], rows: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        OverTime(np.array(starts), np.array(ends), np.zeros((rows, 2), np.float32))


def test_wrong_numbers_of_classes_are_refused() -> None:
    clip = over([[0.5, 0.5]])
    with pytest.raises(ValueError, match="2 columns, got 3 classes and 2 thresholds"):
        to_segments(clip, CLASSES)
    with pytest.raises(ValueError, match="2 columns, got 2 classes and 1 thresholds"):
        to_segments(clip, CLASSES[:2], "multilabel", [0.5])
    with pytest.raises(ValueError, match="4 s to 5 s is not within 0 to 0.5 s"):
        clip.mean(4, 5)
