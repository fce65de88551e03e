"""Fine-tuned speech encoders: what learns, what they hear of a clip, a row."""

import copy
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModel

from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems.base import FeatureCache, UnlabelledClips
from benchmarks.systems.speech_backbones import build_backbone
from benchmarks.systems.speech_checkpoint import EncoderChoice, SpeechCheckpoint
from benchmarks.systems.speech_classifier import SpeechClassifier, group_parameters
from benchmarks.systems.tuned_speech_encoder import TunedSpeechEncoder, TunedSpeechEncoderSettings
from finetune import metrics
from finetune.heads import SingleLabelConfig
from ssl_audio.config import build_config
from ssl_audio.errors import ConfigError, UserError
from ssl_audio.probes import build_linear_probe
from tests.benchmarks.speech_checkpoints import (
    CLASSES,
    labelled,
    noise,
    save,
    save_ast,
    save_whisper,
)

QUICK = {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 8, "layerdrop": 0.0}
MASKED = {**QUICK, "attention_mask": True, "feat_extract_norm": "layer"}
"""As of checkpoints that hide padding; normalised over time, a steady tone's channels are all 0."""
FAMILIES = {
    "wav2vec2": lambda folder: save(folder, **MASKED),
    "wav2vec2-group": lambda folder: save(folder, **QUICK),
    "wav2vec2-stable": lambda folder: save(folder, **MASKED, do_stable_layer_norm=True),
    "hubert": lambda folder: save(folder, "Hubert", **MASKED),
    "wavlm": lambda folder: save(folder, "WavLM", **MASKED),
    "data2vec": lambda folder: save(folder, "Data2VecAudio", **MASKED),
    "whisper": lambda folder: save_whisper(folder, seconds=1),
    "ast": lambda folder: save_ast(folder, num_columns=48),
}
FAST = {"precision": "float32", "batch_size": 12, "warmup_steps": 2, "max_steps": 2}
SMALL = {"crop_seconds": 0.3, "evaluate_every": 10}
QUICKLY_TESTED = [
    family
    if family in ("wav2vec2", "wavlm", "ast")
    else pytest.param(family, marks=pytest.mark.slow)
    for family in FAMILIES
]
"""One of each kind always, the others among the slow tests."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a family's checkpoint, made once."""
    root = tmp_path_factory.mktemp("checkpoints")

    def find(family):
        folder = root / family
        return folder if folder.is_dir() else FAMILIES[family](folder)

    return find


FULL = {"kind": "full", "keep_probe": False}


def fitted(folder, corpus, strategy, seed=0, crop_seconds=0.3, **train):
    more = {"crop_seconds": crop_seconds, "train": {**FAST, **train}}
    values = {**SMALL, **more, "encoder": str(folder), "strategy": strategy}
    settings = build_config(TunedSpeechEncoderSettings, values)
    system = TunedSpeechEncoder(settings, CLASSES, seed, FeatureCache())
    system.fit(labelled(corpus, "abc"), labelled(corpus, "d"))
    return system


def weights(system):
    return {name: value.clone() for name, value in system._classifier.state_dict().items()}


def backbone_of(folder):
    model, extractor = SpeechCheckpoint(EncoderChoice(encoder=str(folder))).load("cpu")
    return build_backbone(copy.deepcopy(model), extractor).eval()


def embed(backbone, waveforms):
    with torch.no_grad():
        return backbone(**backbone.listener(waveforms))


@pytest.fixture
def the_last_look_is_the_best(monkeypatch):
    """So that it is seen what training does."""
    monkeypatch.setattr("ssl_audio.measuring._is_best", lambda *_: True)


