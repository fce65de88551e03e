"""Events against an exhaustive search, joined clips against the samples they are made of."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finetune.answers import DONT_KNOW, AnswerRule
from finetune.events import (
    Collars,
    Counts,
    count_cells,
    joined_segments,
    match_events,
    score_events,
    score_timeline,
)
from finetune.model import AudioClassifierConfig
from finetune.timeline import OverTime, Segment
from ssl_audio.data.corpora.joined import join, to_clip
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import DataError

CLASSES = ("calm", "angry")

# Tenths, so that events often lie exactly at the edge of a collar of 0.2 s.
TENTHS = st.integers(0, 30)
EVENTS = st.lists(
    st.builds(
        lambda start, length, name: Segment(start / 10, (start + length) / 10, name),
        TENTHS,
        st.integers(1, 20),
        st.sampled_from(CLASSES),
    ),
    max_size=5,
)
COLLARS = st.builds(Collars, st.sampled_from([0.2, 0.5]), st.just(0.2), st.sampled_from([0.2, 0.5]))


def fits(true: Segment, said: Segment, collars: Collars) -> bool:
    """By the paper, in whole microseconds, so that 2.2 is 0.2 away from 2.0."""
    micro = 1_000_000
    start, end = round(true.start_seconds * micro), round(true.end_seconds * micro)
    off = max(round(collars.offset_seconds * micro), round(collars.offset_share * (end - start)))
    return (
        true.emotion == said.emotion
        and abs(start - round(said.start_seconds * micro)) <= round(collars.onset_seconds * micro)
        and abs(end - round(said.end_seconds * micro)) <= off
    )


def most_pairs(true: list[Segment], said: list[Segment], collars: Collars) -> int:
    """Every assignment of reported events to true ones, one by one."""
    short, long = sorted((true, said), key=len)
    return max(
        sum(
            fits(a, b, collars) if short is true else fits(b, a, collars)
            for a, b in zip(short, chosen, strict=True)
        )
        for chosen in permutations(long, len(short))
    )


@settings(max_examples=150)
@given(EVENTS, EVENTS, COLLARS)
def test_events_are_matched_as_by_trying_everything(
    true: list[Segment], said: list[Segment], collars: Collars
) -> None:
    scores = score_events([(true, said)], CLASSES, collars)
    found = most_pairs(true, said, collars)
    assert scores["num_true_events"] == len(true)
    assert scores["num_reported_events"] == len(said)
    for name, total in (("recall", len(true)), ("precision", len(said))):
        expected = found / total if total else np.nan
        assert scores[f"event_{name}"] == pytest.approx(expected, nan_ok=True)
    both = len(true) + len(said)
    assert scores["event_f1"] == pytest.approx(2 * found / both if both else np.nan, nan_ok=True)


@given(EVENTS, COLLARS)
def test_the_truth_is_perfect_and_others_are_found_once(
    events: list[Segment], collars: Collars
) -> None:
    scores = score_events([(events, events)], CLASSES, collars)
    kinds = ("event_f1", "event_macro_f1", "segment_f1", "segment_macro_f1")
    assert [scores[kind] for kind in kinds] == pytest.approx(
        [1.0 if events else np.nan] * 4, nan_ok=True
    )
    pairs = match_events(events, [*events, *events], collars)
    assert len(pairs) == len({true for true, _ in pairs}) == len(events)
    assert len({said for _, said in pairs}) == len(events)


def test_a_greedy_choice_would_lose_one() -> None:
    """The first true event fits both reported ones, the second only the first of them."""
    true = [Segment(1.0, 2.0, "calm"), Segment(0.8, 1.8, "calm")]
    said = [Segment(0.9, 1.9, "calm"), Segment(1.2, 2.0, "calm")]
    assert match_events(true, said, Collars()) == [(0, 1), (1, 0)]
    far = [Segment(7.0, 8.0, "calm"), Segment(6.0, 9.0, "calm")]
    assert match_events(true[:1], [*far, *said[1:]], Collars()) == [(0, 2)]


def test_collars_reach_as_far_as_they_say() -> None:
    true = [Segment(5.0, 15.0, "calm")]
    for start, end, found in [
        (5.2, 13.0, True),
        (4.8, 17.0, True),
        (5.21, 15.0, False),
        (5.0, 17.01, False),
        (5.0, 12.99, False),
    ]:
        said = [Segment(start, end, "calm")]
        assert len(match_events(true, said, Collars())) == found, (start, end)
    assert match_events(true, [Segment(5.0, 10.0, "calm")], Collars(offset_share=0.5))


def slow_cells(true: list[Segment], said: list[Segment], size: float) -> Counts:
    active = []
    for segments in (true, said):
        seen = set()
        for cell in range(100):
            for segment in segments:
                if min(segment.end_seconds, (cell + 1) * size) - 1e-6 > max(
                    segment.start_seconds, cell * size
                ):
                    seen.add(cell)
        active.append(seen)
    return Counts(len(active[0] & active[1]), len(active[0]), len(active[1]))


@given(EVENTS, EVENTS, st.sampled_from([0.5, 1.0]))
def test_cells_are_those_that_a_segment_reaches(
    true: list[Segment], said: list[Segment], size: float
) -> None:
    assert count_cells(true, said, size) == slow_cells(true, said, size)


def test_averages_over_clips_and_emotions() -> None:
    first = [Segment(0, 2, "calm"), Segment(2, 4, "angry")]
    second = [Segment(0, 3, "calm")]
    said = [Segment(0, 2, "calm"), Segment(2, 3.1, "angry"), Segment(3.1, 4, "calm")]
    scores = score_events([(first, said), (second, second)], (*CLASSES, "sad"))
    # calm: 2 of 2 found, 3 reported; angry: its end is 0.9 s off, 0.4 s are allowed.
    assert scores["event_f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert scores["event_macro_f1"] == pytest.approx((2 * 2 / (2 + 3) + 0) / 2)
    assert (scores["event_precision"], scores["event_recall"]) == pytest.approx((2 / 4, 2 / 3))
    # Cells: calm 0 1 | 0 1 3 and 0 1 2 twice, angry 2 3 | 2 3.
    assert scores["segment_f1"] == pytest.approx(2 * 7 / (7 + 8))
    with pytest.raises(ValueError, match="segments of angry, not among"):
        score_events([(first, [])], ("calm",))


@pytest.fixture(scope="module")
def joined(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    output = tmp_path_factory.mktemp("joined") / "joined"
    return prepare("joined", prepared, output).corpus


def test_utterances_lie_where_their_samples_are(prepared: Path, joined: PreparedCorpus) -> None:
    source = PreparedCorpus.load(prepared)
    views = {clip.clip_id: view for clip, view in zip(source.clips, source.views, strict=True)}
    emotions = {clip.clip_id: clip.emotion for clip in source.clips}
    lengths = {name: len(view) for name, view in views.items()}
    for clip, audio in zip(joined.clips, joined.views, strict=True):
        segments = joined_segments(clip, lengths)
        assert len(segments) in (2, 3) and segments[0].start_seconds == 0
        for segment, name in zip(segments, clip.clip_id.split("+"), strict=True):
            start, end = (round(s * 16_000) for s in (segment.start_seconds, segment.end_seconds))
            np.testing.assert_array_equal(audio[start:end], views[name])
            assert segment.emotion == emotions[name]


def test_another_corpus_is_refused(prepared: Path, joined: PreparedCorpus) -> None:
    clips = PreparedCorpus.load(prepared).clips
    lengths = {clip.clip_id: int(clip.num_samples or 0) for clip in clips}
    clip = joined.clips[0]
    with pytest.raises(DataError, match="unknown here: .*give the prepared corpus"):
        joined_segments(clip, {})
    with pytest.raises(DataError, match="names 1 utterances and 1 emotions"):
        joined_segments(clips[0], {"other": 1})
    changed = {**lengths, clip.clip_id.split("+")[0]: 17}
    with pytest.raises(DataError, match="prepared anew since they were joined"):
        joined_segments(clip, changed)
    unmeasured = to_clip(join(clips)[0])
    assert len(joined_segments(unmeasured, lengths)) > 1


class Oracle:
    """Knows where the utterances are, and says so with some uncertainty, moment by moment."""

    device = torch.device("cpu")

    def __init__(self, joined: PreparedCorpus, lengths: dict[str, int], sure: float) -> None:
        self.config = AnswerRule(("neutral", "happy", "angry"))
        self.sure = sure
        self.known = {
            view.tobytes(): joined_segments(clip, lengths)
            for clip, view in zip(joined.clips, joined.views, strict=True)
        }

    def probabilities_over_time(self, waveform: Tensor) -> OverTime:
        assert not torch.is_grad_enabled() and waveform.dtype == torch.float32
        samples = (waveform * 32768).round().to(torch.int16).numpy()
        segments = self.known[samples.tobytes()]
        ends = np.append(np.arange(0.1, len(samples) / 16_000, 0.1), len(samples) / 16_000)
        starts = np.append(0.0, ends[:-1])
        rest = (1 - self.sure) / 2
        rows = np.full((len(ends), 3), rest, np.float32)
        for row, middle in zip(rows, (starts + ends) / 2, strict=True):
            (name,) = (s.emotion for s in segments if s.start_seconds <= middle < s.end_seconds)
            row[self.config.classes.index(name)] = self.sure
        return OverTime(starts, ends, rows)


def test_a_model_that_knows_is_scored_so(prepared: Path, joined: PreparedCorpus) -> None:
    source = PreparedCorpus.load(prepared)
    lengths = {clip.clip_id: int(clip.num_samples or 0) for clip in source.clips}
    oracle = Oracle(joined, lengths, 0.6)
    chosen = np.array([3, 0, 5])
    scores = score_timeline(oracle, joined, source, chosen, least_seconds=0.3)
    num_true = sum(len(joined.clips[index].emotions) for index in chosen)
    assert scores["num_true_events"] == scores["num_reported_events"] == num_true
    assert scores["event_f1"] == scores["event_macro_f1"] == 1
    assert scores["segment_f1"] > 0.9
    several = replace(oracle.config, task="multilabel", thresholds=(0.7,) * 3)
    oracle.config = several
    assert score_timeline(oracle, joined, source, chosen)["num_reported_events"] == 0
    oracle.config = replace(several, classes=("neutral", "happy", "bored"))
    with pytest.raises(DataError, match="utterances that are angry; the model's classes are neut"):
        score_timeline(oracle, joined, source, chosen)


def test_what_is_said_of_probabilities() -> None:
    single = AnswerRule(CLASSES, unsure_below=0.6)
    assert single.answer([0.4, 0.6]) == "angry" and single.answer([0.45, 0.55]) == DONT_KNOW
    assert single.best([0.45, 0.55]) == "angry"
    several = AnswerRule(CLASSES, "multilabel", (0.3, 0.7), unsure_below=0.9)
    assert several.answer([0.3, 0.69]) == "calm" and several.answer([0.2, 0.2]) == ""
    assert several.answer([0.9, 0.9]) == "calm|angry"


def test_a_rule_is_what_a_configuration_says() -> None:
    plain = AudioClassifierConfig(classes=list(CLASSES))
    assert AnswerRule.of(plain) == AnswerRule(CLASSES, thresholds=(0.5, 0.5))
    full = AudioClassifierConfig(
        classes=list(CLASSES), task="multilabel", thresholds=[0.2, 0.4], unsure_below=0.3
    )
    assert AnswerRule.of(full) == AnswerRule(CLASSES, "multilabel", (0.2, 0.4), 0.3)
