"""Frozen speech encoders: features as the checkpoint wants them, layers, weights, a row."""

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel

from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems.base import FeatureCache, UnlabelledClips
from benchmarks.systems.layer_head import LayerHead
from benchmarks.systems.speech_checkpoint import find_encoder, hash_weights
from benchmarks.systems.speech_features import (
    build_random,
    load_encoder,
    pretrained_layer_means,
    random_layer_means,
)
from benchmarks.systems.wav2vec2 import FrozenSpeechEncoder, SpeechEncoderSettings
from finetune import metrics
from ssl_audio.checkpoint import file_sha256
from ssl_audio.config import build_config
from ssl_audio.errors import ConfigError, UserError
from tests.benchmarks.speech_checkpoints import (
    CLASSES,
    KINDS,
    labelled,
    noise,
    save,
    save_ast,
    save_whisper,
)

FAST = {"batch_size": 12, "warmup_steps": 2, "max_steps": 40}
SMALL_RANDOM = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "conv_dim": 16}


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))


def means(folder, waveform):
    return pretrained_layer_means(waveform, str(folder), hash_weights(folder), "float32", "cpu")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("do_normalize", [True, False])
def test_features_are_means_over_time_of_every_layer(kind, do_normalize, tmp_path):
    """Against transformers itself, with the clip normalised by hand."""
    folder = save(tmp_path / kind, kind, do_normalize, attention_mask=not do_normalize)
    waveform = noise(9000)
    found = means(folder, waveform)
    samples = torch.from_numpy(waveform.astype(np.float32) / 32768)
    if do_normalize:
        samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder).eval()
        states = model(samples[None], output_hidden_states=True).hidden_states
    assert found.shape == (3, 32)
    expected = torch.stack([state[0].mean(0) for state in states]).numpy()
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("do_normalize", [True, False])
def test_the_checkpoint_decides_whether_its_input_is_normalised(do_normalize, tmp_path):
    folder = save(tmp_path / "tiny", do_normalize=do_normalize, attention_mask=True)
    model, _ = load_encoder(str(folder), hash_weights(folder), "cpu")
    given = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs), with_kwargs=True
    )
    means(folder, noise(9000) + 500)
    hook.remove()
    (values,) = (kwargs["input_values"] for kwargs in given)
    mean, std = (0.0, 1.0) if do_normalize else (500 / 32768, 3000 / 32768)
    assert values.mean().item() == pytest.approx(mean, abs=0.003)
    assert values.std().item() == pytest.approx(std, rel=0.03)


def test_a_clip_by_itself_needs_no_attention_mask(tmp_path):
    folder = save(tmp_path / "tiny")
    samples = torch.randn(1, 9000)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        bare = model(samples).last_hidden_state
        masked = model(samples, attention_mask=torch.ones(1, 9000, dtype=torch.long))
    assert torch.allclose(bare, masked.last_hidden_state, atol=1e-5)


