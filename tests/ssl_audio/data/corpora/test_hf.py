import json
from pathlib import Path

import pytest

from ssl_audio.data.corpora import CORPORA, hf
from ssl_audio.data.prepare import prepare
from ssl_audio.errors import DataError, UserError

NAMES = ["sad", "happy"]


def read(source, **columns):
    return CORPORA["hf"].read(source, columns)


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """The library, with its cache in a temporary folder."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    yield library
    library.enable_progress_bars()


@pytest.fixture
def build(datasets, tmp_path, write_noise):
    """A dataset of some files' bytes, with classes as numbers; the last row is unlabelled."""

    def build(numbers, paths=True):
        contents = [write_noise(tmp_path / f"{n}.wav").read_bytes() for n in numbers]
        columns = {
            "audio": [
                {"bytes": content, "path": f"clips/{n}.wav" if paths else None}
                for n, content in zip(numbers, contents, strict=True)
            ],
            "label": [*(n % 2 for n in numbers[:-1]), -1],
            "who": [f"s{n}" for n in numbers],
        }
        struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
        features = {"label": datasets.ClassLabel(names=NAMES), "who": datasets.Value("string")}
        features = datasets.Features({"audio": struct, **features})
        made = datasets.Dataset.from_dict(columns, features=features)
        return made.cast_column("audio", datasets.Audio())

    return build


def test_a_saved_dataset_with_splits(datasets, build, tmp_path):
    folder = tmp_path / "saved"
    datasets.DatasetDict(train=build([1, 2, 3]), test=build([4, 5])).save_to_disk(folder)
    listing = read(folder, speaker="who")
    facts = {clip.clip_id: (clip.emotion, clip.speaker, clip.split) for clip in listing.clips}
    assert facts == {
        "train/1": ("happy", "s1", "train"),
        "train/2": ("sad", "s2", "train"),
        "train/3": (None, "s3", "train"),
        "test/4": ("sad", "s4", "test"),
        "test/5": (None, "s5", "test"),
    }
    assert listing.notes == () and listing.quarantined == ()
    for clip in listing.clips:
        ((measured, samples),) = listing.decode(clip)
        assert len(samples) == 800 and measured.source_format == "WAV/PCM_16"
        assert measured.source_bytes == 1644
    preparation = prepare("hf", folder, tmp_path / "out")
    assert len(preparation.corpus) == 5


@pytest.mark.parametrize("form", ["parquet", "arrow", "single"])
def test_other_forms_of_a_local_dataset(form, build, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    if form == "parquet":
        build([1, 2, 3]).to_parquet(folder / "train-00000-of-00001.parquet")
    elif form == "single":
        build([1, 2, 3]).save_to_disk(folder)
    else:
        build([1, 2, 3]).save_to_disk(tmp_path / "saved")
        (made,) = (tmp_path / "saved").glob("*.arrow")
        made.rename(folder / "train.arrow")
    listing = read(folder)
    # save_to_disk keeps the files' own names alone.
    prefix = {"parquet": "train/clips/", "arrow": "train/", "single": ""}[form]
    assert [clip.clip_id for clip in listing.clips] == [f"{prefix}{n}" for n in (1, 2, 3)]
    assert [clip.path for clip in listing.clips] == [f"{prefix[:6]}{row}" for row in range(3)]
    assert [clip.emotion for clip in listing.clips] == ["happy", "sad", None]
    ((_, samples),) = listing.decode(listing.clips[2])
    assert len(samples) == 800


def test_rows_without_file_names_are_numbered(build, tmp_path):
    build([1, 2], paths=False).save_to_disk(tmp_path / "saved")
    listing = read(tmp_path / "saved", clip_id="who")
    assert [clip.clip_id for clip in listing.clips] == ["s1", "s2"]
    assert [clip.clip_id for clip in read(tmp_path / "saved").clips] == ["000000", "000001"]


def test_audio_as_paths_and_rows_of_no_use(datasets, tmp_path, write_noise):
    write_noise(tmp_path / "saved" / "a.wav")
    columns = {"wav": ["a.wav", "gone.wav", None], "emotion": [["x"], ["y"], ["z"]]}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match="expected a column of audio, got wav, emotion: .*--map"):
        read(tmp_path / "saved")
    listing = read(tmp_path / "saved", path="wav")
    assert [item.reason for item in listing.quarantined] == [
        "expected text or a number, got a list"
    ] * 3
    first, second, third = read(tmp_path / "saved", path="wav", emotion="wav").clips
    ((_, samples),) = listing.decode(first)
    assert len(samples) == 800
    with pytest.raises(DataError, match="no such file"):
        list(listing.decode(second))
    with pytest.raises(DataError, match="expected an audio file's bytes or path, got neither"):
        list(listing.decode(third))


def test_audio_folders_need_no_dataset(tmp_path, write_noise):
    for part in ("train", "test"):
        for number in (1, 2):
            write_noise(tmp_path / part / "happy" / f"{number}.wav")
    listing = read(tmp_path)
    assert {(clip.clip_id, clip.emotion, clip.split) for clip in listing.clips} == {
        (f"{part}/happy/{number}", "happy", part) for part in ("train", "test") for number in (1, 2)
    }
    for part in ("train", "test"):
        rows = "".join(f"happy/{n}.wav,mood{n}\n" for n in (1, 2))
        (tmp_path / part / "metadata.csv").write_text(f"file_name,label\n{rows}")
    listing = read(tmp_path)
    assert {(clip.clip_id, clip.emotion, clip.split) for clip in listing.clips} == {
        (f"{part}/happy/{n}", f"mood{n}", part) for part in ("train", "test") for n in (1, 2)
    }
    assert len(list(listing.decode(listing.clips[0]))) == 1


def test_a_prepared_corpus_is_no_saved_dataset(tmp_path):
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / name).touch()
    assert hf.is_saved(tmp_path)
    (tmp_path / "corpus.json").touch()
    assert not hf.is_saved(tmp_path)


def test_what_can_not_be_loaded(datasets, tmp_path):
    with pytest.raises(UserError, match="prepare hf needs a SOURCE"):
        read(None)
    with pytest.raises(UserError, match="can't be loaded as a dataset: .* any data files"):
        read(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="can't be loaded as a dataset") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="expected a folder, or NAME or NAME:CONFIGURATION"):
        read(tmp_path / "no" / "such")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    with pytest.raises(UserError, match="can't be loaded as a dataset"):
        read(tmp_path / "saved")


def test_a_name_that_can_not_be_reached(datasets, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = "nobody/nothing can't be loaded as a dataset: Couldn't reach 'nobody/nothing'"
    with pytest.raises(UserError, match=message):
        read(Path("nobody/nothing"))
