import time
from collections import Counter

import librosa
import numpy as np
import pytest
import scipy.signal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_audio.data import synthetic
from ssl_audio.data.corpora.synthetic import Synthetic
from ssl_audio.data.source_filter import resonances
from ssl_audio.data.synthetic import SyntheticSettings, build_voice, list_clips, render, synthesise
from ssl_audio.errors import UserError

SAMPLE_RATE = 16_000


@pytest.fixture(scope="module")
def corpus():
    start = time.process_time()
    corpus = list(synthesise(SyntheticSettings()))
    assert time.process_time() - start < 30, "576 clips take about 6 s on an idle core"
    return corpus


def log_mel_statistics(audio):
    frames = librosa.util.frame(audio / 32768, frame_length=400, hop_length=160)
    power = np.abs(np.fft.rfft(frames * np.hanning(400)[:, None], 512, axis=0)) ** 2
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=512, n_mels=64, fmin=60, fmax=7800)
    log_mel = np.log(bands @ power + 1e-6)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)])


def uar_percent(features, clips, folds):
    labels = [clip.emotion for clip in clips]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predictions = cross_val_predict(model, features, labels, cv=list(folds))
    return 100 * recall_score(labels, predictions, average="macro")


def unseen_speakers(clips):
    return GroupKFold(5).split(clips, groups=[clip.speaker for clip in clips])


def random_split(clips):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return folds.split(clips, [clip.emotion for clip in clips])


def test_unseen_speakers_are_neither_easy_nor_hopeless_and_a_random_split_flatters(corpus):
    clips = [clip for clip, _ in corpus]
    features = np.stack([log_mel_statistics(audio) for _, audio in corpus])
    unseen = uar_percent(features, clips, unseen_speakers(clips))
    random = uar_percent(features, clips, random_split(clips))
    assert 45 < unseen < 70
    assert random > unseen + 10


def test_level_and_length_alone_say_nothing(corpus):
    clips = [clip for clip, _ in corpus]
    level_and_length = np.array([[clip.rms_db, clip.duration_seconds] for clip in clips])
    squares = np.column_stack([level_and_length, level_and_length**2])
    for features in (level_and_length, squares):
        assert abs(uar_percent(features, clips, unseen_speakers(clips)) - 100 / 8) < 5


def test_the_corpus_is_balanced_and_measured(corpus):
    clips = [clip for clip, _ in corpus]
    assert len({clip.clip_id for clip in clips}) == len(clips) == 576
    assert set(Counter((clip.speaker, clip.emotion) for clip in clips).values()) == {4}
    assert Counter(clip.gender for clip in clips) == {"female": 288, "male": 288}
    assert clips[0].clip_id == "speaker01_neutral_s1_r1"
    assert len({clip.audio_sha256 for clip in clips}) == len(clips)
    for clip, audio in corpus:
        assert audio.dtype == np.int16 and clip.num_samples == len(audio)
        assert 1.4 < clip.duration_seconds < 3
        assert -36.1 < clip.rms_db < -23.9
        assert clip.peak < 0.9
    assert sum(clip.duration_seconds for clip in clips) < 25 * 60


def test_a_clip_depends_on_nothing_but_its_seed_and_labels(corpus):
    clips = list_clips(SyntheticSettings())
    for index in (500, 3, 77):
        np.testing.assert_array_equal(render(clips[index], 0), corpus[index][1])
    few = SyntheticSettings(num_speakers=2, emotions=("sad", "happy"), num_repetitions=1)
    by_id = {clip.clip_id: clip.audio_sha256 for clip, _ in corpus}
    for clip, _ in synthesise(few):
        assert clip.audio_sha256 == by_id[clip.clip_id]
    assert not np.array_equal(render(clips[3], 1)[:8000], corpus[3][1][:8000])


