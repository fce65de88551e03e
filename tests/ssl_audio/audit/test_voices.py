from dataclasses import replace

import numpy as np
import pytest

from ssl_audio.audit.command import Request, audit
from ssl_audio.audit.gate import judge_voices
from ssl_audio.audit.report import has_leak
from ssl_audio.audit.voice_prints import take_prints
from ssl_audio.audit.voices import Voices, compare, listen
from ssl_audio.data.audio import measure
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus
from ssl_audio.data.synthetic import SyntheticSettings, list_clips, render

TWO_NAMES = ("01", "99")


def write(root, clips_with_audio):
    root.mkdir()
    (root / "folds").mkdir()
    write_corpus(root, "synthetic", clips_with_audio)
    return PreparedCorpus.load(root)


def split_by_speaker(clips, *tested):
    test = tuple(clip.clip_id for clip in clips if clip.speaker in tested)
    train = tuple(clip.clip_id for clip in clips if clip.speaker not in tested)
    return Folds("synthetic-2/x", ("neutral", "happy"), (Fold(1, train, (), test),))


@pytest.fixture(scope="module")
def recorded():
    """16 clips each of four voices and 32 of the first, half of them under another name."""
    settings = SyntheticSettings(
        num_speakers=5, emotions=("neutral", "happy"), num_statements=1, num_repetitions=16
    )
    clips = [c for c in list_clips(settings) if c.speaker == "01" or int(c.repetition) <= 8]
    audio = [render(clip, settings.seed) for clip in clips]
    renamed = [
        replace(clip, speaker="99") if clip.speaker == "01" and int(clip.repetition) % 2 else clip
        for clip in clips
    ]
    return [(c.with_measured(**measure(a)), a) for c, a in zip(renamed, audio, strict=True)]


@pytest.fixture(scope="module")
def corpus(recorded, tmp_path_factory):
    return write(tmp_path_factory.mktemp("voices") / "prepared", recorded)


@pytest.fixture(scope="module")
def voices(corpus):
    return listen(corpus)


def test_one_voice_under_two_names(corpus, voices):
    folds = split_by_speaker(corpus.clips, "99", "02")
    (finding,) = judge_voices(corpus.clips, [folds], voices)
    assert (finding.kind, finding.severity, finding.fold) == ("shared_speakers", "warning", 1)
    assert "in train and test, 1 pair: 01 and 99 (0." in finding.evidence
    (group,) = finding.groups
    assert set(group) == {c.clip_id for c in corpus.clips if c.speaker in TWO_NAMES}
    assert voices.most_of_others < 0.5 < voices.of_one_speaker
    assert judge_voices(corpus.clips, [split_by_speaker(corpus.clips, *TWO_NAMES)], voices) == []


@pytest.mark.slow
def test_the_audit_listens(corpus):
    folds = split_by_speaker(corpus.clips, "99", "02")
    folds.save(folds_path(corpus.root, folds.protocol))
    audited = audit(Request(source=corpus.root))
    assert "shared_speakers" in {f.kind for f in audited.findings if f.severity == "warning"}
    assert "the voices of 6 speakers" in audited.looked_at
    assert not has_leak(audited.findings)


def test_of_many_speakers_some_are_listened_to(corpus, monkeypatch):
    monkeypatch.setattr("ssl_audio.audit.voices._MOST_LISTENED", 67)
    voices = listen(corpus)
    assert voices.speakers == ("01", "03", "04", "99") and voices.num_left_out == 2
    audited = audit(Request(source=corpus.root))
    assert any("the voices of 2 speakers" in line for line in audited.missed)


def test_few_clips_are_not_listened_to(recorded, tmp_path):
    few = [(replace(c, speaker=c.speaker if c.speaker < "04" else None), a) for c, a in recorded]
    assert listen(write(tmp_path / "few", few)) is None


@pytest.mark.parametrize("num_sounds", [0, 1, 5])
def test_copies_and_silence_are_survived(tmp_path, num_sounds):
    """Five speakers with copies of one recording each, of one for all, or with nothing."""
    rng = np.random.default_rng(0)
    sounds = (2000 * rng.standard_normal((num_sounds or 1, 4000))).astype(np.int16)
    sounds *= min(num_sounds, 1)
    clips = []
    for speaker in range(5):
        audio = sounds[speaker % len(sounds)]
        for number in range(15):
            clip = Clip(clip_id=f"{speaker}-{number}", path="x.wav", speaker=str(speaker))
            clips.append((clip.with_measured(**measure(audio)), audio))
    voices = listen(write(tmp_path / "same", clips))
    if num_sounds == 5:
        assert voices.pairs == {}
    else:
        assert voices is None


def test_prints_know_no_level():
    rng = np.random.default_rng(0)
    loud = [(8000 * rng.standard_normal(16_000)).astype(np.int16) // 4 * 4 for _ in range(4)]
    soft = [(view // 4).astype(np.int16) for view in loud]
    silence = np.zeros(4000, dtype=np.int16)
    prints = take_prints([*loud, *soft, silence])
    np.testing.assert_allclose(prints[:4], prints[4:8], atol=0.02)
    assert np.isfinite(prints).all()


def draw_prints(rng, num_speakers, num_clips, spread):
    """Clips scatter with deviation 1, unequally in every direction; speakers with ``spread``."""
    mixing = rng.standard_normal((40, 40))
    means = spread * rng.standard_normal((num_speakers, 40))
    clips = np.repeat(means, num_clips, axis=0) + rng.standard_normal((len(means) * num_clips, 40))
    return (clips @ mixing).astype(np.float32), np.repeat(np.arange(num_speakers), num_clips)


@pytest.mark.parametrize("seed", range(3))
def test_likeness(seed):
    rng = np.random.default_rng(seed)
    prints, owners = draw_prints(rng, 12, 40, spread=2)
    names = tuple(map(str, range(14)))
    honest = Voices(names[:12], *compare(prints, owners), 0)
    assert honest.pairs == {} and honest.of_one_speaker > 0.8
    two_names = owners.copy()
    two_names[20:40], two_names[60:80] = 12, 13
    renamed = Voices(names, *compare(prints, two_names), 0)
    assert set(renamed.pairs) == {("0", "12"), ("1", "13")}
    assert renamed.most_of_others < 0.5


def test_names_that_are_not_of_speakers_are_doubted(corpus):
    rng = np.random.default_rng(0)
    prints, owners = draw_prints(rng, 12, 40, spread=2)
    names = tuple(map(str, range(12)))
    shuffled = Voices(names, *compare(prints, rng.permutation(owners)), 0)
    (finding,) = judge_voices([], [], shuffled)
    assert (finding.kind, finding.severity) == ("unknown_speakers", "warning")
    assert judge_voices([], [], Voices(names, *compare(prints, owners), 0)) == []
