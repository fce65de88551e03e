"""Copies are found by what they sound like; different recordings of one sentence are none."""

import io
from dataclasses import replace

import librosa
import numpy as np
import pytest
import soundfile as sf
import soxr

from ssl_audio.audit.copied import connect
from ssl_audio.audit.copies import Copy, find_copies, find_copies_between
from ssl_audio.audit.copies.alignment import align
from ssl_audio.audit.copies.landmarks import Landmarks
from ssl_audio.audit.copies.matches import find_matches
from ssl_audio.audit.copies.shapes import find_neighbours
from ssl_audio.data.audio import measure
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.synthetic import SyntheticSettings, synthesise

SETTINGS = SyntheticSettings(num_speakers=2, emotions=("happy", "sad", "angry"))


@pytest.fixture(scope="module")
def recordings():
    """24 clips: two speakers, three emotions, two statements, each said twice."""
    return list(synthesise(SETTINGS))


@pytest.fixture
def write(tmp_path):
    """Writes a corpus of these clips and of one more made from the first of them."""

    def write_with(recordings, *changed, name="corpus"):
        extra = []
        for number, waveform in enumerate(changed):
            samples = np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.int16)
            clip = replace(recordings[0][0], clip_id=f"copy{number}", path="x")
            extra.append((clip.with_measured(**measure(samples)), samples))
        root = tmp_path / name
        root.mkdir()
        write_corpus(root, "synthetic", [*recordings, *extra])
        return PreparedCorpus.load(root)

    return write_with


def first_of(recordings):
    return recordings[0][1].astype(np.float32) / 32_768


def through(waveform, fmt, subtype, level):
    file = io.BytesIO()
    sf.write(file, waveform, SAMPLE_RATE, format=fmt, subtype=subtype, compression_level=level)
    file.seek(0)
    decoded, sample_rate = sf.read(file, dtype="float32")
    return soxr.resample(decoded, sample_rate, SAMPLE_RATE)


def with_noise(waveform, snr_db):
    noise = np.random.default_rng(0).standard_normal(len(waveform)).astype(np.float32)
    return waveform + noise * np.sqrt(np.mean(waveform**2)) * 10 ** (-snr_db / 20)


