"""The same recording twice, by the hash of its samples, whatever its name and container."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ssl_audio.audit.parts import PAIRS, FoldClips
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.data.manifest import Clip


def find_identical_audio(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts that share a recording, be it under one name or several."""
    recordings = {part: _by_recording(clips) for part, clips in fold.parts.items()}
    for first, second in PAIRS:
        a, b = recordings[first], recordings[second]
        groups = sorted(tuple(sorted({*a[key], *b[key]})) for key in a.keys() & b.keys())
        if not groups:
            continue
        num_named = sum(len(group) == 1 for group in groups)
        named = f", {num_named} of them by the same name" if num_named else ""
        yield fold.report_shared_audio(
            "identical_audio",
            (first, second),
            f"{first} and {second} share {count_of(len(groups), 'recording')}{named}: "
            f"{name_some([' = '.join(group) for group in groups])}",
            groups,
        )


def find_duplicates(clips: Sequence[Clip]) -> Iterator[Finding]:
    """A note if a corpus holds any recording more than once."""
    groups = tuple(sorted(tuple(ids) for ids in by_audio(clips).values() if len(ids) > 1))
    if groups:
        yield Finding(
            kind="identical_audio",
            severity="note",
            evidence=f"the corpus holds {count_of(len(groups), 'recording')} more than once: "
            f"{name_some([' = '.join(group) for group in groups])}",
            groups=groups,
        )


def by_audio(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by the hash of their samples; unprepared clips are left out."""
    return _by_recording([clip for clip in clips if clip.audio_sha256 is not None])


def _by_recording(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clip ids by the hash of their samples; of an unprepared clip the name must do."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        groups[clip.audio_sha256 or f"clip {clip.clip_id}"].append(clip.clip_id)
    return dict(groups)
