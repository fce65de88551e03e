"""What labels and texts say: one recording under two labels, known texts, missing classes."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ssl_audio.audit.copied import connect
from ssl_audio.audit.identical import by_audio
from ssl_audio.audit.parts import CopyPair, FoldClips
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.data.folds import PARTS
from ssl_audio.data.manifest import Clip


def find_conflicting_labels(
    clips: Sequence[Clip], copies: Sequence[CopyPair] = ()
) -> Iterator[Finding]:
    """A warning if a recording and its copy have different emotions: one of the two is wrong."""
    emotions = {clip.clip_id: clip.emotion for clip in clips}
    pairs = [(ids[0], other) for ids in by_audio(clips).values() for other in ids[1:]]
    pairs += [(c.first, c.second) for c in copies if c.kind == "near_identical_audio"]
    groups = tuple(
        group
        for group in connect(pairs)
        if len({emotions.get(clip_id) for clip_id in group} - {None}) > 1
    )
    if groups:
        labelled = [[name for name in group if emotions.get(name)] for group in groups]
        shown = [" but ".join(f"{n} is {emotions[n]}" for n in names[:3]) for names in labelled]
        yield Finding(
            kind="conflicting_labels",
            severity="warning",
            evidence=f"{count_of(len(groups), 'recording')} under different labels: "
            f"{name_some(shown, most=2)}",
            groups=groups,
        )


def find_shared_texts(fold: FoldClips) -> Iterator[Finding]:
    """A note if what is said in the test was said in training too."""
    train, test = _by_text(fold.parts["train"]), _by_text(fold.parts["test"])
    shared = sorted(train.keys() & test.keys())
    if shared:
        yield fold.report(
            "shared_text",
            "note",
            f"train and test share {len(shared)} of {len(test)} texts of test: "
            f"{name_some([repr(text) for text in shared])}",
            [train[text] + test[text] for text in shared],
        )


def find_missing_classes(fold: FoldClips) -> Iterator[Finding]:
    """A note for every part that lacks a class or a gender that another part has.

    A part of which nothing is known lacks nothing: the unlabelled test of a competition, say.
    """
    emotions = {p: {e for clip in clips for e in clip.emotions} for p, clips in fold.parts.items()}
    genders = {p: {c.gender for c in clips if c.gender} for p, clips in fold.parts.items()}
    for part in PARTS:
        missing = [
            *(sorted(set().union(*emotions.values()) - emotions[part]) if emotions[part] else ()),
            *(sorted(set().union(*genders.values()) - genders[part]) if genders[part] else ()),
        ]
        if missing:
            evidence = f"{part} has no clips of {', '.join(missing)}"
            yield fold.report("missing_class", "note", evidence)


def _by_text(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by what is said, whatever its case, punctuation and spacing."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        if text := " ".join(re.findall(r"\w+", (clip.text or "").casefold())):
            groups[text].append(clip.clip_id)
    return dict(groups)
