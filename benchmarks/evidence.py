"""What an imported row can be checked against: folds, a corpus, lists of training clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from finetune.predictions import Predictions, collect_genders
from ssl_audio.audit.identical import by_audio
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus, folds_path
from ssl_audio.errors import DataError

ONLY_FOLD = 0
"""The number of a fold whose training clips come without one."""


@dataclass(frozen=True)
class Evidence:
    """What predictions can be checked against."""

    folds: Folds | None = None
    """Of the protocol that they claim."""
    clips: tuple[Clip, ...] = ()
    """Of the prepared corpus, with the hashes of their audio."""
    training: Mapping[int, tuple[Clip, ...]] = field(default_factory=dict)
    """By fold, what the system really learnt from; empty if not known."""

    def known_clips(self, predictions: Predictions) -> dict[str, Clip]:
        """By clip_id: what the corpus says, else the speakers that the predictions name."""
        frame = predictions.frame.drop_duplicates("clip_id")
        speakers = {
            clip_id: None if pd.isna(speaker) else str(speaker)
            for clip_id, speaker in zip(frame["clip_id"], frame["speaker"], strict=True)
        }
        named = {
            clip_id: Clip(clip_id=clip_id, path=clip_id, speaker=speaker)
            for clip_id, speaker in speakers.items()
        }
        corpus = {
            clip.clip_id: replace(clip, speaker=clip.speaker or speakers.get(clip.clip_id))
            for clip in self.clips
        }
        return named | corpus

    def complete(self, predictions: Predictions) -> Predictions:
        """Fills in what the corpus knows of the test clips: speakers, genders, copies."""
        if not self.clips:
            return predictions
        known = self.known_clips(predictions)
        ids = predictions.frame["clip_id"]
        tested = [known[clip_id] for clip_id in sorted(set(ids))]
        about = replace(
            predictions.about,
            genders=collect_genders((clip.speaker, clip.gender) for clip in tested),
            copies=tuple(
                tuple(sorted(group)) for group in by_audio(tested).values() if len(group) > 1
            ),
        )
        speakers = [known[clip_id].speaker for clip_id in ids]
        return Predictions(about, predictions.frame.assign(speaker=speakers))

    def training_of(self, number: int, numbers: list[int]) -> tuple[Clip, ...]:
        """The training clips of a fold.

        Args:
            number: of the fold.
            numbers: of all folds that are to be judged.

        Raises:
            DataError: there are none.
        """
        if set(self.training) == {ONLY_FOLD} and len(numbers) == 1:
            return self.training[ONLY_FOLD]
        if number not in self.training:
            raise DataError(
                f"--train-clips: expected the training clips of fold "
                f"{', '.join(map(str, numbers))}, none are of fold {number}"
            )
        return self.training[number]


def gather_evidence(
    protocol: str, folds: Path | None, corpus: Path | None, train_clips: Path | None
) -> Evidence:
    """Reads what an import is to be checked against.

    Args:
        protocol: full name of what the predictions claim.
        folds: file of folds; by default the corpus's own of that protocol, if it has them.
        corpus: prepared folder.
        train_clips: see ``read_training``.

    Raises:
        UserError: a file that can't be read.
    """
    known_folds = Folds.load(folds) if folds is not None else None
    clips: tuple[Clip, ...] = ()
    if corpus is not None:
        prepared = PreparedCorpus.load(corpus)
        clips = prepared.clips
        if known_folds is None and folds_path(corpus, protocol).is_file():
            known_folds = prepared.folds(protocol)
    training = read_training(train_clips) if train_clips is not None else {}
    return Evidence(known_folds, clips, training)


def read_training(path: Path) -> dict[int, tuple[Clip, ...]]:
    """What a system learnt from, validation included, by fold.

    Args:
        path: CSV with the columns fold and clip_id, or the manifest of a single fold's clips, such
            as the ``training.parquet`` that ``finetune`` writes.

    Raises:
        DataError: not such a file.
    """
    if path.suffix == ".parquet":
        return {ONLY_FOLD: tuple(read_manifest(path))}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"--train-clips {path} can't be read as CSV: {error}") from None
    if not {"fold", "clip_id"} <= set(table.columns) or table.empty:
        raise DataError(
            f"--train-clips {path}: expected the columns fold and clip_id and at least one row, "
            f"got {', '.join(table.columns)} and {len(table)} rows"
        )
    bad = table.loc[~table["fold"].str.fullmatch(r"[1-9]\d*"), "fold"]
    if len(bad):
        raise DataError(
            f"--train-clips {path}: expected numbers of folds from 1, got {bad.iloc[0]!r}"
        )
    return {
        int(fold): tuple(Clip(clip_id=name, path=name) for name in part["clip_id"].unique())
        for fold, part in table.groupby("fold")
    }
