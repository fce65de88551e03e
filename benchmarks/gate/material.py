"""A clean corpus and fold that leaks are put into, and what the gate says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.systems.mfcc_statistics import mfcc_statistics
from ssl_audio.audit import audit_folds
from ssl_audio.audit.feature_table import FeatureTable, Side
from ssl_audio.audit.pool import Pool, find_pretraining_pool
from ssl_audio.audit.report import Finding
from ssl_audio.audit.shortcuts import find_shortcuts
from ssl_audio.audit.table_checks import check_table
from ssl_audio.data.folds import PARTS, Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.progress import with_progress

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]
NUM_MFCC = 20


@dataclass(frozen=True)
class Material:
    """What one audit looks at."""

    clips: tuple[Clip, ...]
    folds: Folds
    """One fold."""
    features: Floats
    """(clips, features), one row for each clip and in their order, before any injection."""
    pool: tuple[Clip, ...] = ()
    """That pretraining saw."""
    table: FeatureTable | None = None
    row_parts: Parts | None = None
    """(rows,) part of the fold of each row of the table."""

    @classmethod
    def of(cls, corpus: PreparedCorpus, protocol: str) -> "Material":
        """The first fold of a protocol of the corpus, nothing wrong with it."""
        folds = corpus.folds(protocol)
        ids = set(folds.clip_ids)
        places = [place for place, clip in enumerate(corpus.clips) if clip.clip_id in ids]
        views = with_progress([corpus.views[p] for p in places], len(places), "features", "clip")
        return cls(
            clips=tuple(corpus.clips[place] for place in places),
            folds=replace(folds, folds=folds.folds[:1]),
            features=np.stack([mfcc_statistics(view, NUM_MFCC) for view in views]),
        )

    @property
    def fold(self) -> Fold:
        """The only one."""
        return self.folds.folds[0]

    def with_fold(self, **parts: Sequence[str]) -> "Material":
        """Other clips in some of its parts."""
        own = {part: getattr(self.fold, part) for part in PARTS} | parts
        sorted_ids = {part: tuple(sorted(ids)) for part, ids in own.items()}
        fold = Fold(self.fold.number, **sorted_ids)
        return replace(self, folds=replace(self.folds, folds=(fold,)))

    def with_clips(self, *clips: Clip) -> "Material":
        """More clips; those whose name is known take the place of the known ones."""
        merged = {clip.clip_id: clip for clip in (*self.clips, *clips)}
        return replace(self, clips=tuple(merged.values()))

    def find(self, clip_id: str) -> Clip:
        """The clip of this name."""
        return next(clip for clip in self.clips if clip.clip_id == clip_id)

    @property
    def parts(self) -> Parts:
        """(clips,) part of the fold that each clip is in."""
        part_of = {clip_id: part for part in PARTS for clip_id in getattr(self.fold, part)}
        return np.array([part_of.get(clip.clip_id, "") for clip in self.clips])

    def with_table(self, values: Floats, labels: Sequence[str], row_parts: Parts) -> "Material":
        """A table of features: one row for each clip in their order, then made-up ones."""
        made_up = [None] * (len(values) - len(self.clips))
        clip_ids = (*(clip.clip_id for clip in self.clips), *made_up)
        table = FeatureTable(
            values=values,
            features=tuple(f"feature {column}" for column in range(values.shape[1])),
            names=tuple(name or f"row {row}" for row, name in enumerate(clip_ids)),
            clip_ids=clip_ids,
            labels=tuple(labels),
            speakers=(*(clip.speaker for clip in self.clips), *made_up),
            own_rows={},
            num_dropped=0,
            num_empty=0,
        )
        return replace(self, table=table, row_parts=row_parts)

    def audit(self, kind: str) -> list[Finding]:
        """What the command ``audit`` finds of one kind."""
        return [finding for finding in self._audit(kind) if finding.kind == kind]

    def _audit(self, kind: str) -> list[Finding]:
        if kind == "shortcut_label":  # the slowest check, and no other one finds these
            return list(find_shortcuts(self.clips))
        findings = audit_folds(self.clips, [self.folds])
        tested = [clip for clip in self.clips if clip.clip_id in set(self.fold.test)]
        findings += find_pretraining_pool(tested, Pool("pool", self.pool))
        if self.table is None or self.row_parts is None:
            return findings
        side = Side(self.folds.protocol, self.fold.number, self.row_parts)
        return [*findings, *check_table(self.table, [side], self.clips)]