def test_whisper_is_averaged_over_the_clip_and_not_over_its_padding(tmp_path):
    folder = save_whisper(tmp_path / "whisper")
    waveform = noise(16_000)
    found = means(folder, waveform)
    extractor = transformers.WhisperFeatureExtractor()
    inputs = extractor(waveform / 32768, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        encoder = AutoModel.from_pretrained(folder).eval().get_encoder()
        states = encoder(**inputs, output_hidden_states=True).hidden_states
    assert states[0].shape[1] == 1500
    expected = torch.stack([state[0, :50].mean(0) for state in states]).numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_audio_spectrogram_transformers_work_too(tmp_path):
    found = means(save_ast(tmp_path / "ast"), noise(9000))
    assert found.shape == (3, 32) and np.isfinite(found).all()


def test_short_clips_and_silence_have_features(tmp_path):
    folder = save(tmp_path / "tiny")
    for waveform in (noise(50), np.zeros(50, np.int16), np.zeros(20_000, np.int16)):
        assert np.isfinite(means(folder, waveform)).all()


def test_random_weights_are_the_same_everywhere_and_leave_the_seed_alone():
    how = {**SMALL_RANDOM, "precision": "float32", "device": "cpu"}
    torch.manual_seed(1)
    first = random_layer_means(noise(5000), **how)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    build_random.cache_clear()
    assert np.array_equal(first, random_layer_means(noise(5000), **how))
    half = random_layer_means(noise(5000), **{**how, "precision": "bfloat16"})
    assert 0 < np.abs(half - first).max() < 0.1


def test_the_mixture_starts_even_and_is_of_scaled_layers():
    rng = np.random.default_rng(0)
    features = rng.normal([[1.0], [5.0]], [[1.0], [9.0]], (50, 2, 4)).astype(np.float32)
    head = LayerHead(features, 3, 8, 0.0).eval()
    scaled = (features - features.mean(0)) / features.std(0)
    mixed = torch.from_numpy(scaled.mean(1))
    with torch.no_grad():
        expected = head.output(torch.relu(head.hidden(mixed)))
        found = head.classify(torch.from_numpy(features))
    assert torch.allclose(found, expected, atol=1e-4)
    assert np.allclose(head.judge(features).sum(axis=1), 1)


@pytest.mark.parametrize("layers", ["last", "weighted", "chosen"])
def test_tells_tones_apart_by_any_choice_of_layers(layers, tone_corpus, tmp_path):
    # Normalised over time, each channel of a steady tone would have the mean 0.
    folder = save(tmp_path / "tiny", feat_extract_norm="layer")
    settings = build_config(
        SpeechEncoderSettings,
        {"encoder": str(folder), "layers": layers, "train": {**FAST, "lr": 1e-2}},
    )
    system = FrozenSpeechEncoder(settings, CLASSES, 0, FeatureCache())
    train = labelled(tone_corpus, "abc")
    system.fit(train, labelled(tone_corpus, "d"))
    for clips, least in ((train, 0.9), (labelled(tone_corpus, "ef"), 0.5)):
        answer = system.predict(UnlabelledClips(clips.waveforms))
        assert metrics.uar(metrics.confusion_matrix(clips.labels, answer)) > least
    assert len(system._layers) == (3 if layers == "weighted" else 1)
    assert bool(system.notes) == (layers == "chosen")
    assert system.choices["precision"] == "float32"


def test_the_layer_is_chosen_by_validation(tone_corpus, tmp_path, monkeypatch):
    """Only the middle layer carries anything."""
    folder = save(tmp_path / "tiny", feat_extract_norm="layer")
    settings = build_config(
        SpeechEncoderSettings, {"encoder": str(folder), "layers": "chosen", "train": FAST}
    )
    system = FrozenSpeechEncoder(settings, CLASSES, 0, FeatureCache())
    whole = system._features

    def hide(waveforms):
        features = whole(waveforms).copy()
        rng = np.random.default_rng(np.abs(waveforms[0][:50].astype(int)))
        features[:, [0, 2]] = rng.normal(size=(len(features), 2, 32))
        return features

    monkeypatch.setattr(system, "_features", hide)
    system.fit(labelled(tone_corpus, "abc"), labelled(tone_corpus, "d"))
    assert system.notes == ("layer 1 chosen",)


def test_learns_from_fewer_clips_to_save_time(tone_corpus):
    settings = build_config(
        SpeechEncoderSettings,
        {"random": SMALL_RANDOM, "max_training_clips": 20, "train": FAST},
    )
    system = FrozenSpeechEncoder(settings, CLASSES, 5, FeatureCache())
    train = labelled(tone_corpus, "abc")
    fewer = system._thin(train)
    assert len(fewer.labels) == len(fewer.waveforms) == len(fewer.speakers) == 20
    whole = {
        (waveform.tobytes(), label)
        for waveform, label in zip(train.waveforms, train.labels, strict=True)
    }
    for waveform, label in zip(fewer.waveforms, fewer.labels, strict=True):
        assert (waveform.tobytes(), label) in whole
    assert fewer.labels.tolist() == system._thin(train).labels.tolist()
    assert system._thin(fewer) is fewer


def test_a_row_names_its_encoder_and_weights(tones, tmp_path):
    folder = save(tmp_path / "tiny-wav2vec2")
    rows = {
        "real": {
            "system": "wav2vec2",
            "settings": {"encoder": str(folder), "pretrained": True, "train": FAST},
        },
        "random": {
            "system": "wav2vec2",
            "settings": {"layers": "weighted", "random": SMALL_RANDOM, "train": FAST},
        },
    }
    config = BenchmarkConfig(
        corpus=tones, folds="tones-3/speakers3", fold_numbers=[1], systems=rows
    )
    run_benchmark(config, tmp_path / "out")
    by_name = {result.about.system: result.about for result in load_results(tmp_path / "out")}
    real = by_name["Frozen speech encoder, tiny-wav2vec2, last layer"]
    assert real.weights == f"tiny-wav2vec2 {file_sha256(folder / 'model.safetensors')}"
    assert real.pretraining_data == "unknown"
    random = by_name["Frozen speech encoder, wav2vec2 of 2 x 32, weighted layers, random weights"]
    assert (random.weights, random.pretraining_data) == ("", "")
    model = AutoModel.from_pretrained(folder)
    head = 32 * 256 + 256 + 256 * 3 + 3 + 1
    assert real.parameters == model.num_parameters() + head
    assert real.real_time_factor > 0


def test_encoders_are_found_in_the_cache_and_nothing_is_downloaded(tmp_path, monkeypatch):
    settings = build_config(SpeechEncoderSettings, {})
    assert find_encoder(settings) is None
    snapshot = tmp_path / "hf" / "models--facebook--wav2vec2-base" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    save(snapshot)
    assert find_encoder(settings) == snapshot
    FrozenSpeechEncoder.check(settings)
    assert FrozenSpeechEncoder.suffix(settings) == ", wav2vec2-base, last layer"
    system = FrozenSpeechEncoder(settings, CLASSES, 0, FeatureCache())
    assert system.pretraining_data == "LibriSpeech 960 h"
    never = build_config(SpeechEncoderSettings, {"pretrained": False})
    assert find_encoder(never) is None
    (snapshot / "model.safetensors").unlink()
    assert find_encoder(settings) is None


def test_weights_in_several_files_have_one_hash(tmp_path):
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(bytes([number]))
    both = hash_weights(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"other")
    assert len(both) == 64 and hash_weights(tmp_path) != both


@pytest.mark.parametrize("what", ["absent", "empty", "broken", "lacking", "rate"])
def test_what_can_not_run_is_refused_before(what, tmp_path):
    folder = save(tmp_path / "tiny")
    chosen = {"encoder": str(folder), "pretrained": True}
    messages = {
        "absent": "no/such is not in the local cache, and nothing is downloaded unasked",
        "empty": "holds no config.json with weights",
        "broken": "can't be loaded as a speech encoder",
        "lacking": "lacks 1 weights, first encoder.layers.1",
        "rate": "wants 8000 Hz, the clips have 16000",
    }
    if what == "absent":
        chosen["encoder"] = "no/such"
    elif what == "empty":
        (folder / "config.json").unlink()
    elif what == "broken":
        (folder / "model.safetensors").write_bytes(b"no weights")
    elif what == "lacking":
        model = AutoModel.from_pretrained(folder)
        weights = model.state_dict()
        del weights["encoder.layers.1.attention.k_proj.weight"]
        model.save_pretrained(folder, state_dict=weights)
    else:
        transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(folder)
    with pytest.raises(UserError, match=messages[what]):
        FrozenSpeechEncoder.check(build_config(SpeechEncoderSettings, chosen))


def test_a_seed_is_refused():
    with pytest.raises(ConfigError, match="seed must be left out, got 2"):
        build_config(SpeechEncoderSettings, {"train": {"seed": 2}})
