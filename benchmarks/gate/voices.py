"""Test speakers half of whose clips go to training under another name: one voice, two names."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.gate.score import Score
from ssl_audio.audit.gate import judge_voices
from ssl_audio.audit.speakers import by_speaker
from ssl_audio.audit.voices import listen
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus

CHANGE = "one voice under two names"
Choose = Callable[[Sequence[Clip], np.random.Generator], set[str]]
"""Half of the clips of one speaker, by clip_id."""


def score_voices(corpus: PreparedCorpus, protocol: str, seed: int) -> list[Score]:
    """Every test speaker of the first fold, in one corpus; what is found must be these pairs."""
    folds = corpus.folds(protocol)
    folds = replace(folds, folds=folds.folds[:1])
    clean = len(_find_groups(corpus, folds))
    scores = []
    for number, (strength, choose) in enumerate(_HALVES.items()):
        rng = np.random.default_rng((seed, number))
        renamed, split, expected = _rename(corpus, folds, choose, rng)
        groups = _find_groups(renamed, split)
        found = sum(group in expected for group in groups)
        alarms = clean + len(groups) - found
        scores.append(
            Score(
                *(corpus.name, "shared_speakers", CHANGE, strength, seed),
                *(len(expected), found, found, alarms),
            )
        )
    return scores


def _find_groups(corpus: PreparedCorpus, folds: Folds) -> list[set[str]]:
    voices = listen(corpus)
    findings = [] if voices is None else judge_voices(corpus.clips, [folds], voices)
    return [set(group) for finding in findings for group in finding.groups]


def _rename(
    corpus: PreparedCorpus, folds: Folds, choose: Choose, rng: np.random.Generator
) -> tuple[PreparedCorpus, Folds, list[set[str]]]:
    """The corpus with new names, its fold with their clips in training, what is to be found."""
    (fold,) = folds.folds
    by_id = {clip.clip_id: clip for clip in corpus.clips}
    expected, moved = [], set()
    for ids in by_speaker([by_id[clip_id] for clip_id in fold.test]).values():
        expected.append(set(ids))
        moved |= choose([by_id[clip_id] for clip_id in ids], rng)
    clips = tuple(
        replace(clip, speaker=f"{clip.speaker} again") if clip.clip_id in moved else clip
        for clip in corpus.clips
    )
    test = tuple(clip_id for clip_id in fold.test if clip_id not in moved)
    split = replace(fold, train=(*fold.train, *sorted(moved)), test=test)
    return replace(corpus, clips=clips), replace(folds, folds=(split,)), expected


def _choose_clips(clips: Sequence[Clip], rng: np.random.Generator) -> set[str]:
    ids = [clip.clip_id for clip in clips]
    return set(rng.permutation(np.array(ids, dtype=object))[: len(ids) // 2])


def _choose_by(field: str, clips: Sequence[Clip], rng: np.random.Generator) -> set[str]:
    """Clips with half of the values of a field; the other half of them is the other name's."""
    values = sorted({str(getattr(clip, field)) for clip in clips})
    chosen = set(rng.permutation(np.array(values, dtype=object))[: len(values) // 2])
    return {clip.clip_id for clip in clips if str(getattr(clip, field)) in chosen}


_HALVES: dict[str, Choose] = {
    "any clips": _choose_clips,
    "other texts": partial(_choose_by, "text"),
    "other emotions": partial(_choose_by, "emotion"),
}
