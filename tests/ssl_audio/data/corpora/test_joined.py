import numpy as np
import pytest

from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.errors import UserError


def test_joined_clips_sound_as_their_utterances_do(tmp_path):
    """Two utterances each of three emotions and one speaker: a pair, a triple, one left over."""
    source = tmp_path / "source"
    source.mkdir()
    audio = {
        f"{emotion}{take}": np.full(1000 + 100 * take, 1 + place, np.int16)
        for take in (1, 2)
        for place, emotion in enumerate(("angry", "calm", "sad"))
    }
    clips = [
        Clip(clip_id=n, path=n, speaker="s", emotion=n[:-1], num_samples=len(a), audio_sha256=n)
        for n, a in sorted(audio.items())
    ]
    write_corpus(source, "tones", [(clip, audio[clip.clip_id]) for clip in clips])
    preparation = prepare("joined", source, tmp_path / "joined")
    assert "1 clips could not be joined" in preparation.notes
    corpus = PreparedCorpus.load(tmp_path / "joined")
    assert sorted(len(clip.emotions) for clip in corpus.clips) == [2, 3]
    for clip, view in zip(corpus.clips, corpus.views, strict=True):
        parts = clip.clip_id.split("+")
        assert clip.emotions == tuple(part[:-1] for part in parts)
        assert np.array_equal(view, np.concatenate([audio[part] for part in parts]))


def test_joining_needs_speakers_with_two_emotions(tmp_path):
    clip = Clip(clip_id="x", path="x", emotion="angry", num_samples=9, audio_sha256="x")
    write_corpus(tmp_path, "tones", [(clip, np.ones(9, np.int16))])
    with pytest.raises(UserError, match="expected clips of known speakers with two emotions"):
        CORPORA["joined"].read(tmp_path, {})
