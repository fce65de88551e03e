import zipfile

import pytest

from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.prepare import prepare
from ssl_audio.errors import UserError


def read(source, **columns):
    return CORPORA["folder"].read(source, columns)


def test_folder_classes_and_unlabelled(tmp_path, write_noise):
    for path in ("happy/a.wav", "happy/deep/b.flac", "sad/a.wav", "loose.wav"):
        write_noise(tmp_path / path)
    clips = {clip.clip_id: clip.emotion for clip in read(tmp_path).clips}
    assert clips == {"happy/a": "happy", "happy/deep/b": "happy", "sad/a": "sad", "loose": None}


TREES = {
    "splits": (
        {"train/happy/a.wav": ("happy", "train"), "Test/sad/x/b.wav": ("sad", "test")},
        "Test, train are parts of the corpus, the classes are the folders in them",
    ),
    "splits and files": (
        {
            "train/happy/a.wav": ("happy", "train"),
            "dev/b.wav": (None, "dev"),
            "c.wav": (None, None),
        },
        "dev, train are parts",
    ),
    "wrapped": (
        {"data/set/happy/a.wav": ("happy", None), "data/set/sad/b.wav": ("sad", None)},
        "the classes are the folders in data/set",
    ),
    "wrapped splits": (
        {"data/train/happy/a.wav": ("happy", "train"), "data/val/sad/b.wav": ("sad", "val")},
        "train, val are parts",
    ),
    "a class called test": (
        {"test/a.wav": ("test", None), "happy/b.wav": ("happy", None)},
        "",
    ),
    "one class": ({"happy/a.wav": ("happy", None), "happy/deep/b.wav": ("happy", None)}, ""),
}


@pytest.mark.parametrize("name", TREES)
def test_folder_finds_the_level_of_the_classes(name, tmp_path, write_noise):
    expected, note = TREES[name]
    for path in expected:
        write_noise(tmp_path / path)
    listing = read(tmp_path)
    assert {clip.path: (clip.emotion, clip.split) for clip in listing.clips} == expected
    assert note in " ".join(listing.notes) and bool(note) == bool(listing.notes)


@pytest.mark.parametrize("name", TREES)
def test_a_zip_is_read_as_the_folder_that_it_holds(name, tmp_path, write_noise, zip_up):
    expected, note = TREES[name]
    for path in expected:
        write_noise(tmp_path / "in" / path)
    zip_up(tmp_path / "in", tmp_path / "set.zip")
    clips, folder = read(tmp_path / "set.zip").clips, read(tmp_path / "in").clips
    assert {clip.path.removeprefix("set.zip::"): (clip.emotion, clip.split) for clip in clips} == (
        expected
    )
    assert [clip.clip_id for clip in clips] == [clip.clip_id for clip in folder]
    assert note in " ".join(read(tmp_path / "set.zip").notes)


def test_a_zip_is_prepared_without_its_unsafe_members(tmp_path, write_noise):
    """Also what Windows packs with backslashes."""
    audio = [write_noise(tmp_path / f"{number}.wav").read_bytes() for number in range(5)]
    names = ("happy/a.wav", "sad\\b.wav", "../c.wav", "/d.wav", "sad/e.wav")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in zip(names, audio, strict=True):
            archive.writestr(name, content)
        archive.writestr("sad/notes.txt", "no audio")
    preparation = prepare("folder", tmp_path / "set.zip", tmp_path / "deep" / "out")
    assert {clip.clip_id: clip.emotion for clip in preparation.corpus.clips} == {
        "happy/a": "happy",
        "sad/b": "sad",
        "sad/e": "sad",
    }
    assert {item.path for item in preparation.quarantined} == {
        "set.zip::../c.wav",
        "set.zip::/d.wav",
    }
    assert all("leads out of the archive" in item.reason for item in preparation.quarantined)
    assert not list(tmp_path.rglob("[c-e].wav"))


def test_what_is_neither_folder_nor_zip(tmp_path):
    (tmp_path / "fake.zip").write_text("no zip")
    with pytest.raises(UserError, match="expected a zip archive"):
        read(tmp_path / "fake.zip")
    with pytest.raises(UserError, match="expected a folder, got a file"):
        read((tmp_path / "fake.zip").rename(tmp_path / "fake.tar"))
