import io

import numpy as np
import pytest
import soundfile as sf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssl_audio.data.audio import QUIETEST_DB, decode, measure
from ssl_audio.errors import DataError

RATE = 16_000


def encode(samples, sample_rate=RATE, format="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    sf.write(file, samples, sample_rate, format=format, subtype=subtype)
    return file.getvalue()


def noise(num_samples, channels=1, seed=0):
    samples = 0.2 * np.random.default_rng(seed).standard_normal((num_samples, channels))
    return samples.clip(-0.99, 0.99).astype(np.float32)


def sine(sample_rate, seconds=1.0, hz=440.0):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.int16, st.integers(1, 3000)), st.sampled_from(["WAV", "FLAC", "AIFF"]))
def test_16_bit_mono_at_16_khz_comes_through_bit_exact(samples, container):
    assume(len(samples) == 1 or samples.min() < samples.max())
    audio = decode(encode(samples, format=container))
    np.testing.assert_array_equal(audio.samples, samples)
    assert audio.samples.dtype == np.int16
    assert audio.source.format == f"{container}/PCM_16"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_32"])
def test_finer_containers_of_16_bit_audio_come_through_bit_exact(subtype):
    samples = np.random.default_rng(1).integers(-32768, 32768, 4000, dtype=np.int16)
    scaled = samples / np.float64(32768)
    np.testing.assert_array_equal(decode(encode(scaled, subtype=subtype)).samples, samples)


def test_channels_are_averaged():
    left, right = np.int16([1000, -2000, 0]), np.int16([3000, 2000, 32766])
    audio = decode(encode(np.stack([left, right], axis=1)))
    np.testing.assert_array_equal(audio.samples, [2000, 0, 16383])
    assert audio.source.channels == 2


@pytest.mark.parametrize("seconds", [1, 40])
@pytest.mark.parametrize("share", [-1.0, -0.995])
def test_of_channels_that_cancel_out_the_louder_is_taken(seconds, share):
    """One microphone with its sign turned: the mean would be silence, or what is left of it."""
    left = np.concatenate([np.zeros(100, np.float32), sine(RATE, seconds)])
    audio = decode(encode(np.stack([left * share, left], axis=1)))
    expected = left if share > -1 else -left
    np.testing.assert_allclose(audio.samples / 32768, expected, atol=1e-4)
    half = decode(encode(np.stack([left * -0.5, left], axis=1)))
    np.testing.assert_allclose(half.samples / 32768, left / 4, atol=1e-4)
    with pytest.raises(DataError, match="silence"):
        decode(encode(np.zeros((RATE, 2))))


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_rates_give_the_same_sine(sample_rate, channels):
    stacked = np.stack([sine(sample_rate)] * channels, axis=1)
    audio = decode(encode(stacked, sample_rate))
    assert len(audio.samples) == RATE
    assert (audio.source.sample_rate, audio.source.channels) == (sample_rate, channels)
    inner = slice(800, -800)
    error = audio.samples[inner] / 32768 - sine(RATE)[inner]
    assert np.abs(error).max() < 1e-3


def test_resampling_removes_what_16_khz_cannot_hold():
    audio = decode(encode(sine(48_000, hz=11_000), 48_000))
    assert np.abs(audio.samples[800:-800]).max() < 10


def test_too_loud_float_audio_is_clipped_not_wrapped():
    audio = decode(encode(np.float32([1.5, -1.5, 1.0, -1.0]), subtype="FLOAT"))
    np.testing.assert_array_equal(audio.samples, [32767, -32768, 32767, -32768])


def test_mp3_is_read_by_content():
    audio = decode(encode(sine(RATE), format="MP3", subtype="MPEG_LAYER_III"))
    assert audio.source.format == "MP3/MPEG_LAYER_III"
    assert len(audio.samples) == RATE


def cut(encoded, share=0.6):
    return encoded[: int(len(encoded) * share)]


UNREADABLE = {
    "empty": (b"", "empty file"),
    "text": (b"this is no audio\n" * 30, "can't be decoded as audio"),
    "zeros": (bytes(4000), "can't be decoded as audio"),
    "header only": (encode(noise(1000))[:20], "can't be decoded as audio"),
    "no samples": (encode(noise(0)), "no samples"),
    "one sample at 48 kHz": (encode(noise(1), 48_000), "no samples"),
    "nan": (encode(np.float32([0, np.nan, 0]), subtype="FLOAT"), "NaN or infinite"),
    "inf": (encode(np.float32([0, -np.inf, 0]), subtype="FLOAT"), "NaN or infinite"),
    "integers as floats": (
        encode(30_000 * noise(900), subtype="FLOAT"),
        r"holds samples of \d.*e\+04 times full scale: expected \[-1, 1\]",
    ),
    "1e38": (
        encode(np.tile([[1e38], [-1e38]], (9, 2)), subtype="FLOAT"),
        "holds NaN or infinite|times full",
    ),
    "3e38": (
        encode(np.tile([[3e38], [-3e38]], (9, 2)), subtype="FLOAT"),
        "holds NaN or infinite|times full",
    ),
    "silence": (encode(np.zeros((900, 2)), 44_100), "silence: every sample is zero"),
    "too quiet for 16 bit": (encode(1e-6 * noise(900), subtype="FLOAT"), "silence"),
    "offset": (encode(np.full(900, 0.25), 48_000), "constant: every sample is 0.25 of full"),
    "8-bit offset": (encode(np.full(900, -0.5), subtype="PCM_U8"), "constant: .* is -0.5 of"),
    "1 Hz": (encode(noise(100), 1), "sample rate of 1 Hz"),
    "cut wav": (cut(encode(noise(8000))), "cut short"),
    "cut stereo wav": (cut(encode(noise(8000, 2), 48_000)), "cut short"),
    "cut aiff": (cut(encode(noise(8000), format="AIFF")), "cut short"),
    "cut flac": (cut(encode(noise(8000), format="FLAC")), "can't be decoded as audio"),
    "cut mp3": (
        cut(encode(noise(32_000), format="MP3", subtype="MPEG_LAYER_III")),
        "cut short",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name):
    encoded, reason = UNREADABLE[name]
    with pytest.raises(DataError, match=reason):
        decode(encoded)


def test_streamed_header_without_a_size_is_no_cut():
    encoded = bytearray(encode(noise(500)))
    position = encoded.index(b"data") + 4
    encoded[position : position + 4] = b"\xff\xff\xff\xff"
    assert len(decode(bytes(encoded)).samples) == 500


def test_measure():
    samples = np.int16([16384, -16384] * 50)
    measured = measure(samples)
    assert measured["num_samples"] == 100
    assert measured["peak"] == 0.5
    assert measured["rms_db"] == pytest.approx(-6.0206, abs=1e-4)
    assert measured["audio_sha256"] == measure(samples.copy())["audio_sha256"]
    assert measured["audio_sha256"] != measure(samples[:-1])["audio_sha256"]
    assert measure(np.int16([-32768]))["peak"] == 1.0
    assert measure(np.zeros(10, np.int16))["rms_db"] == QUIETEST_DB


@pytest.mark.real_data
def test_every_real_container_is_read(real_data):
    folders = ("ravdess/Actor_01", "emodb/wav", "hackerearth/TrainAudioFiles")
    formats = set()
    for folder in folders:
        for path in sorted((real_data / folder).iterdir())[:40:4]:
            audio = decode(path.read_bytes())
            assert len(audio.samples) > 800
            formats.add(audio.source.format)
    assert {"FLAC/PCM_16", "OGG/OPUS", "MP3/MPEG_LAYER_III"} <= formats