def median_f0(audio):
    """Hz, by the largest autocorrelation of 50 ms between 70 and 700 Hz, where it is clear."""
    low = scipy.signal.sosfilt(scipy.signal.butter(4, 900, fs=SAMPLE_RATE, output="sos"), audio)
    frames = librosa.util.frame(low, frame_length=800, hop_length=160)
    frames = frames[:, frames.std(axis=0) > 0.3 * low.std()]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(800)[:, None], 2048, axis=0)) ** 2
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(800), 2048)) ** 2)
    correlation = np.fft.irfft(spectra, axis=0)[:400] / window[:400, None]
    lags = np.arange(SAMPLE_RATE // 700, SAMPLE_RATE // 70)
    ratio = correlation[lags] / correlation[0]
    first = np.argmax(ratio > 0.9 * ratio.max(axis=0), axis=0)
    best = [
        start + np.argmax(column[start : start + 8])
        for start, column in zip(first, ratio.T, strict=True)
    ]
    return SAMPLE_RATE / np.median(lags[best])


@pytest.mark.parametrize(
    "clip_id",
    [
        "speaker01_neutral_s1_r1",
        "speaker02_angry_s1_r2",
        "speaker07_sad_s2_r1",
        "speaker12_fearful_s1_r1",
        "speaker17_disgust_s2_r2",
    ],
)
def test_f0_is_the_one_asked_for(clip_id, monkeypatch):
    """Measured on a monotone, whose pitch is the voice's."""
    clip = next(clip for clip in list_clips(SyntheticSettings()) if clip.clip_id == clip_id)
    monotone = build_voice(clip, 0)._replace(span=-9, slope=0)
    monkeypatch.setattr(synthetic, "build_voice", lambda clip, seed: monotone)
    monkeypatch.setattr(synthetic, "_CLIP_SD", synthetic.Voice(*[0] * 9))
    expected_hz = 100 * 2 ** (monotone.pitch / 12)
    assert median_f0(render(clip, 0)) == pytest.approx(expected_hz, rel=0.03)


def median_f3(audio):
    """Hz, from the poles of linear prediction below 5 kHz in the louder frames of 30 ms."""
    slow = np.diff(scipy.signal.resample_poly(audio / 32768, 5, 8))
    frames = librosa.util.frame(slow, frame_length=300, hop_length=100)
    frames = frames[:, frames.std(axis=0) > 0.5 * slow.std()] * np.hamming(300)[:, None]
    third = []
    for coefficients in librosa.lpc(frames, order=12, axis=0).T:
        poles = np.roots(coefficients)
        sharp = poles[(poles.imag > 0) & (np.abs(poles) > np.exp(-np.pi * 500 / 10_000))]
        formants = np.sort(np.angle(sharp)) * 10_000 / (2 * np.pi)
        third += list(formants[formants > 150][2:3])
    return np.median(third)


def test_women_speak_higher_and_with_shorter_tracts():
    clips = [clip for clip in list_clips(SyntheticSettings()) if clip.emotion == "neutral"]
    clips = [clip for clip in clips if clip.text == clip.repetition == "1"]
    f0_hz = {gender: [] for gender in ("female", "male")}
    f3_hz = {gender: [] for gender in ("female", "male")}
    for clip in clips:
        audio = render(clip, 0)
        f0_hz[clip.gender].append(median_f0(audio))
        f3_hz[clip.gender].append(median_f3(audio))
    assert 1.4 < np.median(f0_hz["female"]) / np.median(f0_hz["male"]) < 2
    assert 2200 < np.median(f3_hz["male"]) < 2600
    assert 1.1 < np.median(f3_hz["female"]) / np.median(f3_hz["male"]) < 1.3
    assert np.std(f0_hz["male"]) > 4 and np.std(f3_hz["male"]) > 40, "speakers must differ"


def test_resonances_equal_a_cascade_of_two_pole_filters():
    formants = np.array([[500, 1500, 2500, 3500, 4500], [300, 900, 2200, 3400, 4600]], np.float32)
    hertz = np.linspace(0, SAMPLE_RATE / 2, 481)
    for row, response in zip(formants, resonances(formants), strict=True):
        expected = np.ones(len(hertz), complex)
        for formant, bandwidth in zip(row, (70, 100, 150, 220, 300), strict=True):
            pole = np.exp(np.pi * (-bandwidth + 2j * formant) / SAMPLE_RATE)
            poly = np.poly([pole, pole.conj()])
            expected *= scipy.signal.freqz(sum(poly), poly, hertz, fs=SAMPLE_RATE)[1]
        np.testing.assert_allclose(response, expected, rtol=1e-3)


def test_the_reader_gives_the_same_audio_and_takes_no_source(tmp_path, corpus):
    listing = Synthetic().read(None, {})
    ((clip, audio),) = listing.decode(listing.clips[42])
    np.testing.assert_array_equal(audio, corpus[42][1])
    assert (clip.source_format, clip.source_sample_rate) == ("SYNTHETIC", SAMPLE_RATE)
    with pytest.raises(UserError, match="leave SOURCE"):
        Synthetic().read(tmp_path, {})
