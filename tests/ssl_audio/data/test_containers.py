import io
import struct

import numpy as np
import pytest
import soundfile as sf

from ssl_audio.data.audio import decode, open_audio
from ssl_audio.data.containers import has_guessed_length, refuse_faults
from ssl_audio.errors import DataError

FRAME_SAMPLES = 576
"""Of an mp3 at 16 kHz."""


def encode(format, subtype, seconds=5.0, sample_rate=16_000, **settings):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    rng = np.random.default_rng(0)
    samples = np.where(time < seconds / 2, 0.3 * np.sin(2000 * time), 0.2 * rng.random(len(time)))
    file = io.BytesIO()
    sf.write(file, samples, sample_rate, format=format, subtype=subtype, **settings)
    return file.getvalue()


@pytest.fixture(scope="module", params=["VORBIS", "OPUS"])
def ogg(request):
    return encode("OGG", request.param)


def ogg_pages(encoded):
    """Where each page starts."""
    places = [place for place in range(len(encoded)) if encoded.startswith(b"OggS", place)]
    assert len(places) > 3
    return places


def test_whole_ogg_files_are_read(ogg):
    assert len(decode(ogg).samples) == 80_000
    assert len(decode(ogg + b"TAG" + bytes(125)).samples) == 80_000


@pytest.mark.parametrize("where", ["in a page", "between pages", "in a header"])
def test_an_ogg_file_without_its_last_page_is_cut_short(where, ogg):
    last = ogg_pages(ogg)[-1]
    place = {"in a page": last - 9, "between pages": last, "in a header": last + 5}[where]
    with sf.SoundFile(io.BytesIO(ogg[:place])) as file:
        assert 0 < len(file.read()) < 80_000  # libsndfile alone would give a shorter clip
    with pytest.raises(DataError, match="cut short: its last Ogg page is not there"):
        decode(ogg[:place])


def split_mp3(encoded):
    """Where each frame of an MPEG 2 file at 16 kHz starts, by a second way: its own header."""
    rates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    places, place = [], 0
    while place < len(encoded):
        (word,) = struct.unpack(">I", encoded[place : place + 4])
        assert word >> 16 & ~1 == 0xFFF2
        places.append(place)
        place += 72 * rates[word >> 12 & 15] // 16 + (word >> 9 & 1)
    return places


def test_an_mp3_of_varying_bit_rate_needs_its_table():
    encoded = encode("MP3", "MPEG_LAYER_III")
    assert len(decode(encoded).samples) == 80_000
    bare = encoded[split_mp3(encoded)[1] :]
    with sf.SoundFile(io.BytesIO(bare)) as file:
        assert len(file.read()) < 40_000  # libsndfile alone would give less than half
    with pytest.raises(DataError, match="varying bit rate that does not say its length; if it"):
        decode(bare)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 2]) + bytes(130)
    with pytest.raises(DataError, match="varying bit rate"):
        decode(tag + bare)
    assert len(decode(tag + encoded).samples) == 80_000


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_an_mp3_of_constant_bit_rate_needs_none(sample_rate):
    settings = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    encoded = encode("MP3", "MPEG_LAYER_III", 2.0, sample_rate, **settings)
    assert len(decode(encoded).samples) == 32_000
    if sample_rate == 16_000:
        places = split_mp3(encoded)
        whole = decode(encoded[places[1] :] + b"TAG" + bytes(125)).samples
        assert len(whole) == (len(places) - 1) * FRAME_SAMPLES
        with pytest.raises(DataError, match="cut short: it ends within an mp3 frame"):
            decode(encoded[places[1] : -9])


def test_an_mp3_of_several_joined_end_to_end():
    first, second = (encode("MP3", "MPEG_LAYER_III", seconds) for seconds in (1.0, 0.5))
    with sf.SoundFile(io.BytesIO(first + second)) as file:
        assert len(file.read()) == 16_000  # libsndfile alone would give the first
    with pytest.raises(DataError, match=f"goes on after the {len(first)} bytes it tells of"):
        decode(first + second)
    assert len(decode(first + b"TAG" + bytes(125)).samples) == 16_000


@pytest.mark.parametrize(
    ("format", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("WAV", "PCM_16")]
)
def test_files_of_the_system_are_read_from_their_start(format, subtype, tmp_path):
    encoded = encode(format, subtype)
    (tmp_path / "a").write_bytes(encoded)
    with (tmp_path / "a").open("rb") as file, open_audio(file) as (_, blocks):
        np.testing.assert_array_equal(np.concatenate(list(blocks)), decode(encoded).samples)


@pytest.mark.parametrize("content", [b"", b"I", b"ID3", b"OggS", b"\xff\xfb", bytes(99)])
def test_what_is_neither_is_left_to_libsndfile(content):
    file = io.BytesIO(content)
    refuse_faults(file)
    assert file.tell() == 0


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100, 48_000])
def test_an_mp3_of_constant_bit_rate_needs_no_table(sample_rate):
    """At 44.1 kHz libsndfile promises more than there is: some frames have a byte more."""
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    encoded = encode("MP3", "MPEG_LAYER_III", 20, sample_rate, **options)
    factor, rates = (
        (144_000, {8: 112, 9: 128, 10: 160, 11: 192})
        if sample_rate >= 32_000
        else (72_000, {8: 64, 9: 80, 10: 96, 11: 112})
    )
    length = factor * rates[encoded[2] >> 4] // sample_rate + (encoded[2] >> 1 & 1)
    assert b"Info" in encoded[:length] and b"Info" not in encoded[length:]
    without_table = encoded[length:]
    assert len(decode(without_table).samples) == pytest.approx(20 * 16_000, rel=0.01)
    assert has_guessed_length(io.BytesIO(without_table))
    assert not has_guessed_length(io.BytesIO(encoded))
    assert not has_guessed_length(io.BytesIO(b"RIFF" + bytes(100)))
