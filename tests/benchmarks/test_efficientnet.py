"""ImageNet networks on pictures of sound: the picture, its augmentation, the weights, a row."""

import librosa
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems.base import FeatureCache, LabelledClips, UnlabelledClips
from benchmarks.systems.efficientnet import (
    EfficientNet,
    EfficientNetSettings,
    build_network,
    find_weights,
)
from benchmarks.systems.picture_network import Augmentation, augment
from benchmarks.systems.sound_pictures import sound_picture
from finetune import metrics
from ssl_audio.checkpoint import file_sha256
from ssl_audio.config import build_config
from ssl_audio.errors import ConfigError, UserError

CLASSES = ("high", "low", "mid")
MODEL = "test_efficientnet.r160_in1k"
"""Timm's own small network for tests."""
FAST = {"precision": "float32", "batch_size": 12, "warmup_steps": 2}


@pytest.fixture
def weights(tmp_path):
    """ImageNet-shaped weights in a file, random ones."""
    torch.manual_seed(7)
    path = tmp_path / "mine.safetensors"
    save_file(timm.create_model(MODEL, num_classes=1000).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


def settings(**changes) -> EfficientNetSettings:
    train = {**FAST, "max_steps": 4, **changes.pop("train", {})}
    return build_config(EfficientNetSettings, {"model": MODEL, "train": train, **changes})


def test_pictures_show_pitch_and_time():
    time = np.arange(32_000) / 16_000
    wave = np.round(0.5 * np.sin(2 * np.pi * 440 * time) * 32767).astype(np.int16)
    for channel in ("mel", "stft", "chroma"):
        picture = sound_picture(wave, channel)
        assert (picture.shape, picture.dtype) == ((128, 455), np.uint8)
        assert picture[:, 190:].max() == 0  # 2 s are 181 columns, a window is 4 more
        assert picture[:, 5:170].max() == 255
    mel, stft, chroma = (sound_picture(wave, name)[:, 90] for name in ("mel", "stft", "chroma"))
    bands = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    assert mel.argmax() == np.abs(bands - 440).argmin()
    assert stft.argmax() == 440 // (4 * 16_000 / 1024)
    assert 9 * 128 / 12 <= chroma.argmax() < 10 * 128 / 12  # A, the tenth from C


def test_a_picture_is_of_five_seconds_and_of_levels_relative_to_its_loudest():
    rng = np.random.default_rng(0)
    wave = rng.integers(-9000, 9000, 90_000).astype(np.int16)
    assert np.array_equal(sound_picture(wave, "mel"), sound_picture(wave[:80_000], "mel"))
    quieter = sound_picture((wave // 3).astype(np.int16), "mel").astype(int)
    assert np.abs(quieter - sound_picture(wave, "mel")).max() <= 2
    for channel in ("mel", "stft", "chroma"):
        assert sound_picture(np.zeros(50, np.int16), channel).max() == 0
    with pytest.raises(ValueError, match="mel, chroma or stft, got 'mfcc'"):
        sound_picture(wave, "mfcc")


def test_augmentation_moves_and_hides_but_never_flips():
    keys = torch.arange(200)
    pictures = torch.zeros(200, 2, 128, 455)
    pictures[:, :, 30, 200] = 1.0
    pictures[:, :, 31, 210] = 0.5
    moved = augment(pictures, keys, Augmentation(num_masks=0, shift_columns=23))
    places = moved[:, 0, 30].argmax(1)
    assert torch.equal(moved[:, 0, 31].argmax(1), places + 10)
    shifts = (places - 200).tolist()
    assert min(shifts) < -15 and max(shifts) > 15 and all(-23 <= s <= 23 for s in shifts)
    assert torch.equal(moved[:, 0], moved[:, 1])

    hidden = augment(torch.ones(200, 1, 128, 455), keys, Augmentation(shift_columns=0))[:, 0] == 0
    columns, rows = hidden.all(1).sum(1), hidden.all(2).sum(1)
    assert columns.max() <= 90 and rows.max() <= 32
    assert columns.float().mean() == pytest.approx(45, rel=0.15)
    assert rows.float().mean() == pytest.approx(16, rel=0.15)
    whole = hidden.all(1)[:, None] | hidden.all(2)[:, :, None]
    assert torch.equal(hidden, whole)


def test_augmentation_depends_on_the_key_alone():
    pictures = torch.rand(3, 1, 128, 455)
    keys = torch.tensor([5, 6, 7])
    together = augment(pictures, keys, Augmentation())
    alone = augment(pictures[1:2], keys[1:2], Augmentation())
    assert torch.equal(together[1:2], alone)
    nothing = Augmentation(num_masks=0, shift_columns=0)
    assert torch.equal(augment(pictures, keys, nothing), pictures)


def test_weights_of_a_file_are_in_the_network_but_for_the_last_layer(weights):
    chosen = settings(pretrained=str(weights))
    network = build_network(chosen, 3)
    there = timm.create_model(MODEL, num_classes=1000)
    there.load_state_dict(timm.models.load_state_dict(str(weights)))
    for name, weight in network.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(weight, there.state_dict()[name]), name
    assert network.get_classifier().out_features == 3
    assert EfficientNet.suffix(chosen) == ", test_efficientnet"
    system = EfficientNet(chosen, CLASSES, 0, FeatureCache())
    assert system.weights == f"mine.safetensors {file_sha256(weights)}"
    assert system.pretraining_data == "unknown"


def test_weights_are_found_in_the_caches_and_nowhere_else(weights, tmp_path):
    assert find_weights(settings()) is None
    assert EfficientNet.suffix(settings()) == ", test_efficientnet, random weights"
    revision = tmp_path / "hf" / f"models--timm--{MODEL}" / "snapshots" / "abc"
    revision.mkdir(parents=True)
    (revision.parents[1] / "refs").mkdir()
    (revision.parents[1] / "refs" / "main").write_text("abc")
    (revision / "model.safetensors").write_bytes(weights.read_bytes())
    assert find_weights(settings()) == revision / "model.safetensors"
    assert find_weights(settings(pretrained=True)) == revision / "model.safetensors"
    assert find_weights(settings(pretrained=False)) is None
    system = EfficientNet(settings(), CLASSES, 0, FeatureCache())
    assert system.pretraining_data == "ImageNet-1k (images)"
    assert system.weights == f"{MODEL} {file_sha256(weights)}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "efficientnet_b9.no_such"}, "timm knows no efficientnet_b9.no_such"),
        ({"pretrained": True}, "is not in the local cache, and nothing is downloaded unasked"),
        ({"pretrained": "nowhere.safetensors"}, "nowhere.safetensors is no file"),
    ],
)
def test_what_can_not_run_is_refused_before(changes, message):
    with pytest.raises(UserError, match=message):
        EfficientNet.check(settings(**changes))


def test_a_name_without_a_tag_and_a_seed_are_refused():
    with pytest.raises(ConfigError, match="model: String should match pattern"):
        build_config(EfficientNetSettings, {"model": "efficientnet_b0"})
    with pytest.raises(ConfigError, match="seed must be left out, got 1"):
        settings(train={"seed": 1})


def test_a_file_of_another_network_is_named(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="weights are missing or left over, first"):
        build_network(settings(pretrained=str(path)), 3)
    for name, content in {"text.safetensors": b"hello", "text.pth": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} does not fit test_efficientnet"):
            build_network(settings(pretrained=str(tmp_path / name)), 3)


def test_learns_the_training_clips(tone_corpus):
    """Thirty-six clips of three speakers: enough to see that it learns, too few for new ones."""
    train = LabelledClips(
        tone_corpus.views[:36],
        np.array([CLASSES.index(clip.emotion) for clip in tone_corpus.clips[:36]]),
        tuple(clip.speaker for clip in tone_corpus.clips[:36]),
    )
    chosen = settings(train={"max_steps": 30, "lr": 5e-3}, evaluate_every=30)
    system = EfficientNet(chosen, CLASSES, 0, FeatureCache())
    system.fit(train, train)
    answer = system.predict(UnlabelledClips(train.waveforms))
    assert metrics.uar(metrics.confusion_matrix(train.labels, answer)) > 0.8
    assert system.choices["precision"] == "float32"
    assert system._trained.state.best_value > 0.8


def test_a_row_says_that_its_weights_are_random(tones, tmp_path):
    row = {"settings": {"model": MODEL, "train": {**FAST, "max_steps": 2}}, "reduced": "2 steps"}
    config = BenchmarkConfig(
        corpus=tones,
        folds="tones-3/speakers3",
        fold_numbers=[1],
        systems={"efficientnet": row},
    )
    run_benchmark(config, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.about.system == "ImageNet CNN, test_efficientnet, random weights, reduced"
    assert (result.about.weights, result.about.pretraining_data) == ("", "")
    network = timm.create_model(MODEL, num_classes=3)
    assert result.about.parameters == sum(weight.numel() for weight in network.parameters())
