import json
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ssl_audio.data.audio import measure
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.sharded import ShardedCorpus, ShardStream
from ssl_audio.data.stream import CropStream
from ssl_audio.draws import draw_keys
from ssl_audio.errors import DataError

CROP_SECONDS = 0.05
SEED = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """53 clips of noise, 20 to 120 ms, in six shards of different sizes."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("sharded")
    audio = [rng.integers(-3000, 3000, length, np.int16) for length in rng.integers(320, 1920, 53)]
    clips = [
        Clip(clip_id=f"clip{number:02d}", path="", **measure(samples))
        for number, samples in enumerate(audio)
    ]
    write_corpus(root, "noise", zip(clips, audio, strict=True), shard_bytes=22_000)
    assert len(list(root.glob("data-*.arrow"))) == 6
    return root


def open_stream(corpus: ShardedCorpus, **settings: int) -> ShardStream:
    chosen = np.arange(2, len(corpus))
    return ShardStream(corpus, chosen, SEED, CROP_SECONDS, batch_size=4, **settings)


def keys_of_pass(corpus: ShardedCorpus, number: int) -> dict[int, int]:
    """Clip by key."""
    clips = torch.arange(len(corpus))
    keys = draw_keys(SEED, torch.full_like(clips, number), clips)
    return dict(zip(keys.tolist(), clips.tolist(), strict=True))


def first_passes(stream: ShardStream, num_workers: int = 0) -> list[tuple[int, bytes]]:
    """Key and audio of every crop of the passes 0 and 1, in the order in which they come."""
    known = keys_of_pass(stream.corpus, 0) | keys_of_pass(stream.corpus, 1)
    rows: list[tuple[int, bytes]] = []
    idle = 0
    for batch in DataLoader(stream, batch_size=None, num_workers=num_workers):
        found = [
            (key, row.numpy().tobytes())
            for key, row in zip(batch["keys"].tolist(), batch["waveform"], strict=True)
            if key in known
        ]
        rows += found
        idle = 0 if found else idle + 1
        if idle > 20:
            return rows
    raise AssertionError("the stream has an end")


def all_crops(corpus: ShardedCorpus, processes: int, num_workers: int) -> Counter:
    rows: Counter = Counter()
    for process in range(processes):
        stream = open_stream(corpus, process=process, num_processes=processes)
        rows.update(first_passes(stream, num_workers))
    return rows


@pytest.mark.parametrize(("processes", "num_workers"), [(1, 0), (2, 0), (5, 0), (9, 0), (2, 2)])
def test_no_clip_is_lost_or_doubled_and_crops_are_those_of_crop_stream(
    folder, processes, num_workers
):
    corpus = ShardedCorpus.open(str(folder))
    rows = all_crops(corpus, processes, num_workers)
    reference = CropStream(PreparedCorpus.load(folder), np.arange(2, 53), SEED, CROP_SECONDS)
    batch = reference.__getitems__(range(2 * 51))
    assert rows == Counter(
        (key, row.numpy().tobytes())
        for key, row in zip(batch["keys"].tolist(), batch["waveform"], strict=True)
    )


def test_order_is_a_function_of_seed_and_readers(folder):
    corpus = ShardedCorpus.open(str(folder))
    stream = open_stream(corpus, process=1, num_processes=2)
    assert first_passes(stream) == first_passes(stream)
    whole = [key for key, _ in first_passes(open_stream(corpus))]
    passes = [[keys_of_pass(corpus, n).get(key) for key in whole] for n in (0, 1)]
    first, second = ([clip for clip in clips if clip is not None] for clips in passes)
    assert sorted(first) == sorted(second) == list(range(2, 53))
    assert first != second and first != sorted(first)
    neighbours = np.abs(np.diff(first)) == 1
    assert neighbours.mean() < 0.3


def test_a_small_buffer_shuffles_less_but_loses_nothing(folder):
    corpus = ShardedCorpus.open(str(folder))
    rows = first_passes(open_stream(corpus, buffer_size=3))
    assert Counter(rows) == Counter(first_passes(open_stream(corpus)))


def test_batches_are_those_of_crop_stream(folder):
    corpus = ShardedCorpus.open(str(folder))
    batch = next(iter(open_stream(corpus)))
    reference = CropStream(PreparedCorpus.load(folder), np.arange(2, 53), SEED, CROP_SECONDS)
    expected = reference.__getitems__([0, 1, 2, 3])
    assert {name: (value.dtype, value.shape) for name, value in batch.items()} == {
        name: (value.dtype, value.shape) for name, value in expected.items()
    }
    lengths = corpus.num_samples[batch["clip_indices"].numpy()]
    assert batch["num_samples"].tolist() == np.minimum(lengths, 800).tolist()


def copy_to(folder: Path, address: str) -> str:
    system, path = fsspec.url_to_fs(address)
    for file in folder.iterdir():
        system.pipe(f"{path}/{file.name}", file.read_bytes())
    return address


def test_any_place_gives_the_same(folder):
    expected = first_passes(open_stream(ShardedCorpus.open(str(folder))))
    for address in (f"file://{folder}", copy_to(folder, "memory://bucket/corpus")):
        assert first_passes(open_stream(ShardedCorpus.open(address))) == expected


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_over_http(folder):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        corpus = ShardedCorpus.open(f"http://127.0.0.1:{server.server_port}")
        expected = first_passes(open_stream(ShardedCorpus.open(str(folder))))
        assert first_passes(open_stream(corpus)) == expected
    finally:
        server.shutdown()
        server.server_close()


def test_a_shard_that_lost_its_end_is_told(folder):
    copy_to(folder, "memory://cut")
    system = fsspec.filesystem("memory")
    name = "/cut/data-00003.arrow"
    whole = system.cat(name)
    stream = open_stream(ShardedCorpus.open("memory://cut"))
    for end in (len(whole) // 2, whole.rindex(b"\xff\xff\xff\xff", 0, len(whole) - 8)):
        system.pipe(name, whole[:end])
        with pytest.raises(DataError, match=r"memory://cut/data-00003.arrow (lacks|can't be read)"):
            first_passes(stream)


def test_shards_of_another_corpus_are_told(folder):
    copy_to(folder, "memory://mixed")
    system = fsspec.filesystem("memory")
    system.copy("/mixed/data-00001.arrow", "/mixed/data-00002.arrow")
    with pytest.raises(DataError, match=r"data-00002.arrow: clip clip\d\d is not the manifest's"):
        first_passes(open_stream(ShardedCorpus.open("memory://mixed")))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere", "memory://nowhere can't be read as a prepared corpus"),
        ("teapot://x", "Protocol not known: teapot"),
        ("s3://bucket/corpus", "s3fs"),
    ],
)
def test_addresses_that_lead_nowhere(address, message):
    if address.startswith("s3"):
        try:
            import s3fs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("s3fs is installed: nothing is missing")
    with pytest.raises(DataError, match=message):
        ShardedCorpus.open(address)


def test_a_corpus_of_an_older_version_is_told(folder):
    copy_to(folder, "memory://older")
    system = fsspec.filesystem("memory")
    about = json.loads(system.cat("/older/corpus.json"))
    del about["clips_per_shard"]
    system.pipe("/older/corpus.json", json.dumps(about).encode())
    with pytest.raises(DataError, match="of an older version; prepare the corpus again"):
        ShardedCorpus.open("memory://older")


def test_nothing_to_draw_from(folder):
    with pytest.raises(DataError, match="no clips to draw from"):
        ShardStream(ShardedCorpus.open(str(folder)), np.array([], int), SEED, CROP_SECONDS, 4)