@pytest.mark.usefixtures("the_last_look_is_the_best")
@pytest.mark.parametrize(
    ("family", "strategy", "lr", "steps"),
    [
        pytest.param(*("wav2vec2", "full", 5e-3, 20), marks=pytest.mark.slow),
        ("wav2vec2-stable", "lora", 1e-2, 20),
        pytest.param(*("hubert", {"layer_decay": 0.9}, 2e-3, 20), marks=pytest.mark.slow),
        ("wavlm", {"layer_decay": 0.9}, 2e-3, 20),
        pytest.param(*("data2vec", {"average_share": 0.1}, 2e-3, 20), marks=pytest.mark.slow),
        ("whisper", {"layer_decay": 1}, 1e-3, 20),
        ("ast", "lora", 5e-3, 30),
    ],
)
def test_learns_to_tell_tones_apart(family, strategy, lr, steps, tone_corpus, checkpoint):
    folder = checkpoint(family)
    system = fitted(folder, tone_corpus, strategy, crop_seconds=None, lr=lr, max_steps=steps)
    clips = labelled(tone_corpus, "abcd")
    answer = system.predict(UnlabelledClips(clips.waveforms))
    assert metrics.uar(metrics.confusion_matrix(clips.labels, answer)) > 0.85
    assert (system.notes, system.choices["precision"]) == ((), "float32")


@pytest.mark.parametrize("family", QUICKLY_TESTED)
def test_full_changes_every_layer_and_leaves_the_convolutions(family, tone_corpus, checkpoint):
    folder = checkpoint(family)
    before = backbone_of(folder).model.state_dict()
    backbone = fitted(folder, tone_corpus, FULL)._classifier.backbone
    after = backbone.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("feature_extractor.") for name in changed)
    in_layers = {id(weight) for layer in backbone.layers for weight in layer.parameters()}
    named = backbone.model.named_parameters()
    assert {name for name, weight in named if id(weight) in in_layers} <= changed


@pytest.mark.usefixtures("the_last_look_is_the_best")
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_changes_all_its_adapters_and_the_head_and_nothing_else(
    family, tone_corpus, checkpoint
):
    """Beside WavLM's projections, which it never calls, they would stay as they are."""
    folder = checkpoint(family)
    before = backbone_of(folder).model.state_dict()
    system = fitted(folder, tone_corpus, {"kind": "lora", "rank": 2}, lr=1e-2)
    after = {
        name.removeprefix("backbone.model.").replace(".base_layer", ""): value
        for name, value in weights(system).items()
    }
    assert all(torch.equal(after[name], value) for name, value in before.items())
    adapters = {name: value for name, value in after.items() if name.endswith("default.weight")}
    assert len(adapters) == 2 * 2 * (2 if family == "wavlm" else 4)
    assert all(value.any() for value in adapters.values())
    assert set(after) - set(before) - set(adapters) == {
        *("head.linear.weight", "head.linear.bias", "head.norm.num_batches_tracked"),
        *("head.norm.running_mean", "head.norm.running_var"),
    }


@pytest.mark.parametrize("strategy", ["full", "head_first", {"kind": "lora", "rank": 2}])
def test_it_begins_as_the_probe_and_keeps_it_where_nothing_is_better(
    strategy, tone_corpus, checkpoint
):
    """A learning rate of next to nothing changes nothing, so the first look stays the best."""
    folder = checkpoint("hubert")
    system = fitted(folder, tone_corpus, strategy, lr=1e-12)
    train, test = (labelled(tone_corpus, speakers) for speakers in ("abc", "ef"))
    embedded = [
        torch.cat([embed(backbone_of(folder), [one]) for one in part.waveforms]).numpy()
        for part in (train, test)
    ]
    probe = build_linear_probe().fit(embedded[0], train.labels)
    found = system.predict(UnlabelledClips(test.waveforms))
    assert np.abs(found - probe.predict_proba(embedded[1])).max() < 1e-3
    assert system._trained.state.best_step == 0


def test_random_weights_have_no_probe_to_keep(tone_corpus, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("benchmarks.systems.tuned_speech_encoder.fit_head", refuse)
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "conv_dim": 16}
    values = {**SMALL, "pretrained": False, "random": shape, "train": FAST}
    settings = build_config(TunedSpeechEncoderSettings, values)
    system = TunedSpeechEncoder(settings, CLASSES, 0, FeatureCache())
    system.fit(labelled(tone_corpus, "abc"), labelled(tone_corpus, "d"))
    assert system._trained.state.best_step == 2


