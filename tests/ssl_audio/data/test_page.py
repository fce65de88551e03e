import base64
import re
import struct
import sys
import zlib
from html.parser import HTMLParser

import librosa
import numpy as np
import pytest

from ssl_audio.data import thumbnails
from ssl_audio.data.audio import measure
from ssl_audio.data.corpora import Quarantined
from ssl_audio.data.manifest import Clip
from ssl_audio.data.page import write_page
from ssl_audio.data.prepared import PreparedCorpus, write_corpus

SAMPLE_RATE = 16_000


def tone(hertz, seconds, amplitude=8000):
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def prepare(root, clips_with_audio):
    root.mkdir()
    measured = ((clip.with_measured(**measure(audio)), audio) for clip, audio in clips_with_audio)
    write_corpus(root, "csv", measured)
    return PreparedCorpus.load(root)


def write(corpus, quarantined=()):
    write_page(corpus, corpus.root / "corpus.html", quarantined)
    return (corpus.root / "corpus.html").read_text(encoding="utf-8")


class Rows(HTMLParser):
    """The text of the table rows, cells parted by one space."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th") or (self.inside and tag in ("code", "span", "i"))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        if self.inside and data.strip():
            self.rows[-1].append(data.strip())


def rows(page):
    return [" ".join(cells) for cells in Rows(page).rows]


@pytest.fixture
def labelled(tmp_path):
    def clips():
        for number in range(1, 13):
            clip = Clip(
                clip_id=f"clip{number}",
                path=f"clip{number}.wav",
                speaker=str(number % 11 + 1),
                gender="male" if number % 3 else "female",
                emotion="happy" if number % 4 else "<script>alert(1)</script>",
                source_sample_rate=48_000 if number % 2 else 44_100,
                source_channels=1,
                source_format="WAV/PCM_24",
            )
            yield clip, tone(100 + number, number / 10 if number < 12 else 1.1)

    return prepare(tmp_path / "labelled", clips())


def test_the_page_counts_clips_by_class_gender_and_source(labelled):
    page = write(labelled)
    assert "<b>12</b>clips" in page
    assert "<b>11</b>speakers" in page
    assert "<b>2</b>classes" in page
    assert "<b>7.7 s</b>of audio" in page
    assert "happy 9 75.0 % 3 6 0.1" in rows(page)
    assert "48,000 Hz 1 WAV/PCM_24 6" in rows(page)
    assert "44,100 Hz 1 WAV/PCM_24 6" in rows(page)
    assert "Shortest 0.10 s, median 0.65 s, longest 1.10 s." in page
    speakers = re.findall(r"<div><span>(\d+)</span>", page)
    assert speakers == [str(number) for number in range(1, 12)]
    bins = re.findall(r"<title>(\d+) clips of", page)
    assert sum(map(int, bins)) == 12


def test_the_page_is_one_file_without_scripts_or_links_outward(labelled):
    page = write(labelled)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r'(src|href)="(?!data:image/png;base64,|#)', page)


def test_each_class_is_shown_by_its_clip_of_median_duration(labelled):
    page = write(labelled)
    shown = re.findall(r'<header><h3>.*?</h3><span class="soft">(\w+)', page)
    assert shown == ["clip8", "clip6"]
    assert page.count("data:image/png") == 6
    assert page == write(labelled)


def test_pictures_need_no_optional_package(labelled, monkeypatch):
    for module in ("matplotlib", "PIL", "librosa"):
        monkeypatch.setitem(sys.modules, module, None)
    assert write(labelled).count("data:image/png") == 6


def test_a_corpus_without_labels_or_speakers(tmp_path):
    clips = ((Clip(clip_id=f"c{n}", path=f"c{n}.wav"), tone(200, 0.2)) for n in range(3))
    page = write(prepare(tmp_path / "unlabelled", clips))
    assert "No clip has a label" in page
    assert "<b>unknown</b>speakers" in page
    assert "3 of 3 clips name no speaker" in page
    assert "<b>2</b>exact copies of another clip" in page
    assert page.count("data:image/png") == 3


def test_many_classes_show_the_largest_and_say_so(tmp_path):
    names = [f"class {number}" for number in range(1, 31)] + ["class 20", "class 30"]
    clips = (
        (Clip(clip_id=f"c{n:02d}", path=f"c{n}.wav", emotion=name), tone(200 + n, 0.05))
        for n, name in enumerate(names)
    )
    page = write(prepare(tmp_path / "many", clips))
    assert "(the 12 largest of 30)" in page
    shown = re.findall(r"<h3>(class \d+)</h3>", page)
    assert shown == [f"class {n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30)]
    assert sum(row.startswith("class ") for row in rows(page)) == 31  # and the header


def test_what_was_set_aside_is_listed_up_to_fifty(labelled):
    page = write(labelled, [Quarantined(f"bad<{n}>.wav", "no samples in it") for n in range(70)])
    assert '<b>70</b><a href="#set-aside">files set aside' in page
    assert "70 files could not be used" in page
    listed = [row for row in rows(page) if row.endswith("no samples in it")]
    assert listed[0] == "bad<0>.wav no samples in it"
    assert len(listed) == 50
    assert "every file could be used" in write(labelled)


@pytest.mark.parametrize("audio", [np.zeros(16000, np.int16), tone(100, 0.0001), tone(300, 25)])
def test_silent_shortest_and_long_clips_have_pictures(audio):
    for picture in thumbnails.draw(audio):
        height, width = decode_png(picture.png).shape
        assert height in (12, 19, 80) and 1 <= width <= thumbnails.MOST_FRAMES + 1


def decode_png(text):
    """(height, width) palette indices of an unfiltered 8-bit PNG, with its checksums verified."""
    data = base64.b64decode(text)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        place += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def test_a_tone_lies_at_its_frequency_and_pitch_class():
    spectrogram, _, chroma = thumbnails.draw(tone(440, 1))
    image = decode_png(spectrogram.png)
    middle = image[::-1, 50]
    mel = 2595 * np.log10(1 + np.array([440, 8000]) / 700)
    assert np.argmax(middle) == pytest.approx(80 * mel[0] / mel[1], abs=1)
    at_500 = next(tick.at for tick in spectrogram.y_ticks if tick.label == "500")
    assert np.argmax(middle) / 80 < at_500
    classes = decode_png(chroma.png)[::-1, 50]
    assert np.argmax(classes) == thumbnails.PITCH_CLASSES.index("A")
    assert np.sort(classes)[-2] < 30
    assert [tick.label for tick in chroma.x_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_mel_bands_and_mfcc_equal_librosas():
    audio = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
    mel_db = thumbnails.compute_mel_db(audio)
    window_gain = np.hanning(513)[:-1].sum() / 2
    power = np.abs(librosa.stft(audio / 32768, n_fft=512, hop_length=160)) ** 2 / window_gain**2
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=512, n_mels=80, htk=True, norm=None)
    np.testing.assert_allclose(mel_db, 10 * np.log10(bands @ power + 1e-14), atol=0.01)
    np.testing.assert_allclose(
        thumbnails.compute_mfcc(mel_db), librosa.feature.mfcc(S=mel_db, n_mfcc=20), atol=1e-3
    )
