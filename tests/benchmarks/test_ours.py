"""Our encoder as a row of the table: where its weights come from, what they saw, what is learnt."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems.base import FeatureCache, LabelledClips, UnlabelledClips
from benchmarks.systems.ours import Ours, OursSettings
from finetune import metrics
from ssl_audio.checkpoint import file_sha256
from ssl_audio.config import build_config, load_config
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.encoder_config import SIZES
from ssl_audio.errors import UserError
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.conftest import SMALL

pytestmark = pytest.mark.usefixtures("small_tiny")

TONES = "tones-3/speakers3"
CLASSES = ("high", "low", "mid")
FAST = {"precision": "float32", "attention": "eager", "batch_size": 12, "warmup_steps": 2}
SETTINGS = {"train": {**FAST, "max_steps": 6}, "crop_seconds": 0.3, "evaluate_every": 3}


@pytest.fixture(scope="module")
def encoders(tones, tmp_path_factory):
    """Pretrained on the training clips of fold 1, and on all clips."""
    root = tmp_path_factory.mktemp("encoders")
    steps = ["train.max_steps=2", "train.batch_size=4", "train.warmup_steps=1"]
    fast = ["train.precision=float32", "train.attention=eager", "data.crop_seconds=0.3"]
    for name, more in {"inductive": [f"data.folds={TONES}"], "transductive": []}.items():
        items = [f"data.corpus={tones}", *steps, *fast, *more]
        pretrain(load_config(PretrainConfig, None, items), root / name)
    return root


def configure(corpus, settings) -> BenchmarkConfig:
    config = BenchmarkConfig.model_validate(
        {
            "corpus": corpus,
            "folds": TONES,
            "fold_numbers": [1],
            "systems": {"ours": {"settings": settings}},
        }
    )
    return config


def parts(corpus: PreparedCorpus):
    def take(speakers):
        chosen = [i for i, clip in enumerate(corpus.clips) if clip.speaker in speakers]
        return LabelledClips(
            [corpus.views[i] for i in chosen],
            np.array([CLASSES.index(corpus.clips[i].emotion) for i in chosen]),
            tuple(corpus.clips[i].speaker for i in chosen),
        )

    return take("abc"), take("d"), take("ef")


@pytest.mark.parametrize(("name", "leak"), [("inductive", ""), ("transductive", "transductive")])
def test_a_row_tells_what_its_encoder_saw(name, leak, encoders, tones, tmp_path):
    encoder = encoders / name
    run_benchmark(configure(tones, {**SETTINGS, "encoder": str(encoder)}), tmp_path)
    (result,) = load_results(tmp_path)
    assert result.about.leak == leak
    assert result.about.system == "Ours, pretrained"
    assert result.about.weights == f"{name} {file_sha256(encoder / 'model.safetensors')}"
    pool = json.loads((encoder / "run.json").read_text())["pretraining_data"]
    assert result.about.pretraining_data == pool
    record = json.loads(next(tmp_path.glob("runs/*/run.json")).read_text())
    assert (record["choices"]["precision"], record["device"][:3]) in {
        ("float32", "cpu"),
        ("float32", "cud"),
    }


def test_without_a_list_of_clips_the_pool_is_unknown(encoders, tmp_path):
    copy = tmp_path / "bare"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((encoders / "inductive" / name).read_bytes())
    system = Ours(OursSettings(encoder=copy), CLASSES, 0, FeatureCache())
    assert system.pretraining_data == "unknown"
    assert system.notes == ("what the encoder was pretrained on is not known",)


def test_a_frozen_encoder_stays_as_it_was(encoders, tone_corpus):
    encoder = encoders / "inductive"
    settings = build_config(
        OursSettings, {**SETTINGS, "encoder": str(encoder), "strategy": "frozen"}
    )
    train, validation, _ = parts(tone_corpus)
    system = Ours(settings, CLASSES, 0, FeatureCache())
    system.fit(train, validation)
    after = system._classifier.encoder.state_dict()
    for name, weight in load_file(encoder / "model.safetensors").items():
        assert np.array_equal(after[name].cpu().numpy(), weight.numpy()), name
    assert Ours.suffix(settings) == ", pretrained, frozen"
    assert system.choices["level"] == "last"


def test_learns_tones_from_scratch_and_says_that_it_was_cut(tone_corpus):
    train, validation, test = parts(tone_corpus)
    settings = build_config(
        OursSettings,
        {**SETTINGS, "train": {**FAST, "max_steps": 40, "lr": 1e-3}, "evaluate_every": 10},
    )
    system = Ours(settings, CLASSES, 1, FeatureCache())
    system.fit(train, validation)
    answer = system.predict(UnlabelledClips(test.waveforms))
    assert metrics.uar(metrics.confusion_matrix(test.labels, answer)) > 0.6
    assert (system.pretraining_data, system.weights, system.notes) == ("", "", ())
    assert not system.saw(UnlabelledClips(train.waveforms))
    short = build_config(OursSettings, {**SETTINGS, "train": {**FAST, "max_seconds": 0.001}})
    cut = Ours(short, CLASSES, 1, FeatureCache())
    cut.fit(train, validation)
    assert cut.notes == ("budget cut at step 1 of 500",)


def test_self_training_leaves_out_what_is_labelled(tones, tone_corpus, tmp_path):
    """Of a pool that holds the whole corpus only the test clips are new, and they are told."""
    pool = [
        (replace(clip, emotion=None), tone_corpus.views[n])
        for n, clip in enumerate(tone_corpus.clips)
    ]
    (tmp_path / "pool").mkdir()
    write_corpus(tmp_path / "pool", "tones", pool)
    settings = build_config(
        OursSettings,
        {
            **SETTINGS,
            "strategy": "probe",
            "training_share": 0.5,
            "self_training": {"corpus": str(tmp_path / "pool"), "wanted_accuracy": 0.01},
        },
    )
    train, validation, test = parts(tone_corpus)
    system = Ours(settings, CLASSES, 0, FeatureCache())
    system.fit(train, validation)
    (note,) = [note for note in system.notes if note.startswith("self-training")]
    num_new = len(tone_corpus) - len(train.labels) - len(validation.labels)
    assert 0 < int(note.split()[2]) <= num_new and num_new == len(test.labels)
    assert system.saw(test)
    softer = [(waveform * 0.7).astype(np.int16) for waveform in test.waveforms]
    assert system.saw(UnlabelledClips(softer))
    noise = np.random.default_rng(0).normal(0, 3000, (2, 20_000)).astype(np.int16)
    assert not system.saw(UnlabelledClips(list(noise)))


def test_a_head_for_another_task_is_refused_before_it_learns(tone_corpus):
    train, validation, _ = parts(tone_corpus)
    settings = build_config(OursSettings, {**SETTINGS, "head": "multilabel"})
    with pytest.raises(UserError, match="head multilabel is for tasks multilabel, not single"):
        Ours(settings, CLASSES, 0, FeatureCache()).fit(train, validation)


def test_seeds_differ(tone_corpus):
    train, validation, test = parts(tone_corpus)
    answers = []
    for seed in (0, 1):
        system = Ours(build_config(OursSettings, SETTINGS), CLASSES, seed, FeatureCache())
        system.fit(train, validation)
        answers.append(system.predict(UnlabelledClips(test.waveforms)))
    assert np.abs(answers[0] - answers[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "nowhere"}, "systems.ours: nowhere holds no model: expected the output of"),
        ({"train": {"seed": 3}}, "seed must be left out, got 3: a run's seed is one of --seeds"),
    ],
)
def test_mistakes_are_told_before_anything_runs(settings, message, tones, tmp_path):
    with pytest.raises(UserError, match=message):
        run_benchmark(configure(tones, settings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whole_clips_longer_than_the_encoder_hears_are_refused(tone_corpus, monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", {**SMALL, "max_seconds": 0.2})
    settings = build_config(OursSettings, {**SETTINGS, "crop_seconds": None})
    train, validation, _ = parts(tone_corpus)
    with pytest.raises(UserError, match=r"hears 0\.2 s at once: set crop_seconds, or windows"):
        Ours(settings, CLASSES, 0, FeatureCache()).fit(train, validation)