def test_what_is_kept_is_the_average_where_it_is_asked_for(tone_corpus, checkpoint):
    """Of two steps' weights, the first of which the formula gives 9/11 and the second 6/11 more."""
    folder = checkpoint("wav2vec2")
    backbone = backbone_of(folder)
    torch.manual_seed(0)
    start = SpeechClassifier(backbone, CLASSES, SingleLabelConfig()).state_dict()
    whole = {"lr": 1e-3, "warmup_steps": 0, "final_lr": 1.0}
    once, twice = (
        weights(fitted(folder, tone_corpus, FULL, **whole, max_steps=steps)) for steps in (1, 2)
    )
    average = weights(fitted(folder, tone_corpus, {**FULL, "average_share": 0.9}, **whole))
    decays = [min(1 - 1 / 1.8, (1 + step) / (10 + step)) for step in (1, 2)]
    for name in ("head.linear.weight", "backbone.model.encoder.layers.1.attention.q_proj.weight"):
        slow = start[name]
        for decay, now in zip(decays, (once[name], twice[name]), strict=True):
            slow = decay * slow + (1 - decay) * now
        assert torch.allclose(average[name], slow, atol=1e-6)
        assert not torch.allclose(average[name], twice[name], atol=1e-5)


def test_learning_rates_fall_from_the_head_down(checkpoint):
    folder = checkpoint("wav2vec2-stable")
    classifier = SpeechClassifier(backbone_of(folder), CLASSES, SingleLabelConfig())
    groups = group_parameters(classifier, weight_decay=0.1, layer_decay=0.5)
    rates = {id(weight): group["lr_scale"] for group in groups for weight in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups)
    for name, weight in classifier.named_parameters():
        if name.startswith("backbone.model.feature_extractor"):
            assert id(weight) not in rates
        elif name.startswith(("head.", "backbone.model.encoder.layer_norm")):
            assert rates[id(weight)] == 1
        elif name.startswith("backbone.model.encoder.layers"):
            assert rates[id(weight)] == (0.5 if ".layers.1." in name else 0.25)
        else:
            assert rates[id(weight)] == 0.125


def test_equal_seeds_give_equal_answers_whatever_numpy_does(tone_corpus, tmp_path, monkeypatch):
    """transformers draws SpecAugment's masks from NumPy's global state."""
    masks = {"mask_time_prob": 0.5, "mask_feature_prob": 0.5, "mask_time_length": 2}
    folder = save(tmp_path / "tiny", **{**MASKED, "layerdrop": 0.2}, **masks)

    def refuse(*_, **__):
        raise AssertionError("drawn from a global state")

    for name in ("choice", "rand", "random", "randint"):
        monkeypatch.setattr(np.random, name, refuse)
    first, again, other = (fitted(folder, tone_corpus, FULL, seed) for seed in (4, 4, 5))
    clips = UnlabelledClips(labelled(tone_corpus, "e").waveforms)
    assert np.array_equal(first.predict(clips), again.predict(clips))
    assert np.abs(first.predict(clips) - other.predict(clips)).max() > 1e-4


@pytest.mark.parametrize(
    "family", ["wav2vec2", "wav2vec2-stable", "hubert", "wavlm", "whisper", "ast"]
)
def test_padding_changes_nothing_where_the_model_hides_it(family, checkpoint):
    backbone = backbone_of(checkpoint(family))
    waveforms = [noise(9000), noise(1280), noise(4321), noise(50)]
    together = embed(backbone, waveforms)
    alone = torch.cat([embed(backbone, [waveform]) for waveform in waveforms])
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_model_that_never_saw_a_mask_gets_none(tmp_path):
    backbone = backbone_of(save(tmp_path / "tiny", attention_mask=False, **QUICK))
    given = []
    backbone.model.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["attention_mask"]), with_kwargs=True
    )
    embed(backbone, [noise(9000), noise(4000)])
    assert given == [None]


