"""Features are made once for each content, also across processes, and can be trusted."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.systems import feature_cache
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.logmel_statistics import log_mel_statistics
from benchmarks.systems.mfcc_statistics import mfcc_statistics
from ssl_audio.errors import DataError

CALLS = []
WAVEFORMS = [np.arange(length, dtype=np.int16) for length in (5, 6, 7)]


@pytest.fixture(autouse=True)
def forget_calls():
    CALLS.clear()


def length(waveform, factor):
    CALLS.append(len(waveform))
    return np.array([len(waveform) * factor], dtype=np.float64)


def slow_length(waveform):
    CALLS.append(len(waveform))
    time.sleep(0.02)
    return np.array([len(waveform)], dtype=np.float64)


def fail_at_seven(waveform):
    if len(waveform) == 7:
        raise RuntimeError("seven")
    CALLS.append(len(waveform))
    return np.array([len(waveform)], dtype=np.float64)


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path) -> FeatureCache:
    return FeatureCache(tmp_path if request.param == "disk" else None)


def test_features_are_extracted_once_for_each_content_and_option(cache):
    waveforms = [WAVEFORMS[0], WAVEFORMS[1], WAVEFORMS[0].copy()]
    assert cache.extract(waveforms, length, factor=2).tolist() == [[10], [12], [10]]
    assert CALLS == [5, 5, 6], "the first clip twice: what the first call loads is not timed"
    assert cache.extract(waveforms[::-1], length, factor=2).tolist() == [[10], [12], [10]]
    assert cache.extract(WAVEFORMS, length, factor=2).tolist() == [[10], [12], [14]]
    assert CALLS == [5, 5, 6, 7]
    assert cache.extract(waveforms, length, factor=3).tolist() == [[15], [18], [15]]
    assert len(CALLS) == 7


def test_a_changed_waveform_is_another_clip(cache):
    waveform = np.zeros(4, np.int16)
    first = cache.extract([waveform], log_sum)
    waveform[0] = 9
    assert cache.extract([waveform], log_sum) != first


def log_sum(waveform):
    return np.array([np.log1p(waveform.sum(dtype=np.float64))])


def test_a_later_process_finds_features_of_any_shape_and_type(tmp_path):
    made = FeatureCache(tmp_path).extract(WAVEFORMS, picture)
    CALLS.clear()
    found = FeatureCache(tmp_path).extract(WAVEFORMS[::-1], picture)
    assert not CALLS
    assert found.dtype == np.float32
    assert np.array_equal(found, made[::-1])
    assert found.shape == (3, 2, 4)


def picture(waveform):
    CALLS.append(len(waveform))
    return np.full((2, 4), len(waveform), np.float32)


def test_real_features_come_back_bit_by_bit(tmp_path, tone_corpus):
    waveforms = tone_corpus.views[:3]
    made = FeatureCache(tmp_path).extract(waveforms, mfcc_statistics, num_mfcc=20)
    found = FeatureCache(tmp_path).extract(waveforms, mfcc_statistics, num_mfcc=20)
    assert np.array_equal(made, found)
    assert np.array_equal(found[1], mfcc_statistics(waveforms[1], 20))


@pytest.fixture
def fresh_origins():
    """As in a new process, which reads an extractor's file and versions anew."""
    feature_cache._read_origin.cache_clear()
    yield feature_cache._read_origin.cache_clear
    feature_cache._read_origin.cache_clear()


def test_another_version_of_a_package_makes_its_own_features(tmp_path, monkeypatch, fresh_origins):
    FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)
    fresh_origins()
    monkeypatch.setattr(feature_cache.metadata, "version", lambda name: "0.0.1")
    FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)
    assert len(CALLS) == 8
    assert len(list(tmp_path.iterdir())) == 2


def test_another_text_of_the_extractor_makes_its_own_features(tmp_path, fresh_origins):
    file = tmp_path / "extractor.py"
    found = []
    for factor in (2, 3):
        fresh_origins()
        file.write_text(f"def scale(waveform):\n    return waveform[:1] * {factor}.0\n")
        names = {"__name__": "extractor"}
        exec(compile(file.read_text(), file, "exec"), names)
        features = FeatureCache(tmp_path / "features").extract([WAVEFORMS[0] + 1], names["scale"])
        found.append(features.tolist())
    assert found == [[[2.0]], [[3.0]]]


