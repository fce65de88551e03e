"""The parts of a fold as clips, and what sharing between two of them means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssl_audio.audit.report import Severity
from ssl_audio.data.folds import PARTS, Fold
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

SHARING: dict[tuple[str, str], Severity] = {
    ("train", "test"): "leak",
    ("validation", "test"): "leak",
    ("train", "validation"): "warning",
}
"""Training clips in validation stop training too late; anything in test makes the number wrong."""


@dataclass(frozen=True)
class FoldClips:
    """One fold with its clips."""

    protocol: str | None
    number: int
    parts: dict[str, tuple[Clip, ...]]

    @classmethod
    def find(cls, clips: Sequence[Clip], fold: Fold, protocol: str | None) -> "FoldClips":
        """Looks up the clips that a fold names.

        Raises:
            DataError: the fold names a clip that is not among them.
        """
        by_id = {clip.clip_id: clip for clip in clips}
        parts = {}
        for part in PARTS:
            ids: tuple[str, ...] = getattr(fold, part)
            if missing := [clip_id for clip_id in ids if clip_id not in by_id]:
                raise DataError(
                    f"fold {fold.number} of {protocol or 'the folds'} names {len(missing)} clips "
                    f"that the corpus lacks, first {missing[0]}: it belongs to another corpus"
                )
            parts[part] = tuple(by_id[clip_id] for clip_id in ids)
        return cls(protocol, fold.number, parts)

    def pairs(self) -> Iterator[tuple[str, str, Severity]]:
        """Every two parts and how bad it is that they share something."""
        for (first, second), severity in SHARING.items():
            yield first, second, severity
