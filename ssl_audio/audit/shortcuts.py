"""Labels that can be told from a file without listening: by its format, its length, its name.

Each value of an attribute names the class that it has most of. That rule, a decision tree of one
level, is learnt and judged under cross-validation, no speaker on both sides, and permuted labels
tell how far chance gets with it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_audio.audit.attributes import (
    Codes,
    Floats,
    Ints,
    code_bit_rates,
    code_durations,
    code_names,
    code_values,
)
from ssl_audio.audit.report import Finding, Severity
from ssl_audio.data.manifest import Clip

NUM_SPLITS = 5
NUM_PERMUTATIONS = 499
"""None may reach the attribute's score: a false alarm in 500 attributes that tell nothing."""
FEWEST_CLIPS = 10
"""Of a class, else it is left out."""
MOST_CLIPS = 5000
"""Looked at, drawn at random: more sharpen nothing that matters."""
LEAST_GAIN = 0.02
"""UAR above chance. Less is no shortcut, however significant."""
SEED = 0

LEAVES_TRACES = "what codecs, rates and channels leave in the audio gives the label away"
HEARD = "a model hears how long a clip is, and may by right"
BY_DESIGN = "many corpora write the label there, and no model reads it"


@dataclass(frozen=True)
class Attribute:
    """Something of a file that should not tell its label."""

    name: str
    severity: Severity
    why: str
    """What it means that it does."""
    encode: Callable[[Sequence[Clip]], Codes | None]
    """Its values; None if nothing is known or all are alike."""


def _format_part(place: int) -> Callable[[Clip], str | None]:
    """Container (0) or encoding (1) of ``WAV/PCM_16``."""

    def read(clip: Clip) -> str | None:
        parts = (clip.source_format or "").split("/")
        return parts[place] if len(parts) > place and parts[place] else None

    return read


ATTRIBUTES = (
    Attribute("container", "warning", LEAVES_TRACES, code_values(_format_part(0))),
    Attribute("codec", "warning", LEAVES_TRACES, code_values(_format_part(1))),
    Attribute("sample rate", "warning", LEAVES_TRACES, code_values(lambda c: c.source_sample_rate)),
    Attribute("channels", "warning", LEAVES_TRACES, code_values(lambda c: c.source_channels)),
    Attribute("bit rate", "warning", LEAVES_TRACES, code_bit_rates),
    Attribute("duration", "note", HEARD, code_durations),
    Attribute("file name", "note", BY_DESIGN, code_names),
    Attribute("folder", "note", BY_DESIGN, code_values(lambda c: c.path.rpartition("/")[0])),
)


def find_shortcuts(clips: Sequence[Clip]) -> Iterator[Finding]:
    """A finding for every attribute that predicts the label."""
    chosen = _choose(clips)
    classes, labels = np.unique([str(clip.emotion) for clip in chosen], return_inverse=True)
    if len(classes) < 2:
        return
    speakers = _speakers(chosen)
    how = "no speaker on both sides" if speakers is not None else "speakers unknown"
    known: dict[bytes, float | None] = {}
    for attribute in ATTRIBUTES:
        codes = attribute.encode(chosen)
        if codes is None:
            continue
        content = codes.columns.tobytes()
        if content not in known:  # a container often is a codec and a bit rate at once
            known[content] = _beat_chance(codes.columns, labels, speakers)
        uar, chance = known[content], 1 / len(classes)
        if uar is None:
            continue
        yield Finding(
            kind="shortcut_label",
            severity=attribute.severity,
            evidence=f"the {attribute.name} predicts the label with UAR {uar:.2f}, chance "
            f"{chance:.2f} (cross-validated, {how}): {attribute.why}",
            groups=tuple(codes.group([clip.clip_id for clip in chosen])),
        )


def can_be_judged(clips: Sequence[Clip]) -> bool:
    """Whether there are labels enough."""
    return len({clip.emotion for clip in _choose(clips)}) >= 2


def _choose(clips: Sequence[Clip]) -> list[Clip]:
    """One clip of each recording, of classes with enough of them."""
    first: dict[str, Clip] = {}
    for clip in clips:
        if clip.emotion is not None:
            first.setdefault(clip.audio_sha256 or clip.clip_id, clip)
    counts = Counter(clip.emotion for clip in first.values())
    chosen = [clip for clip in first.values() if counts[clip.emotion] >= FEWEST_CLIPS]
    order = np.random.default_rng(SEED).permutation(len(chosen))
    return [chosen[place] for place in sorted(order[:MOST_CLIPS])]


def _speakers(clips: Sequence[Clip]) -> Ints | None:
    """Number of each clip's, if all are known and there are enough to split."""
    speakers = {clip.speaker for clip in clips}
    if None in speakers or len(speakers) < NUM_SPLITS:
        return None
    return np.unique([str(clip.speaker) for clip in clips], return_inverse=True)[1]


def _beat_chance(columns: Ints, labels: Ints, speakers: Ints | None) -> float | None:
    """UAR of the best column, if no permutation of the labels gets as far; None if one does.

    Labels are permuted within speakers, so what merely tells who speaks does not count.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    dealer = StratifiedKFold if speakers is None else StratifiedGroupKFold
    splitter = dealer(NUM_SPLITS, shuffle=True, random_state=SEED)
    folds = np.zeros(len(labels), dtype=np.int64)
    for number, (_, test) in enumerate(splitter.split(columns, labels, speakers)):
        folds[test] = number
    rng = np.random.default_rng(SEED)
    permuted = [_permute(labels, speakers, rng) for _ in range(NUM_PERMUTATIONS)]
    tries = np.stack([labels, *permuted])
    uar = np.max([score_values(column, tries, folds) for column in columns.T], axis=0)
    beaten = uar[0] >= 1 / (labels.max() + 1) + LEAST_GAIN and uar[0] > uar[1:].max()
    return float(uar[0]) if beaten else None


def score_values(values: Ints, labels: Ints, folds: Ints) -> Floats:
    """UAR of naming the class that a value has most of, in proportion to the class's size.

    The rule is learnt on all folds but one and judged on that one, each in turn.

    Args:
        values: (clips,) numbers from 0 of the values of an attribute.
        labels: (tries, clips) numbers from 0 of classes.
        folds: (clips,) numbers from 0.

    Returns:
        (tries,) over the pooled judgements of all folds.
    """
    shape = (len(labels), folds.max() + 1, values.max() + 1, labels.max() + 1)
    places = (np.arange(len(labels))[:, None], folds[None], values[None], labels)
    flat = np.ravel_multi_index(np.broadcast_arrays(*places), shape)
    counts = np.bincount(flat.ravel(), minlength=int(np.prod(shape))).reshape(shape)
    learnt = counts.sum(1, keepdims=True) - counts
    shares = learnt / np.maximum(learnt.sum(2, keepdims=True), 1)
    named = shares.argmax(3)[..., None] == np.arange(shape[3])
    hits = (counts * named).sum((1, 2))
    uar: Floats = np.mean(hits / counts.sum((1, 2)), axis=1)
    return uar


def _permute(labels: Ints, speakers: Ints | None, rng: np.random.Generator) -> Ints:
    if speakers is None:
        return rng.permutation(labels)
    permuted = labels.copy()
    for speaker in range(speakers.max() + 1):
        places = np.flatnonzero(speakers == speaker)
        permuted[places] = rng.permutation(labels[places])
    return permuted
