"""Speakers on both sides of a split: the model may recognise the voice instead of the emotion."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ssl_audio.audit.parts import PAIRS, FoldClips
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.data.corpora import emodb, ravdess
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

if TYPE_CHECKING:
    from ssl_audio.audit.voices import Voices

_PUBLISHED = {"RAVDESS": ravdess.parse_clip, "EMO-DB": emodb.parse_clip}
"""Corpora whose files' names hold the speaker."""
_FEWEST_CLIPS = 10
_OWN_SPEAKERS = 0.8
"""Speakers for each clip above which they are doubted."""
_NO_VOICE = 0.3
"""Likeness of halves of one speaker, in the middle, below which names are not of speakers: where
names are dealt at random it is about 0."""


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


def find_same_voices(fold: FoldClips, voices: "Voices") -> Iterator[Finding]:
    """A warning for every two parts between which one voice seems to go by two names.

    Never a leak: a voice is no proof. Brothers sound alike, and so may all who were recorded on one
    day with one microphone; somebody has to listen.
    """
    for first, second in PAIRS:
        a, b = by_speaker(fold.parts[first]), by_speaker(fold.parts[second])
        across = {
            (one, other): likeness
            for pair, likeness in voices.pairs.items()
            for one, other in (pair, pair[::-1])
            if one in a and other in b
        }
        if across:
            named = [f"{one} and {other} ({alike:.2f})" for (one, other), alike in across.items()]
            yield fold.report(
                "shared_speakers",
                "warning",
                f"one voice under two names, as it sounds, in {first} and {second}, "
                f"{count_of(len(across), 'pair')}: {name_some(named)}; halves of one speaker are "
                f"alike by {voices.of_one_speaker:.2f}, other pairs by {voices.most_of_others:.2f} "
                "at most",
                [a[one] + b[other] for one, other in across],
            )


def find_doubtful_voices(voices: "Voices") -> Iterator[Finding]:
    """A warning if one speaker's clips sound no more alike than anybody's."""
    if voices.of_one_speaker < _NO_VOICE:
        yield Finding(
            kind="unknown_speakers",
            severity="warning",
            evidence=f"halves of one declared speaker sound alike by {voices.of_one_speaker:.2f} "
            "only: these may be no speakers, and whether parts share speakers can't be told",
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
