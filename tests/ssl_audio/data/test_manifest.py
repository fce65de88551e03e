import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_audio.data.manifest import SCHEMA, Clip, read_manifest, write_manifest
from ssl_audio.errors import DataError

CLIP = Clip(clip_id="a", path="a.wav", speaker="1", num_samples=5, source_bytes=54)


def test_what_is_written_is_read(tmp_path):
    write_manifest([CLIP], tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet") == [CLIP]


def test_a_manifest_of_before_lacks_a_column(tmp_path):
    write_manifest([CLIP], tmp_path / "m.parquet")
    older = pq.read_table(tmp_path / "m.parquet").drop_columns(["source_bytes"])
    pq.write_table(older, tmp_path / "older.parquet")
    (clip,) = read_manifest(tmp_path / "older.parquet")
    assert (clip.speaker, clip.num_samples, clip.source_bytes) == ("1", 5, None)


@pytest.mark.parametrize(
    ("columns", "odd"),
    [({"path": ["a.wav"]}, "clip_id"), ({"clip_id": ["a"], "path": ["a"], "mood": ["b"]}, "mood")],
)
def test_other_columns_are_refused(tmp_path, columns, odd):
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    with pytest.raises(DataError, match=f"missing or unknown columns {odd}$"):
        read_manifest(tmp_path / "m.parquet")
    assert odd in SCHEMA.names or odd == "mood"