def test_a_recipe_says_what_made_the_features(tmp_path, tone_corpus):
    FeatureCache(tmp_path).extract(tone_corpus.views[:1], mfcc_statistics, num_mfcc=20)
    (folder,) = tmp_path.iterdir()
    recipe = (folder / "recipe.json").read_text()
    for fact in ('"num_mfcc": 20', "mfcc_statistics.mfcc_statistics", '"librosa": "', '"numpy": "'):
        assert fact in recipe


def test_what_was_made_before_an_error_stays(tmp_path):
    with pytest.raises(RuntimeError, match="seven"):
        FeatureCache(tmp_path).extract(WAVEFORMS, fail_at_seven)
    CALLS.clear()
    FeatureCache(tmp_path).extract(WAVEFORMS[:2], fail_at_seven)
    assert not CALLS


def test_a_process_that_is_killed_leaves_whole_blocks(tmp_path):
    """kill -9 in the middle: what was flushed is found, what was half written is not seen."""
    code = (
        "import os, signal\nimport numpy as np\n"
        "from benchmarks.systems import feature_cache\n"
        "from benchmarks.systems.logmel_statistics import log_mel_statistics\n"
        "feature_cache.FLUSH_BYTES = 1\n"
        f"cache = feature_cache.FeatureCache(feature_cache.Path({str(tmp_path)!r}))\n"
        "clips = [np.arange(900 + n, dtype=np.int16) for n in range(3)]\n"
        "cache.extract(clips[:2], log_mel_statistics, num_mels=8)\n"
        "os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cache.extract(clips, log_mel_statistics, num_mels=8)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob(".*.partial"))) == 1
    assert len(list(folder.glob("*.npy"))) == 2
    clips = [np.arange(900 + number, dtype=np.int16) for number in range(3)]
    cache = FeatureCache(tmp_path)
    with cache.metered() as meter:
        found = cache.extract(clips, log_mel_statistics, num_mels=8)
    assert len(meter.counted) == 3 and meter.spared_seconds > 0
    assert np.array_equal(found[2], log_mel_statistics(clips[2], 8))


def test_a_torn_block_is_named(tmp_path):
    FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)
    (block,) = tmp_path.glob("*/*.npy")
    os.truncate(block, block.stat().st_size - 1)
    with pytest.raises(DataError, match=f"{block.name} is not whole.*delete it"):
        FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)


def test_pickles_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        FeatureCache(tmp_path).extract(WAVEFORMS, give_object)
    FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)
    (block,) = tmp_path.glob("*/*.npy")
    np.save(block, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="not whole"):
        FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)


def give_object(waveform):
    return np.array([{}], object)


def test_little_waits_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "FLUSH_BYTES", 2 * 8)
    FeatureCache(tmp_path).extract(WAVEFORMS, length, factor=2)
    sizes = sorted(len(np.load(path)) for path in tmp_path.glob("*/*.npy"))
    assert sizes == [1, 2]


def test_the_meter_counts_what_features_cost_once(cache):
    with cache.metered() as meter:
        cache.extract(WAVEFORMS, slow_length)
        cache.extract(WAVEFORMS, slow_length)
    assert meter.spared_seconds == 0, "they were made while it ran"
    with cache.metered() as meter:
        cache.extract(WAVEFORMS[:2], slow_length)
        cache.extract(WAVEFORMS[:2], slow_length)
    assert 2 * 0.02 <= meter.spared_seconds < 3 * 0.02 + 0.02


def test_features_of_new_clips_are_made_with_progress(tone_corpus, monkeypatch):
    bars = []

    def watch(items, total, description, unit):
        bars.append((total, description, unit))
        return items

    monkeypatch.setattr(feature_cache, "with_progress", watch)
    cache = FeatureCache()
    for _ in range(2):
        cache.extract(tone_corpus.views[:3], log_mel_statistics, num_mels=8)
    assert bars == [(3, "log mel statistics", "clip"), (0, "log mel statistics", "clip")]
