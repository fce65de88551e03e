"""Copies that are found in the audio reach the verdict: of the command, and of the gate."""

from dataclasses import replace

import numpy as np
import pytest

from ssl_audio.audit import guard
from ssl_audio.audit.command import Request, audit
from ssl_audio.data.audio import measure
from ssl_audio.data.folds import Folds
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus
from ssl_audio.errors import DataError

PROTOCOL = "synthetic-3/speakers6"
QUIETER = 0.3


@pytest.fixture
def corpus(prepared):
    return PreparedCorpus.load(prepared)


def write_copied(root, corpus, target):
    """The corpus with one test clip's audio replaced: a training clip's, quieter."""
    (root / "folds").mkdir(parents=True)
    folds = corpus.folds(PROTOCOL)
    fold = folds.fold(1)
    original, copy = fold.train[0], getattr(fold, target)[0]
    views = dict(zip((clip.clip_id for clip in corpus.clips), corpus.views, strict=True))
    views[copy] = np.rint(QUIETER * views[original]).astype(np.int16)
    label = next(clip.emotion for clip in corpus.clips if clip.clip_id == original)
    clips = [
        replace(clip, emotion=label, **measure(views[copy])) if clip.clip_id == copy else clip
        for clip in corpus.clips
    ]
    write_corpus(root, "synthetic", ((clip, views[clip.clip_id]) for clip in clips))
    folds.save(folds_path(root, PROTOCOL))
    return PreparedCorpus.load(root), folds, tuple(sorted((original, copy)))


@pytest.mark.parametrize(
    ("target", "kind"),
    [("test", "near_identical_audio"), ("validation", "validation_in_training")],
)
def test_a_quieter_copy_on_the_other_side_is_a_leak(corpus, tmp_path, target, kind):
    copied, folds, pair = write_copied(tmp_path / "copied", corpus, target)
    leaks = [f for f in audit(Request(source=copied.root)).findings if f.severity == "leak"]
    assert (leaks[0].kind, leaks[0].fold, leaks[0].groups) == (kind, 1, (pair,))
    with pytest.raises(DataError, match=rf"{PROTOCOL} fold 1 leaks \({kind}\)"):
        guard(copied, folds, [1])
    guard(copied, Folds(f"{PROTOCOL}-LEAKY", folds.classes, folds.folds), [1])


def test_the_corpus_itself_passes(corpus):
    guard(corpus, corpus.folds(PROTOCOL), range(1, 7))
    audited = audit(Request(source=corpus.root))
    assert {finding.severity for finding in audited.findings} <= {"note"}
    assert any(told.startswith("copies in other samples") for told in audited.looked_at)


def test_a_quieter_copy_in_the_pool_was_seen_too(corpus, tmp_path):
    clip, view = corpus.clips[0], np.rint(QUIETER * corpus.views[0]).astype(np.int16)
    heard = replace(clip, clip_id="heard", **measure(view))
    write_corpus_of(tmp_path / "pool", heard, view)
    findings = audit(Request(source=corpus.root, pretraining=tmp_path / "pool")).findings
    seen = {group for f in findings if f.kind == "pretraining_pool" for group in f.groups}
    assert seen == {(clip.clip_id, "heard")}


def write_corpus_of(root, clip, view):
    root.mkdir()
    write_corpus(root, "folder", [(clip, view)])
