"""What every system must keep to; one that is added to SYSTEMS is tested by that."""

from dataclasses import replace

import librosa
import numpy as np
import pytest

from benchmarks.systems import SYSTEMS, find_system
from benchmarks.systems.base import FeatureCache, LabelledClips, UnlabelledClips
from benchmarks.systems.classic import ClassicSystem
from benchmarks.systems.logmel_statistics import log_mel_statistics
from benchmarks.systems.mfcc_statistics import mfcc_statistics
from benchmarks.systems.mfcc_xgboost import MfccXgboost, MfccXgboostSettings, mfcc_means
from benchmarks.systems.permuted_labels import PermutedLabels
from finetune import metrics
from ssl_audio.config import build_config
from ssl_audio.errors import ConfigError, UserError

CLASSES = ("high", "low", "mid")
FAST = {"precision": "float32", "batch_size": 12, "warmup_steps": 2}
SMALL: dict[str, dict] = {
    "efficientnet": {
        "model": "test_efficientnet.r160_in1k",
        "train": {**FAST, "max_steps": 4},
    },
    "wav2vec2": {
        "pretrained": False,
        "random": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "conv_dim": 16},
        "train": {**FAST, "max_steps": 10},
    },
    "wav2vec2_tuned": {
        "pretrained": False,
        "random": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "conv_dim": 16},
        "crop_seconds": 0.3,
        "evaluate_every": 5,
        "train": {**FAST, "max_steps": 10},
    },
    "ours": {
        "train": {**FAST, "attention": "eager", "max_steps": 10},
        "crop_seconds": 0.3,
        "evaluate_every": 5,
    },
}
"""Settings of the systems whose defaults take too long here."""


@pytest.fixture(scope="module")
def cache() -> FeatureCache:
    return FeatureCache()


def labelled(corpus, speakers, leave_out=()) -> LabelledClips:
    chosen = [
        index
        for index, clip in enumerate(corpus.clips)
        if clip.speaker in speakers and clip.emotion not in leave_out
    ]
    return LabelledClips(
        [corpus.views[index] for index in chosen],
        np.array([CLASSES.index(corpus.clips[index].emotion) for index in chosen]),
        tuple(corpus.clips[index].speaker for index in chosen),
    )


def unfitted(name, cache, seed=0):
    system_type = find_system(name)
    settings = build_config(system_type.settings_type, SMALL.get(name, {}))
    try:
        system_type.check(settings)
    except UserError as error:
        pytest.skip(str(error))
    return system_type(settings, CLASSES, seed, cache)


def fitted(name, corpus, cache, seed=0, leave_out=()):
    system = unfitted(name, cache, seed)
    system.fit(labelled(corpus, "abc", leave_out), labelled(corpus, "d", leave_out))
    return system


@pytest.mark.parametrize("name", SYSTEMS)
def test_answers_are_probabilities_that_depend_on_no_other_clip(name, tone_corpus, cache):
    system = fitted(name, tone_corpus, cache)
    waveforms = labelled(tone_corpus, "ef").waveforms
    together = system.predict(UnlabelledClips(waveforms))
    assert together.shape == (len(waveforms), len(CLASSES))
    assert together.dtype == np.float64
    assert np.all(together >= 0)
    assert np.allclose(together.sum(axis=1), 1, atol=1e-9)
    backwards = system.predict(UnlabelledClips(waveforms[::-1]))[::-1]
    alone = np.concatenate([system.predict(UnlabelledClips([one])) for one in waveforms])
    assert np.allclose(together, backwards, atol=1e-6)
    assert np.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_equal_seeds_give_equal_answers(name, tone_corpus):
    clips = UnlabelledClips(labelled(tone_corpus, "ef").waveforms)
    first = fitted(name, tone_corpus, FeatureCache(), seed=3).predict(clips)
    second = fitted(name, tone_corpus, FeatureCache(), seed=3).predict(clips)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", SYSTEMS)
