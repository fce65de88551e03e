"""Recordings that are cut in two, one half on each side of a split: nothing overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.gate.changes import list_joint_changes
from benchmarks.gate.score import Score
from ssl_audio.audit import audit_fold
from ssl_audio.audit.copies import Copy
from ssl_audio.audit.copies.finding import search
from ssl_audio.data.audio import FULL_SCALE, Int16, measure
from ssl_audio.data.folds import Fold
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.prepared import PreparedCorpus

SHORTEST = SAMPLE_RATE // 4
"""Samples of a half."""
_FRAME = SAMPLE_RATE // 50
_QUIET_DB = -30.0
"""Below the loudest frame of a recording: cuts in pauses leave nothing to go by."""
CHANGE = "neighbouring halves"


@dataclass(frozen=True)
class _Halves:
    strength: str
    name: str
    """Of the recording, and of its first half."""
    clips: tuple[Clip, Clip]
    views: tuple[Int16, Int16]


def score_neighbours(
    corpus: PreparedCorpus, protocol: str, seed: int, clips_per_change: int
) -> list[Score]:
    """Second halves of test clips go to training under another name and speaker.

    The first halves stay as they are called; the whole recordings are nowhere.
    """
    fold = corpus.folds(protocol).folds[0]
    made = _cut_some(corpus, fold, np.random.default_rng(seed), clips_per_change)
    firsts = {halves.name: halves for halves in made}
    kept = [
        (halves.clips[0], halves.views[0]) if (halves := firsts.get(clip.clip_id)) else (clip, view)
        for clip, view in zip(corpus.clips, corpus.views, strict=True)
    ]
    kept += [(halves.clips[1], halves.views[1]) for halves in made]
    clips, views = [clip for clip, _ in kept], [view for _, view in kept]
    copies = tuple(search(clips, views, lambda one, other: True))
    grown = replace(fold, train=(*fold.train, *(halves.clips[1].clip_id for halves in made)))
    return _count(corpus.name, clips, grown, made, copies, seed)


def _cut_some(
    corpus: PreparedCorpus, fold: Fold, rng: np.random.Generator, clips_per_change: int
) -> list[_Halves]:
    places = {clip.clip_id: place for place, clip in enumerate(corpus.clips)}
    stranger = corpus.clips[places[fold.train[0]]].speaker
    changes = list_joint_changes()
    long_enough = [n for n in fold.test if len(corpus.views[places[n]]) > 3 * SHORTEST]
    names = rng.choice(long_enough, (len(changes), clips_per_change), replace=False)
    made: list[_Halves] = []
    for (strength, apply), chosen in zip(changes.items(), names, strict=True):
        for name in chosen:
            clip, view = corpus.clips[places[name]], corpus.views[places[name]]
            place = choose_place(view, rng)
            halves = apply(view[:place], rng), apply(view[place:], rng)
            second = replace(clip, clip_id=f"rest {len(made)}", speaker=stranger)
            clips = (
                clip.with_measured(**measure(halves[0])),
                second.with_measured(**measure(halves[1])),
            )
            made.append(_Halves(strength, str(name), clips, halves))
    return made


def choose_place(view: Int16, rng: np.random.Generator) -> int:
    """A random sample to cut at, where there is sound.

    Args:
        view: (samples,) int16 at 16 kHz.
        rng: draws.
    """
    count = len(view) // _FRAME
    power = np.square(view[: count * _FRAME].astype(np.float64) / FULL_SCALE)
    level = 10 * np.log10(power.reshape(count, _FRAME).mean(axis=1) + 1e-12)
    begins = np.arange(count) * _FRAME
    inside = (begins >= SHORTEST) & (begins + _FRAME <= len(view) - SHORTEST)
    loud = np.nonzero(inside & (level >= level[inside].max() + _QUIET_DB))[0]
    return int(rng.choice(loud)) * _FRAME + int(rng.integers(_FRAME))


def _count(
    corpus: str,
    clips: Sequence[Clip],
    fold: Fold,
    made: Sequence[_Halves],
    copies: Sequence[Copy],
    seed: int,
) -> list[Score]:
    told: dict[str, list[set[str]]] = {"leak": [], "warning": []}
    for finding in audit_fold(clips, fold, None, copies):
        if finding.kind == "split_parent" and finding.severity in told:
            told[finding.severity] += map(set, finding.groups)
    whole = {halves.clips[1].clip_id: halves.name for halves in made}
    pairs = [
        (whole.get(copy.first, copy.first), whole.get(copy.second, copy.second), copy)
        for copy in copies
    ]
    strays = [c for one, other, c in pairs if one != other and "split_parent" in c.kind]
    scores = []
    for strength in list_joint_changes():
        own = [{h.name, h.clips[1].clip_id} for h in made if h.strength == strength]
        ids = set().union(*own)
        stray = sum(copy.first in ids or copy.second in ids for copy in strays)
        for grade, groups in (
            ("told", told["leak"] + told["warning"]),
            ("told as a leak", told["leak"]),
        ):
            found = sum(any(pair <= group for group in groups) for pair in own)
            change = f"{CHANGE}, {grade}"
            counted = len(own), found, found, stray
            scores.append(Score(corpus, "split_parent", change, strength, seed, *counted))
    return scores
