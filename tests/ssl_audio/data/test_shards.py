import numpy as np
import pyarrow as pa
import pytest

from ssl_audio.data.shards import ShardWriter, open_shard
from ssl_audio.errors import DataError

CLIPS = {name: np.arange(1000 * n, dtype=np.int16) for n, name in enumerate(["a", "b", "ü"], 1)}


def write(path, taken_back=()):
    """Each clip once; before those of some numbers, something is added and taken back."""
    with ShardWriter(path) as shard:
        for number, (name, audio) in enumerate(CLIPS.items()):
            if number in taken_back:
                place = shard.place()
                shard.add("wrong", np.ones(5000, np.int16))
                shard.add("wrong too", np.ones(7, np.int16))
                shard.go_back(place)
            shard.add(name, audio)
    return path


@pytest.mark.parametrize("taken_back", [(), (0,), (1, 2), (0, 1, 2)])
def test_what_is_taken_back_leaves_no_trace(tmp_path, taken_back):
    shard = write(tmp_path / "a.arrow", taken_back)
    rows = open_shard(shard)
    assert [name for name, _ in rows] == list(CLIPS)
    for name, audio in rows:
        np.testing.assert_array_equal(audio, CLIPS[name])
    assert shard.read_bytes() == write(tmp_path / "b.arrow").read_bytes()
    assert pa.ipc.open_stream(shard.read_bytes()).read_all().num_rows == 3


def test_rows_outlive_the_file_s_name(tmp_path):
    rows = open_shard(write(tmp_path / "a.arrow"))
    (tmp_path / "a.arrow").unlink()
    assert all((audio == CLIPS[name]).all() for name, audio in rows)


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_no_shard(tmp_path, content):
    path = tmp_path / "a.arrow"
    whole = write(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DataError, match=r"a.arrow can't be read: .*; prepare the corpus again"):
        open_shard(path)
    with pytest.raises(DataError, match="can't be read: .*No such file"):
        open_shard(tmp_path / "none.arrow")
