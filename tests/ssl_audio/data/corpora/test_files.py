import doctest
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_audio.data.corpora import CORPORA, emodb, files, ravdess, tables
from ssl_audio.data.corpora.files import choose_ids
from ssl_audio.errors import DataError, UserError


def read(name, source):
    return CORPORA[name].read(source, {})


def test_docstring_examples():
    assert doctest.testmod(ravdess) == (0, 2)
    assert doctest.testmod(emodb) == (0, 2)
    assert doctest.testmod(files) == (0, 1)
    assert doctest.testmod(tables) == (0, 1)


@pytest.mark.parametrize("name", ["ravdess", "folder", "csv"])
def test_readers_need_a_source_that_exists(name, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read(name, tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs a SOURCE"):
        read(name, None)


@pytest.mark.parametrize("name", ["ravdess", "folder"])
def test_readers_of_folders_refuse_a_file(name, write_noise, tmp_path):
    with pytest.raises(UserError, match="expected a folder"):
        read(name, write_noise(tmp_path / "a.wav"))


def test_symlinked_audio_is_read(tmp_path, write_noise):
    real = write_noise(tmp_path / "store" / "a.wav")
    (tmp_path / "corpus" / "sad").mkdir(parents=True)
    (tmp_path / "corpus" / "sad" / "a.wav").symlink_to(real)
    listing = read("folder", tmp_path / "corpus")
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(DataError, match="no such file"):
        list(listing.decode(listing.clips[0]))
    ((path, reason),) = [
        (item.path, item.reason) for item in read("folder", tmp_path / "corpus").quarantined
    ]
    assert (path, reason) == ("sad/a.wav", "a link that points to nothing")


def test_linked_folders_are_searched_once(tmp_path, write_noise):
    write_noise(tmp_path / "store" / "a.wav")
    (tmp_path / "corpus" / "sad").mkdir(parents=True)
    for name in ("sad/b", "sad/c"):
        (tmp_path / "corpus" / name).symlink_to(tmp_path / "store")
    (tmp_path / "corpus" / "sad" / "up").symlink_to(tmp_path / "corpus")
    write_noise(tmp_path / "corpus" / "sad" / "z.wav")
    clips = {clip.clip_id: clip.emotion for clip in read("folder", tmp_path / "corpus").clips}
    assert clips == {"sad/b/a": "sad", "sad/z": "sad"}


def test_names_that_differ_in_their_ending_alone_keep_it():
    assert choose_ids(["a.wav", "a.mp3", "b.wav", "x/a.wav"]) == {
        "a.wav": "a.wav",
        "a.mp3": "a.mp3",
        "b.wav": "b",
        "x/a.wav": "x/a",
    }
    assert choose_ids(["a.wav", "a.wav.flac"]) == {"a.wav": "a", "a.wav.flac": "a.wav.flac"}


END = ("", ".wav", ".mp3", ".a")


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from([f"{a}{b}{c}" for a in ("a", "b.wav") for b in END for c in END])))
def test_no_two_files_get_one_id(paths):
    assert len(set(choose_ids(paths).values())) == len(paths)
