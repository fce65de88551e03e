import pytest

from ssl_audio.data.corpora import CORPORA


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
