"""The same recording twice, by the hash of its samples or by its name."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ssl_audio.audit.parts import FoldClips
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.data.manifest import Clip


def find_identical_audio(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts that share audio under different names."""
    for first, second, severity in fold.pairs():
        a, b = by_audio(fold.parts[first]), by_audio(fold.parts[second])
        shared = sorted(tuple(sorted({*a[audio], *b[audio]})) for audio in a.keys() & b.keys())
        groups = tuple(group for group in shared if len(group) > 1)
        if groups:
            yield Finding(
                kind="identical_audio",
                severity=severity,
                protocol=fold.protocol,
                fold=fold.number,
                evidence=f"{first} and {second} share {count_of(len(groups), 'recording')}: "
                f"{name_some([' = '.join(group) for group in groups])}",
                groups=groups,
            )


def find_same_clip(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts that name the same clip."""
    for first, second, severity in fold.pairs():
        a = {clip.clip_id for clip in fold.parts[first]}
        shared = sorted(a & {clip.clip_id for clip in fold.parts[second]})
        if shared:
            yield Finding(
                kind="same_clip",
                severity=severity,
                protocol=fold.protocol,
                fold=fold.number,
                evidence=f"{first} and {second} both name {count_of(len(shared), 'clip')}: "
                f"{name_some(shared)}",
                groups=tuple((clip_id,) for clip_id in shared),
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
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        if clip.audio_sha256 is not None:
            groups[clip.audio_sha256].append(clip.clip_id)
    return dict(groups)
