import csv
from collections import defaultdict

import pytest

from ssl_audio.audit.copied import connect
from ssl_audio.audit.copies import find_copies
from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.corpora.hackerearth import RECORDINGS
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.segments import parent_in_name
from ssl_audio.errors import DataError, UserError


def read(name, source):
    return CORPORA[name].read(source, {})


def write_competition(root, write_noise):
    for name in ("TrainAudioFiles/1.wav", "TrainAudioFiles/2.wav", "TestAudioFiles/3.wav"):
        write_noise(root / name)
    table = "filename,emotion\n1.wav,joy\n9.mp3,fear\n"
    (root / "train.csv").write_text(table, encoding="utf-8")
    (root / "test.csv").write_text("filename\n3.wav\n", encoding="utf-8")
    return root


def test_hackerearth_folder(tmp_path, write_noise):
    listing = read("hackerearth", write_competition(tmp_path, write_noise))
    facts = {clip.clip_id: (clip.emotion, clip.split) for clip in listing.clips}
    assert facts == {
        "TrainAudioFiles/1": ("joy", "train"),
        "TrainAudioFiles/2": (None, "train"),
        "TestAudioFiles/3": (None, "test"),
    }
    ((path, reason),) = [(item.path, item.reason) for item in listing.quarantined]
    assert path == "TrainAudioFiles/9.mp3" and "train.csv names it" in reason
    assert "1 files of TrainAudioFiles are not in train.csv: unlabelled" in listing.notes


def test_hackerearth_mistakes(tmp_path, write_noise):
    with pytest.raises(UserError, match="expected the folders TrainAudioFiles and TestAudioFiles"):
        read("hackerearth", tmp_path)
    write_competition(tmp_path, write_noise)
    (tmp_path / "train.csv").write_text("name,emotion\n1.wav,joy\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected a column filename, got name, emotion"):
        read("hackerearth", tmp_path)
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv can't be read"):
        read("hackerearth", tmp_path)


def test_folder_and_competition_lose_no_namesake(tmp_path, write_noise):
    for ending in ("wav", "flac"):
        write_noise(tmp_path / "TrainAudioFiles" / f"1.{ending}", seed=ending)
    (tmp_path / "train.csv").write_text("emotion,filename\njoy,1.wav\nfear,1.flac\nsad\n")
    ids = {clip.clip_id for clip in read("folder", tmp_path).clips}
    assert ids == {"TrainAudioFiles/1.wav", "TrainAudioFiles/1.flac"}
    listing = read("hackerearth", tmp_path)
    assert {clip.clip_id: clip.emotion for clip in listing.clips} == {
        "TrainAudioFiles/1.wav": "joy",
        "TrainAudioFiles/1.flac": "fear",
    }
    assert [(item.path, item.reason) for item in listing.quarantined] == [
        ("train.csv, line 4", "names no file")
    ]


def test_a_second_row_of_the_competition_s_table_is_told(tmp_path, write_noise):
    write_competition(tmp_path, write_noise)
    (tmp_path / "train.csv").write_text("filename,emotion\n1.wav,joy\n1.wav,fear\n2.wav,joy\n")
    listing = read("hackerearth", tmp_path)
    assert {clip.emotion for clip in listing.clips if clip.split == "train"} == {"joy"}
    ((place, reason),) = [(item.path, item.reason) for item in listing.quarantined]
    assert place == "train.csv, line 3"
    assert reason == "second row of 1.wav: labelled fear here, joy there"


def test_windows_of_one_recording_have_one_parent(tmp_path, write_noise):
    """1016 and 11315 overlap in the published files; 1 shares its sound with none."""
    for name in ("TestAudioFiles/1016", "TrainAudioFiles/11315", "TrainAudioFiles/1"):
        write_noise(tmp_path / f"{name}.wav")
    (tmp_path / "train.csv").write_text("filename,emotion\n11315.wav,joy\n1.wav,fear\n")
    (tmp_path / "test.csv").write_text("filename\n1016.wav\n")
    parents = {clip.clip_id: clip.parent for clip in read("hackerearth", tmp_path).clips}
    assert parents["TestAudioFiles/1016"] == parents["TrainAudioFiles/11315"] is not None
    assert parents["TrainAudioFiles/1"] is None


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(3000)
def test_recordings_are_what_the_audit_finds(real_data, tmp_path):
    prepare("hackerearth", real_data / "hackerearth", tmp_path / "prepared")
    corpus = PreparedCorpus.load(tmp_path / "prepared")
    sounds = defaultdict(list)
    for clip in corpus.clips:
        sounds[parent_in_name(clip.clip_id) or clip.clip_id].append(clip.audio_sha256)
    # What is rare among fewer clips may be common among all, so each search finds some of its own.
    labelled = corpus.take([n for n, clip in enumerate(corpus.clips) if clip.emotion is not None])
    names = {
        (parent_in_name(c.first) or c.first, parent_in_name(c.second) or c.second)
        for c in (*find_copies(corpus), *find_copies(labelled))
        if c.kind != "possible_split_parent"
    }
    # Files that are equal throughout are one recording without being listed.
    names = {(first, second) for first, second in names if sounds[first] != sounds[second]}
    with RECORDINGS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = [
        tuple(row["clip_id"] for row in rows if row["recording"] == number)
        for number in dict.fromkeys(row["recording"] for row in rows)
    ]
    assert list(connect(names)) == listed