NEAR = {
    "mp3": lambda x: through(x, "MP3", "MPEG_LAYER_III", 0.9),
    "opus": lambda x: through(x, "OGG", "OPUS", 0.96),
    "quieter": lambda x: x / 4,
    "upside down": lambda x: -x,
    "telephone": lambda x: soxr.resample(soxr.resample(x, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE),
    "trimmed": lambda x: x[4321:-1234],
    "padded": lambda x: np.pad(x, (7777, 3333)),
    "light noise": lambda x: with_noise(x, 25),
}
AUGMENTED = {
    "noise": lambda x: with_noise(x, 5),
    "rolled": lambda x: np.roll(x, 10_000),
    "slower": lambda x: librosa.effects.time_stretch(x, rate=0.85),
    "higher": lambda x: librosa.effects.pitch_shift(x, sr=SAMPLE_RATE, n_steps=2),
    "speed": lambda x: soxr.resample(x, SAMPLE_RATE, SAMPLE_RATE * 1.1),
}
PARTS = {
    "the first half": lambda x: x[: len(x) // 2],
    "the last third": lambda x: x[len(x) * 2 // 3 :],
}
CHANGES = {
    **{name: (change, "near_identical_audio") for name, change in NEAR.items()},
    **{name: (change, "augmented_copies") for name, change in AUGMENTED.items()},
    **{name: (change, "split_parent") for name, change in PARTS.items()},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(recordings, write, name):
    change, kind = CHANGES[name]
    (copy,) = find_copies(write(recordings, change(first_of(recordings))))
    assert {copy.first, copy.second} == {recordings[0][0].clip_id, "copy0"}
    assert copy.kind == kind


def test_different_recordings_are_no_copies(recordings, write):
    assert find_copies(write(recordings)) == ()


def test_windows_of_one_recording_overlap(recordings, write):
    waveform = np.concatenate([samples for _, samples in recordings[:3]]).astype(np.float32)
    waveform /= 32_768
    second = SAMPLE_RATE
    windows = [waveform[start : start + 2 * second] for start in (0, second, 2 * second)]
    copies = find_copies(write(recordings[12:], *windows))
    assert {(copy.first, copy.second): copy.kind for copy in copies} == {
        ("copy0", "copy1"): "split_parent",
        ("copy1", "copy2"): "split_parent",
    }


def test_every_clip_with_equal_samples_is_told(recordings, write):
    waveform = first_of(recordings)
    copies = find_copies(write(recordings, waveform / 2, waveform / 2))
    original = recordings[0][0].clip_id
    assert {(copy.first, copy.second) for copy in copies} == {
        (original, "copy0"),
        (original, "copy1"),
    }


def test_a_recording_with_many_copies_hangs_together(recordings, write):
    waveform, count = first_of(recordings), 40
    copies = find_copies(write(recordings, *(waveform * 0.99**k / 2 for k in range(count))))
    (group,) = connect((copy.first, copy.second) for copy in copies)
    assert len(group) == count + 1


def test_between_two_corpora(recordings, write):
    waveform = first_of(recordings)
    here = write(recordings[:12], name="here")
    there = write(recordings[12:], waveform / 2, waveform / 3, name="there")
    original = recordings[0][0].clip_id
    found = find_copies_between(here, there)
    assert [(copy.first, copy.second) for copy in found] == [
        (original, "copy0"),
        (original, "copy1"),
    ]
    assert find_copies_between(here, write(recordings[12:], name="other")) == ()


def test_the_search_is_remembered(recordings, write, monkeypatch):
    corpus = write(recordings, first_of(recordings) / 2)
    (file,) = [*find_copies(corpus), *(corpus.root / "copies").iterdir()][1:]
    monkeypatch.setattr("ssl_audio.audit.copies.search", None)
    (copy,) = find_copies(corpus)
    assert isinstance(copy, Copy)
    file.write_text("{")
    with pytest.raises(TypeError):
        find_copies(corpus)


@pytest.mark.parametrize("samples", [0, 1, 80, 1280, 8000])
def test_silence_noise_and_short_clips(recordings, write, samples):
    rng = np.random.default_rng(1)
    odd = [0.1 * rng.standard_normal(max(samples, 1)) for _ in range(3)]
    assert find_copies(write(recordings, np.zeros(max(samples, 1)), *odd)) == ()


def test_alignment_is_exact(recordings):
    waveform = first_of(recordings)
    found = align(waveform, waveform[5000:30_000] * 0.3, 5100)
    assert found is not None
    assert found.lag == 5000
    assert found.correlation == pytest.approx(1, abs=1e-4)
    assert align(waveform, waveform, 10 * len(waveform)) is None


def test_matches_against_a_slow_count():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 300, (6, 60))
    frames = np.sort(rng.integers(0, 400, (6, 60)), axis=1)
    keys[4, :20], frames[4, :20] = keys[1, :20], frames[1, :20] + 37
    frames[4] = np.sort(frames[4])
    landmarks = [
        Landmarks(k.astype(np.int32), f.astype(np.int32)) for k, f in zip(keys, frames, strict=True)
    ]
    found = {(match.first, match.second): match for match in find_matches(landmarks)}
    slow = {}
    for one in range(6):
        for other in range(one + 1, 6):
            steps = [
                (int(f) - int(g)) // 2
                for k, f in zip(keys[one], frames[one], strict=True)
                for m, g in zip(keys[other], frames[other], strict=True)
                if k == m
            ]
            votes = max(steps.count(s) + max(steps.count(s - 1), steps.count(s + 1)) for s in steps)
            slow[one, other] = votes
    assert {pair: match.votes for pair, match in found.items()} == {
        pair: votes for pair, votes in slow.items() if votes >= 4
    }
    assert find_matches([]) == []


def test_neighbours_of_few():
    assert find_neighbours([]) == []
    one = np.ones(4, np.float32) / 2
    assert find_neighbours([one]) == []
    assert find_neighbours([one, one]) == [(0, 1)]
