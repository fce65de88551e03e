"""The parts of a fold as clips, and what sharing between two of them means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssl_audio.audit.report import Finding, Severity
from ssl_audio.data.folds import PARTS, Fold
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

PAIRS = (("train", "test"), ("validation", "test"), ("train", "validation"))
"""Parts that must not share a recording, the worst first."""


class CopyPair(Protocol):
    """Two clips of which one was made from the other, or both from one recording."""

    @property
    def first(self) -> str:
        """clip_id."""

    @property
    def second(self) -> str:
        """clip_id."""

    @property
    def kind(self) -> str:
        """A ``CopyKind``: ``near_identical_audio``, ``augmented_copies``, ``split_parent``, ..."""


@dataclass(frozen=True)
class FoldClips:
    """One fold with its clips."""

    protocol: str | None
    number: int
    parts: dict[str, tuple[Clip, ...]]
    copies: tuple[CopyPair, ...] = ()
    """Those that were found in the audio, of any clips."""

    @classmethod
    def find(
        cls,
        clips: Sequence[Clip],
        fold: Fold,
        protocol: str | None,
        copies: Iterable[CopyPair] = (),
    ) -> "FoldClips":
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
        return cls(protocol, fold.number, parts, tuple(copies))

    def report(
        self, kind: str, severity: Severity, evidence: str, groups: Iterable[Sequence[str]] = ()
    ) -> Finding:
        """A finding on this fold."""
        return Finding(
            kind=kind,
            severity=severity,
            protocol=self.protocol,
            fold=self.number,
            evidence=evidence,
            groups=tuple(tuple(group) for group in groups),
        )

    def report_shared_audio(
        self, kind: str, pair: tuple[str, str], evidence: str, groups: Iterable[Sequence[str]]
    ) -> Finding:
        """A leak: two parts hold the same recordings, in whatever form.

        Between training and validation it has its own kind: what is chosen by recordings that were
        learnt from is chosen by memory, so the choice is void and with it what is tested.
        """
        named = "validation_in_training" if pair == ("train", "validation") else kind
        return self.report(named, "leak", evidence, groups)