def test_each_crop_is_normalised_over_its_true_length(checkpoint):
    backbone = backbone_of(checkpoint("wav2vec2"))
    batch = backbone.listener([noise(9000) + np.int16(500), noise(3000, level=1000)])
    assert batch["num_samples"].tolist() == [9000, 3000]
    for values, length in zip(batch["values"], batch["num_samples"], strict=True):
        assert abs(values[:length].mean()) < 1e-5
        assert values[:length].std().item() == pytest.approx(1, abs=1e-3)
        assert not values[length:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_frames_are_those_of_the_clip_itself(family, checkpoint):
    backbone = backbone_of(checkpoint(family))
    for num_samples in (400, 719, 720, 1280, 1840, 7777):
        if family == "whisper":
            wanted = sum(320 * frame < num_samples for frame in range(50))
        elif family == "ast":
            columns = sum(start + 400 <= num_samples for start in range(0, num_samples, 160))
            wanted = sum(10 * patch < columns for patch in range(4))
        else:
            batch = backbone.listener([noise(num_samples)])
            with torch.no_grad():
                wanted = backbone.hear(batch["values"], batch["num_samples"]).shape[1]
        assert backbone.count_frames(torch.tensor([num_samples])).tolist() == [wanted]


@pytest.mark.parametrize(("family", "window"), [("whisper", 16_000), ("ast", 400 + 47 * 160)])
def test_long_clips_are_heard_in_parts_whose_frames_count_alike(family, window, checkpoint):
    backbone = backbone_of(checkpoint(family))
    assert backbone.window == window
    clip = noise(2 * window + 4000)
    parts = [clip[:window], clip[window : 2 * window], clip[2 * window :]]
    counts = backbone.count_frames(torch.tensor([len(part) for part in parts]))
    wanted = (embed(backbone, parts) * counts[:, None]).sum(0) / counts.sum()
    found = embed(backbone, [noise(3000), clip, noise(1000)])
    assert torch.allclose(found[1], wanted, atol=1e-5)
    assert torch.allclose(found[2], embed(backbone, [noise(1000)])[0], atol=1e-5)


def test_audio_spectrogram_transformers_are_averaged_over_the_clip_alone(checkpoint):
    """Patches lie frequency by frequency, after two tokens."""
    folder = checkpoint("ast")
    backbone = backbone_of(folder)
    inputs = backbone.listener([noise(3000)])["values"]
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(folder).eval()(inputs).last_hidden_state[0, 2:]
    assert len(tokens) == 12 * 4
    own = [tokens[4 * row + column] for row in range(12) for column in range(2)]
    assert torch.allclose(embed(backbone, [noise(3000)])[0], torch.stack(own).mean(0), atol=1e-5)


@pytest.mark.parametrize("family", QUICKLY_TESTED)
def test_very_short_long_and_silent_clips_have_answers(family, checkpoint):
    backbone = backbone_of(checkpoint(family))
    classifier = SpeechClassifier(backbone, CLASSES, SingleLabelConfig()).eval()
    clips = [noise(1280), noise(41 * 16_000), noise(50), np.zeros(8000, np.int16)]
    answer = classifier.judge(clips)
    assert answer.shape == (4, 3) and np.allclose(answer.sum(axis=1), 1)


def test_gradient_checkpointing_learns_the_same(tone_corpus, checkpoint):
    folder = checkpoint("wav2vec2")
    plain, saving = (
        weights(fitted(folder, tone_corpus, FULL, gradient_checkpointing=on))
        for on in (False, True)
    )
    assert all(torch.allclose(plain[name], saving[name], atol=1e-6) for name in plain)


def test_precision_is_a_choice(tone_corpus, checkpoint):
    folder = checkpoint("wavlm")
    halves, floats = (
        fitted(folder, tone_corpus, FULL, precision=precision)
        for precision in ("bfloat16", "float32")
    )
    assert halves.choices["precision"] == "bfloat16"
    clips = UnlabelledClips(labelled(tone_corpus, "e").waveforms)
    assert 0 < np.abs(halves.predict(clips) - floats.predict(clips)).max() < 0.05


def test_fitting_leaves_what_others_loaded_as_it_was(tone_corpus, checkpoint):
    folder = checkpoint("hubert")
    model, _ = SpeechCheckpoint(EncoderChoice(encoder=str(folder))).load("cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fitted(folder, tone_corpus, "lora", lr=1e-2)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_row_names_encoder_strategy_and_weights(tones, tmp_path):
    folder = save(tmp_path / "tiny-hubert", "Hubert", **MASKED)
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "conv_dim": 16}
    small = {**SMALL, "train": FAST}
    rows = {
        "real": {"encoder": str(folder), "pretrained": True, "strategy": "lora", **small},
        "random": {"pretrained": False, "random": shape, **small},
    }
    systems = {
        name: {"system": "wav2vec2_tuned", "settings": values} for name, values in rows.items()
    }
    config = BenchmarkConfig(
        corpus=tones, folds="tones-3/speakers3", fold_numbers=[1], systems=systems
    )
    run_benchmark(config, tmp_path / "out")
    by_name = {result.about.system: result.about for result in load_results(tmp_path / "out")}
    real = by_name["Fine-tuned speech encoder, tiny-hubert, LoRA"]
    assert real.weights.startswith("tiny-hubert ") and real.pretraining_data == "unknown"
    random = by_name["Fine-tuned speech encoder, wav2vec2 of 2 x 32, full, random weights"]
    assert (random.weights, random.pretraining_data) == ("", "")
    head, adapters = 32 * 3 + 3, 2 * 4 * 2 * 8 * 32
    assert real.parameters == AutoModel.from_pretrained(folder).num_parameters() + head + adapters


def test_a_run_that_was_cut_says_so(tone_corpus, checkpoint):
    folder = checkpoint("wav2vec2")
    system = fitted(folder, tone_corpus, FULL, max_steps=50, max_seconds=0.001)
    assert system.notes == ("budget cut at step 1 of 50",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategy": "frozen"}, "strategy: .*frozen leaves the encoder as it is: that is the"),
        ({"strategy": "probe"}, "strategy: .*one of full, head_first, lora"),
        ({"strategy": "slow"}, "strategy: .*'slow'"),
        ({"train": {"seed": 3}}, "seed must be left out, got 3"),
        ({"train": {"compile": True}}, "train.compile: .*got True"),
        ({"train": {"attention": "eager"}}, "train.attention: .*got 'eager'"),
        ({"train": {"batch_size": 1}}, "train.batch_size: .*greater than or equal to 2"),
        ({"crop_seconds": 31}, "crop_seconds: .*less than or equal to 30"),
        ({"head": "multilabel"}, "head.*'multilabel'"),
    ],
)
def test_settings_that_can_not_be_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        build_config(TunedSpeechEncoderSettings, values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "UniSpeech"}, "a unispeech can't be fine-tuned here: take one of wav2vec2, hub"),
        ({"add_adapter": True}, "this wav2vec2 has an adapter after its layers"),
    ],
)
def test_encoders_that_can_not_be_fine_tuned_are_refused_before(changes, message, tmp_path):
    settings = TunedSpeechEncoderSettings(encoder=str(save(tmp_path / "tiny", **changes)))
    with pytest.raises(UserError, match=message):
        TunedSpeechEncoder.check(settings)


def test_lora_without_peft_is_refused_before(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    settings = build_config(TunedSpeechEncoderSettings, {"strategy": "lora", "pretrained": False})
    with pytest.raises(UserError, match=r"pip install 'ssl-audio\[lora\]'"):
        TunedSpeechEncoder.check(settings)
