"""What a file tells of its label: injected shortcuts are found, honest corpora are not accused."""

import numpy as np
import pytest

from ssl_audio.audit.shortcuts import can_be_judged, find_shortcuts, score_values
from ssl_audio.data.manifest import Clip

EMOTIONS = ("angry", "happy", "neutral", "sad")
NUM_SPEAKERS, NUM_EACH = 8, 6


def make_corpus(seed=0, of_clip=lambda emotion, rng: {}, **common):
    """Names and lengths that tell nothing; ``of_clip`` adds what does."""
    rng = np.random.default_rng(seed)
    clips = []
    for speaker in range(NUM_SPEAKERS):
        for emotion in EMOTIONS:
            for _ in range(NUM_EACH):
                name = f"take-{rng.integers(10**6):06d}"
                told = {
                    **{"clip_id": f"{len(clips)}", "path": f"{name}.wav", "emotion": emotion},
                    **{"speaker": f"s{speaker}", "source_format": "WAV/PCM_16"},
                    **{"source_sample_rate": 48_000, "source_channels": 1},
                    "num_samples": int(rng.integers(16_000, 64_000)),
                }
                clips.append(Clip(**told | common | of_clip(emotion, rng)))
    return clips


def often(emotion, rng, of="angry", share=0.8):
    """Whether this clip gets what clips of one class often get, and others seldom."""
    return rng.random() < (share if emotion == of else 0.1)


SHORTCUTS = {
    "container": lambda e, rng: {"source_format": "FLAC/PCM_16" if often(e, rng) else "WAV/PCM_16"},
    "codec": lambda e, rng: {"source_format": "WAV/PCM_24" if often(e, rng) else "WAV/PCM_16"},
    "sample rate": lambda e, rng: {"source_sample_rate": 8000 if often(e, rng) else 48_000},
    "channels": lambda e, rng: {"source_channels": 2 if often(e, rng) else 1},
    "bit rate": lambda e, rng: {
        "num_samples": 32_000,
        "source_bytes": round((64_000 if often(e, rng) else 128_000) * rng.uniform(0.99, 1.01) / 4),
    },
    "duration": lambda e, rng: {
        "num_samples": int(rng.integers(16_000, 32_000) * (1.5 if e == "sad" else 1))
    },
    "file name": lambda e, rng: {"path": f"{rng.integers(10**6)}-{EMOTIONS.index(e)}.wav"},
    "folder": lambda e, rng: {"path": f"{e}/{rng.integers(10**6)}.wav"},
}
NOTES = ("duration", "file name", "folder")


@pytest.mark.parametrize("name", SHORTCUTS)
def test_shortcuts_are_found(name):
    clips = make_corpus(of_clip=SHORTCUTS[name])
    findings = list(find_shortcuts(clips))
    assert [finding.kind for finding in findings] == ["shortcut_label"]
    assert findings[0].severity == ("note" if name in NOTES else "warning")
    assert findings[0].evidence.startswith(f"the {name} predicts the label with UAR ")
    assert "chance 0.25 (cross-validated, no speaker on both sides)" in findings[0].evidence
    if name == "container":
        kinds = [{c.clip_id for c in clips if c.source_format[:3] == n} for n in ("FLA", "WAV")]
        assert [set(group) for group in findings[0].groups] == kinds


@pytest.mark.parametrize("seed", range(5))
def test_honest_corpora_are_not_accused(seed):
    """Every attribute varies, with the speaker or at random, but not with the label."""

    def vary(emotion, rng):
        return {
            "source_format": str(rng.choice(["WAV/PCM_16", "FLAC/PCM_16", "MP3/MPEG_LAYER_III"])),
            "source_sample_rate": int(rng.choice([16_000, 44_100, 48_000])),
            "source_channels": int(rng.choice([1, 2])),
            "source_bytes": int(rng.integers(10_000, 90_000)),
        }

    assert list(find_shortcuts(make_corpus(seed, vary))) == []


def test_a_variable_bit_rate_that_follows_the_voice_is_no_shortcut():
    """Loud voices need more bits, without a gap to the others."""

    def vary(emotion, rng):
        loud = 1.3 if emotion == "angry" else 1.0
        return {"num_samples": 32_000, "source_bytes": int(loud * rng.uniform(30_000, 60_000))}

    assert list(find_shortcuts(make_corpus(of_clip=vary))) == []


def test_what_tells_the_speaker_only_is_no_shortcut():
    """Each speaker has a microphone of his own, and classes are uneven over speakers."""
    rng = np.random.default_rng(0)
    clips = make_corpus()
    formats = dict.fromkeys({clip.speaker for clip in clips})
    formats = {name: f"WAV/PCM_{rng.integers(1, 4)}" for name in sorted(formats)}
    kept = [
        clip.with_measured(source_format=formats[clip.speaker])
        for clip in clips
        if clip.emotion != "sad" or formats[clip.speaker] != "WAV/PCM_1"
    ]
    assert list(find_shortcuts(kept)) == []


def test_segments_have_no_bit_rate_of_their_own():
    clips = make_corpus(of_clip=SHORTCUTS["bit rate"], parent="long")
    assert list(find_shortcuts(clips)) == []


def test_copies_do_not_vouch_for_each_other():
    """One recording fifty times, all mp3: counted once."""
    copies = [
        clip.with_measured(audio_sha256="x", source_format="MP3/MPEG_LAYER_III")
        if clip.emotion == "sad"
        else clip
        for clip in make_corpus()
    ]
    assert list(find_shortcuts(copies)) == []


def test_too_few_labels_cannot_be_judged():
    clips = make_corpus()
    assert can_be_judged(clips)
    few = [clip for clip in clips if clip.emotion == "sad"] + clips[:5]
    assert not can_be_judged(few) and list(find_shortcuts(few)) == []


def test_score_values_by_a_slow_loop():
    rng = np.random.default_rng(0)
    values, folds = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
    labels = rng.integers(0, 3, (5, 60))
    expected = []
    for row in labels:
        hits = np.zeros(60, dtype=bool)
        for place in range(60):
            learnt = folds != folds[place]
            shares = [
                np.sum(learnt & (values == values[place]) & (row == label))
                / np.sum(learnt & (row == label))
                for label in range(3)
            ]
            hits[place] = np.argmax(shares) == row[place]
        expected.append(np.mean([hits[row == label].mean() for label in range(3)]))
    np.testing.assert_allclose(score_values(values, labels, folds), expected)
