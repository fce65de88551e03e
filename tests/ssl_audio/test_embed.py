import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_audio.build import save_encoder
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.embed import embed
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from ssl_audio.objectives.base import to_float


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    shape = AudioEncoderConfig(hidden_size=24, num_attention_heads=2, num_hidden_layers=2)
    output = tmp_path_factory.mktemp("encoder")
    save_encoder(AudioEncoder(shape), output)
    return output


def test_table_and_maps_of_a_corpus(prepared: Path, encoder: Path, tmp_path: Path) -> None:
    written = embed(encoder, prepared, tmp_path / "out" / "clips.parquet")
    assert [path.name for path in written] == [
        "clips.parquet",
        "clips.emotion.png",
        "clips.gender.png",
        "clips.speaker.png",
    ]
    for picture in written[1:]:
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    table = pq.read_table(written[0])
    corpus = PreparedCorpus.load(prepared)
    assert table.column_names == ["clip_id", "path", "speaker", "gender", "emotion", "embedding"]
    assert table["clip_id"].to_pylist() == [clip.clip_id for clip in corpus.clips]
    model = AudioEncoder.from_pretrained(encoder).eval()
    for row in (0, 17):
        waveform = to_float(torch.from_numpy(np.array(corpus.views[row]))[None])
        expected = model.embed(waveform)[0].numpy()
        np.testing.assert_allclose(table["embedding"][row].as_py(), expected, atol=1e-5)


def test_a_folder_of_audio_without_labels_has_no_maps(
    encoder: Path, write_noise, tmp_path: Path
) -> None:
    for number in range(5):
        write_noise(tmp_path / "audio" / f"clip{number}.wav", seconds=0.5)
    written = embed(encoder, tmp_path / "audio", tmp_path / "clips.parquet")
    assert [path.name for path in written] == ["clips.parquet"]
    assert pq.read_table(written[0]).num_rows == 5


def test_mistakes_are_one_line(prepared: Path, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be a \.parquet file, got .*clips\.csv"):
        embed(encoder, prepared, tmp_path / "clips.csv")
    with pytest.raises(UserError, match="holds no model"):
        embed(tmp_path, prepared, tmp_path / "clips.parquet")
    with pytest.raises(UserError, match="there is no such file"):
        embed(encoder, tmp_path / "absent", tmp_path / "clips.parquet")
    manifest = tmp_path / "alone"
    manifest.mkdir()
    shutil.copy(prepared / "manifest.parquet", manifest)
    with pytest.raises(UserError, match="holds no audio"):
        embed(encoder, manifest, tmp_path / "clips.parquet")
