import pytest

from ssl_audio.data.corpora import guess_corpus
from ssl_audio.errors import UserError


def test_guess_corpus(tmp_path, write_noise, ravdess_names, zip_up):
    for name in ravdess_names([1]):
        write_noise(tmp_path / "ravdess" / f"{name}.wav")
        write_noise(tmp_path / "mixed" / "happy" / f"{name}.wav")
    for number in range(9):
        write_noise(tmp_path / "mixed" / "sad" / f"{number}.wav")
    table = tmp_path / "t.csv"
    table.touch()
    (tmp_path / "zips").mkdir()
    zip_up(tmp_path / "ravdess", tmp_path / "zips" / "Audio_Speech_Actors_01-24.zip")
    assert guess_corpus(tmp_path / "ravdess") == "ravdess"
    assert guess_corpus(tmp_path / "zips") == "ravdess"
    assert guess_corpus(tmp_path / "zips" / "Audio_Speech_Actors_01-24.zip") == "ravdess"
    assert guess_corpus(tmp_path / "mixed") == "folder"
    zip_up(tmp_path / "mixed", tmp_path / "mixed.zip")
    assert guess_corpus(tmp_path / "mixed.zip") == "folder"
    assert guess_corpus(table) == "csv"
    for ending in ("tsv", "jsonl", "PARQUET"):
        table.with_suffix(f".{ending}").touch()
        assert guess_corpus(table.with_suffix(f".{ending}")) == "csv"
    for name in ("03a01Fa", "14b10Nd", "08a02Wc"):
        write_noise(tmp_path / "emo" / "wav" / f"{name}.wav")
    assert guess_corpus(tmp_path / "emo") == "emodb"
    (tmp_path / "competition" / "TestAudioFiles").mkdir(parents=True)
    assert guess_corpus(tmp_path / "competition") == "hackerearth"
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").touch()
    assert guess_corpus(tmp_path / "saved") == "hf"
    with pytest.raises(UserError, match="no such file or folder"):
        guess_corpus(tmp_path / "nowhere")
    with pytest.raises(UserError, match="got another file"):
        guess_corpus(next((tmp_path / "mixed" / "sad").iterdir()))
