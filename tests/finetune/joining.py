"""Clips that hold several emotions."""

from pathlib import Path

from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus
from tests.finetune.configuring import CLASSES


def join(prepared: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Joined clips, and folds of them by speaker."""
    root = tmp_path / "joined"
    prepare("joined", prepared, root)
    corpus = PreparedCorpus.load(root)
    speakers = sorted({str(clip.speaker) for clip in corpus.clips})
    by_part = {"test": speakers[:2], "validation": speakers[2:4], "train": speakers[4:]}
    parts = {
        part: tuple(sorted(clip.clip_id for clip in corpus.clips if clip.speaker in chosen))
        for part, chosen in by_part.items()
    }
    folds = Folds("synthetic-multilabel/mine", CLASSES, (Fold(1, **parts),), "multilabel")
    folds.save(tmp_path / "folds.csv")
    return root, tmp_path / "folds.csv"
