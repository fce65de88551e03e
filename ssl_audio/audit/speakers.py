"""Speakers on both sides of a split: the model may recognise the voice instead of the emotion."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ssl_audio.audit.parts import PAIRS, FoldClips
from ssl_audio.audit.report import Finding, name_some
from ssl_audio.data.corpora import emodb, ravdess
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

_PUBLISHED = {"RAVDESS": ravdess.parse_clip, "EMO-DB": emodb.parse_clip}
"""Corpora whose files' names hold the speaker."""
_FEWEST_CLIPS = 10
_OWN_SPEAKERS = 0.8
"""Speakers for each clip above which they are doubted."""


def find_shared_speakers(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts that share speakers; each group is one speaker's clips.

    Training speakers in validation stop training too late, a warning; in test they make the number
    wrong.
    """
    for first, second in PAIRS:
        for tell, how in ((by_speaker, ""), (by_published_name, ", by the names of their files")):
            a, b = tell(fold.parts[first]), tell(fold.parts[second])
            shared = sorted(a.keys() & b.keys())
            if shared:
                yield fold.report(
                    "shared_speakers",
                    "leak" if second == "test" else "warning",
                    f"{first} and {second} share {len(shared)} of {len(b)} speakers of {second}"
                    f"{how}: {name_some(shared)}",
                    [a[speaker] + b[speaker] for speaker in shared],
                )
                break


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


def find_doubtful_speakers(clips: Sequence[Clip]) -> Iterator[Finding]:
    """A warning if nearly every clip has a speaker of its own: then no two can be told apart."""
    speakers = by_speaker(clips)
    num_known = sum(map(len, speakers.values()))
    if num_known >= _FEWEST_CLIPS and len(speakers) > _OWN_SPEAKERS * num_known:
        yield Finding(
            kind="unknown_speakers",
            severity="warning",
            evidence=f"{len(speakers)} speakers are declared for {num_known} clips: these may be "
            "names of clips, and whether parts share speakers can't be told",
            groups=(),
        )


def by_published_name(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by the speaker in the published names of their files, whatever a table says."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        for corpus, parse in _PUBLISHED.items():
            with suppress(DataError):
                groups[f"{corpus} {parse(clip.path).speaker}"].append(clip.clip_id)
    return dict(groups)


def by_speaker(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by speaker; clips of unknown speakers are left out."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        if clip.speaker is not None:
            groups[clip.speaker].append(clip.clip_id)
    return dict(groups)
