"""Speakers on both sides of a split: the model may recognise the voice instead of the emotion."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ssl_audio.audit.parts import PAIRS, FoldClips
from ssl_audio.audit.report import Finding, name_some
from ssl_audio.data.manifest import Clip


def find_shared_speakers(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts that share speakers; each group is one speaker's clips.

    Training speakers in validation stop training too late, a warning; in test they make the number
    wrong.
    """
    for first, second in PAIRS:
        a, b = by_speaker(fold.parts[first]), by_speaker(fold.parts[second])
        shared = sorted(a.keys() & b.keys())
        if shared:
            yield fold.report(
                "shared_speakers",
                "leak" if second == "test" else "warning",
                f"{first} and {second} share {len(shared)} of {len(b)} speakers of {second}: "
                f"{name_some(shared)}",
                [a[speaker] + b[speaker] for speaker in shared],
            )


def find_unknown_speakers(fold: FoldClips) -> Iterator[Finding]:
    """A note if the speakers of some clips are unknown: sharing can't be ruled out."""
    everyone = [clip for clips in fold.parts.values() for clip in clips]
    unknown = [clip.clip_id for clip in everyone if clip.speaker is None]
    if unknown:
        yield fold.report(
            "unknown_speakers",
            "note",
            f"the speaker of {len(unknown)} of {len(everyone)} clips is unknown: whether parts "
            "share speakers can't be told",
            [unknown],
        )


def by_speaker(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by speaker; clips of unknown speakers are left out."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        if clip.speaker is not None:
            groups[clip.speaker].append(clip.clip_id)
    return dict(groups)
