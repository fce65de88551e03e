import io

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_audio.data.audio import decode, open_audio
from ssl_audio.data.corpora.files import AudioFiles
from ssl_audio.data.manifest import Clip
from ssl_audio.data.segments import cut, parent_in_name, split
from ssl_audio.errors import DataError

RATE = 16_000
TALK = Clip(clip_id="day 1/talk", path="day 1/talk.flac", speaker="7", emotion="calm")


def noise(seconds, seed=0, level=3000):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level
    return samples.clip(-32768, 32767).astype(np.int16)


def with_pauses(seconds, pauses):
    """Noise with 20 ms of silence at some seconds."""
    samples = noise(seconds)
    for pause in pauses:
        samples[round(pause * RATE) : round(pause * RATE) + 320] = 0
    return samples


def in_blocks(samples, sizes):
    """The samples in blocks of these sizes, the rest in one."""
    edges = np.minimum(np.cumsum([0, *sizes]), len(samples))
    blocks = [samples[a:b] for a, b in zip(edges, [*edges[1:], len(samples)], strict=True)]
    return [block for block in blocks if len(block)]


@pytest.mark.parametrize("num_samples", [1, RATE, 30 * RATE])
def test_up_to_30_s_is_one_clip_under_its_own_name(num_samples):
    samples = noise(30)[:num_samples]
    ((clip, audio),) = split(TALK, [samples])
    assert clip == TALK and clip.parent is None
    np.testing.assert_array_equal(audio, samples)


def test_one_sample_more_is_two_segments():
    (first, a), (second, b) = split(TALK, [noise(31)[: 30 * RATE + 1]])
    assert first.parent == second.parent == TALK.clip_id
    assert first.clip_id == "day 1/talk@000000.00"
    assert len(a) + len(b) == 30 * RATE + 1 and min(len(a), len(b)) >= 12.5 * RATE


def test_cuts_fall_into_pauses():
    samples = with_pauses(100, [12, 27.5, 40, 56.01, 78])
    clips = [clip for clip, _ in split(TALK, [samples])]
    assert [clip.clip_id for clip in clips] == [
        "day 1/talk@000000.00",
        "day 1/talk@000027.50",
        "day 1/talk@000056.01",
        "day 1/talk@000078.00",
    ]
    assert [clip.offset_seconds for clip in clips] == [0.0, 27.5, 56.01, 78.0]
    assert {(clip.speaker, clip.emotion, clip.path) for clip in clips} == {
        ("7", "calm", "day 1/talk.flac")
    }


def test_even_digital_silence_is_cut():
    lengths = [len(audio) / RATE for _, audio, _ in cut([np.zeros(200 * RATE, np.int16)])]
    assert sum(lengths) == 200 and max(lengths) <= 30 and min(lengths) >= 12.5


@settings(max_examples=30, deadline=None)
@given(
    st.integers(30 * RATE + 1, 150 * RATE),
    st.lists(st.integers(1, 40 * RATE), max_size=8),
    st.integers(0, 3),
)
def test_segments_add_up_whatever_the_blocks(num_samples, sizes, seed):
    samples = noise(150, seed, level=20)[:num_samples]
    segments = list(cut(in_blocks(samples, sizes)))
    starts = [start for start, _, _ in segments]
    lengths = [len(audio) for _, audio, _ in segments]
    assert starts == np.cumsum([0, *lengths[:-1]]).tolist()
    assert max(lengths) <= 30 * RATE and min(lengths) >= 12.5 * RATE
    assert all(start % 160 == 0 for start in starts)
    np.testing.assert_array_equal(np.concatenate([audio for _, audio, _ in segments]), samples)
    assert starts == [start for start, _, _ in cut([samples])]


def test_names_sort_in_time_order_and_tell_their_parent():
    names = [clip.clip_id for clip, _ in split(TALK, [np.zeros(1500 * RATE, np.int16)])]
    assert len(names) >= 50 and names == sorted(names) and len(set(names)) == len(names)
    assert {parent_in_name(name) for name in names} == {TALK.clip_id}
    assert parent_in_name("someone@home") is None and parent_in_name("a@12.5") is None


def encode(samples, sample_rate, format, **options):
    file = io.BytesIO()
    sf.write(file, samples, sample_rate, format=format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "sample_rate", "channels"),
    [("WAV", 44_100, 2), ("FLAC", 48_000, 1), ("FLAC", 16_000, 1), ("AIFF", 22_050, 2)],
)
def test_long_audio_is_resampled_without_seams(format, sample_rate, channels):
    seconds = 95
    time = np.arange(seconds * sample_rate) / sample_rate
    tone = 0.3 * np.sin(2 * np.pi * 300 * time) + 0.2 * np.sin(2 * np.pi * 2000 * time)
    encoded = encode(np.stack([tone] * channels, axis=1), sample_rate, format)
    audio = decode(encoded).samples
    whole, _ = sf.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    expected = soxr.resample(whole.mean(axis=1), sample_rate, RATE, quality="HQ")
    assert len(audio) == len(expected) == seconds * RATE
    assert np.abs(audio - expected * 32768).max() <= 1


def test_a_long_mp3_is_what_reading_it_whole_gives():
    """Seeking between blocks would damage frames, as mp3 borrows bits from earlier ones."""
    samples = noise(70, level=6000)
    encoded = encode(samples, RATE, "MP3", subtype="MPEG_LAYER_III")
    with sf.SoundFile(io.BytesIO(encoded)) as file:
        whole = file.read(dtype="float32")
    np.testing.assert_array_equal(decode(encoded).samples, np.rint(whole * 32768).astype(np.int16))


def test_blocks_come_before_the_file_is_read_to_its_end(tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(encode(noise(200), RATE, "WAV"))
    with path.open("rb") as file, open_audio(file) as (_, blocks):
        assert len(next(blocks)) < 32 * RATE


def test_a_file_cut_short_fails_after_its_first_segments(tmp_path):
    encoded = encode(noise(200, level=500), RATE, "MP3", subtype="MPEG_LAYER_III")
    (tmp_path / "day 1").mkdir()
    (tmp_path / "day 1" / "talk.flac").write_bytes(encoded[: len(encoded) * 3 // 4])
    segments = AudioFiles(tmp_path, [TALK.path]).decode(TALK)
    assert next(segments)[0].clip_id == "day 1/talk@000000.00"
    with pytest.raises(DataError, match="cut short: its header promises 200.00 s"):
        list(segments)