def test_copes_with_an_absent_class_and_with_very_short_clips(name, tone_corpus, cache):
    system = fitted(name, tone_corpus, cache, leave_out=("mid",))
    short = UnlabelledClips([np.full(50, 100, np.int16), np.zeros(50, np.int16)])
    probabilities = system.predict(short)
    assert probabilities.shape == (2, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert system.parameters is None or system.parameters > 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_learns_where_the_protocol_has_inner_folds(name, tone_corpus, cache):
    """What chooses by them, or chooses nothing, learns from the validation clips too."""
    train, validation = labelled(tone_corpus, "abc"), labelled(tone_corpus, "d")
    inner = np.array(["abcd".index(speaker) for speaker in train.speakers])
    system = unfitted(name, cache)
    system.fit(replace(train, inner=inner), replace(validation, inner=np.full(12, 3)))
    answer = system.predict(UnlabelledClips(labelled(tone_corpus, "ef").waveforms))
    assert answer.shape == (24, 3) and np.allclose(answer.sum(axis=1), 1)


@pytest.mark.parametrize("name", ["majority", "mfcc_xgboost"])
def test_what_chooses_nothing_hears_all_training_speakers_of_inner_folds(name, tone_corpus, cache):
    def answer(inner, *parts):
        train, validation = (labelled(tone_corpus, *part) for part in parts)
        system = unfitted(name, cache)
        if inner:
            train = replace(train, inner=np.zeros(len(train.labels), np.int64))
            validation = replace(validation, inner=np.ones(len(validation.labels), np.int64))
        system.fit(train, validation)
        return system.predict(UnlabelledClips(labelled(tone_corpus, "ef").waveforms))

    # The class that the training part lacks is the most frequent one with the other part.
    train, validation = ("a", ("mid",)), ("cd", ("high", "low"))
    both = answer(True, train, validation)
    assert (both.argmax(axis=1) == CLASSES.index("mid")).any()
    assert not (answer(False, train, validation)[:, CLASSES.index("mid")] > 0).any()


@pytest.mark.parametrize("name", SYSTEMS)
def test_has_a_title_and_strict_settings(name):
    assert find_system(name).title
    with pytest.raises(ConfigError, match="unknown key no_such_setting"):
        build_config(find_system(name).settings_type, {"no_such_setting": 1})


def test_titles_differ():
    assert len({find_system(name).title for name in SYSTEMS}) == len(SYSTEMS)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("chance", 1 / 3, 1 / 3),
        ("majority", 1 / 3, 1 / 3),
        ("logmel_statistics", 0.95, 1),
        ("mfcc_statistics", 0.95, 1),
        ("mfcc_xgboost", 0.9, 1),
    ],
)
def test_those_that_listen_tell_tones_apart(name, least, most, tone_corpus, cache):
    test = labelled(tone_corpus, "ef")
    system = fitted(name, tone_corpus, cache)
    answer = system.predict(UnlabelledClips(test.waveforms))
    uar = metrics.uar(metrics.confusion_matrix(test.labels, answer))
    assert least - 1e-9 <= uar <= most + 1e-9


def test_permuted_labels_leave_nothing_to_learn(tone_corpus, cache):
    """Tones are told apart with ease, so one seed may name all of a class alike, right or wrong."""
    test = labelled(tone_corpus, "ef")
    uars = []
    for seed in range(20):
        system = fitted("permuted_labels", tone_corpus, cache, seed)
        answer = system.predict(UnlabelledClips(test.waveforms))
        uars.append(metrics.uar(metrics.confusion_matrix(test.labels, answer)))
    assert np.mean(uars) == pytest.approx(1 / 3, abs=0.1)


def test_permuted_labels_keep_the_frequencies_and_hide_the_validation_labels(
    tone_corpus, cache, monkeypatch
):
    given = []
    monkeypatch.setattr(ClassicSystem, "fit", lambda self, *parts: given.extend(parts))
    train, validation = labelled(tone_corpus, "abc"), labelled(tone_corpus, "d")
    system = PermutedLabels(PermutedLabels.settings_type(), CLASSES, 0, cache)
    system.fit(train, validation)
    for before, after in zip((train, validation), given, strict=True):
        assert sorted(after.labels) == sorted(before.labels)
        assert np.mean(after.labels == before.labels) < 0.6
        assert after.waveforms is before.waveforms


def test_mfcc_statistics_are_means_and_deviations(tone_corpus):
    waveform = tone_corpus.views[0]
    statistics = mfcc_statistics(waveform, 40)
    assert statistics.shape == (80,)
    assert np.allclose(statistics[:40], mfcc_means(waveform, 40))
    mfcc = librosa.feature.mfcc(y=waveform.astype(np.float32) / 32768, sr=16_000, n_mfcc=40)
    around = mfcc - mfcc.mean(axis=1, keepdims=True)
    assert np.allclose(statistics[40:] ** 2, (around**2).mean(axis=1), rtol=1e-3)


def test_clips_to_be_judged_carry_nothing_but_audio():
    assert set(vars(UnlabelledClips([]))) == {"waveforms"}


def test_smote_fills_up_the_classes_of_the_training_clips_only(tone_corpus, cache):
    train = labelled(tone_corpus, "abc")
    keep = np.r_[np.flatnonzero(train.labels != 0), np.flatnonzero(train.labels == 0)[:3]]
    system = MfccXgboost(MfccXgboostSettings(), CLASSES, 0, cache)
    features = system._features([train.waveforms[index] for index in keep])
    balanced, labels = system._balance(features, train.labels[keep])
    assert np.bincount(labels).tolist() == [12, 12, 12]
    assert np.array_equal(balanced[: len(keep)], features)
    made = balanced[len(keep) :]
    few = features[train.labels[keep] == 0]
    assert np.all(made >= few.min(axis=0) - 1e-9) and np.all(made <= few.max(axis=0) + 1e-9)


def test_smote_leaves_a_class_of_one_clip_alone(tone_corpus, cache):
    train = labelled(tone_corpus, "abc")
    keep = np.r_[np.flatnonzero(train.labels != 0), np.flatnonzero(train.labels == 0)[:1]]
    system = MfccXgboost(MfccXgboostSettings(), CLASSES, 0, cache)
    features = system._features([train.waveforms[index] for index in keep])
    _, labels = system._balance(features, train.labels[keep])
    assert np.bincount(labels).tolist() == [1, 12, 12]


def test_log_mel_statistics_follow_the_level_in_db(tone_corpus):
    loud = np.asarray(tone_corpus.views[0])
    difference = log_mel_statistics(loud, 64) - log_mel_statistics(loud // 4, 64)
    band = log_mel_statistics(loud, 64)[:64].argmax()
    assert difference[band] == pytest.approx(20 * np.log10(4), abs=0.1)
    assert difference.shape == (128,)
