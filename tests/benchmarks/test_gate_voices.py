from types import SimpleNamespace

import pytest

from benchmarks.gate import voices
from benchmarks.gate.voices import score_voices
from ssl_audio.audit.speakers import by_speaker
from ssl_audio.data.prepared import PreparedCorpus

PROTOCOL = "synthetic-3/speakers6"
STRENGTHS = ["any clips", "other texts", "other emotions"]


@pytest.fixture
def corpus(prepared):
    return PreparedCorpus.load(prepared)


def test_who_has_few_clips_is_not_found(corpus):
    scores = score_voices(corpus, PROTOCOL, 0)
    assert [score.strength for score in scores] == STRENGTHS
    assert [(score.found, score.false_alarms) for score in scores] == [(0, 0)] * 3


def test_counts_what_is_found_and_what_is_not_there(corpus, monkeypatch):
    """Ears that hear one voice in every two names: all are found, and every other pair too."""

    def listen(renamed):
        names = sorted(by_speaker(renamed.clips))
        pairs = {(a, b): 1.0 for a in names for b in names if a < b}
        return SimpleNamespace(pairs=pairs, of_one_speaker=1.0, most_of_others=0.0)

    monkeypatch.setattr(voices, "listen", listen)
    fold = corpus.folds(PROTOCOL).folds[0]
    parts = [
        len(by_speaker([corpus.clips[place] for place in corpus.indices(ids)]))
        for ids in (fold.train, fold.validation, fold.test)
    ]
    train, validation, test = parts
    between = train * test + validation * test + train * validation
    first = score_voices(corpus, PROTOCOL, 0)[0]
    assert (first.injected, first.found) == (test, test)
    # As many new names in training: each beside all of test and validation, but for its own.
    assert first.false_alarms == between + between + test * (test - 1) + validation * test
