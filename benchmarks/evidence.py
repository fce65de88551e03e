"""What an imported row can be checked against: a protocol, corpora, lists of training clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from benchmarks.protocol import PROTOCOLS
from finetune.predictions import Predictions, Provenance, collect_genders
from ssl_audio.audit.identical import by_audio
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus, folds_path
from ssl_audio.data.protocols import Protocol, load_protocol, open_protocol, protocol_path
from ssl_audio.errors import DataError

ONLY_FOLD = 0
"""The number of a fold whose training clips come without one."""


@dataclass(frozen=True)
class Evidence:
    """What predictions can be checked against."""

    protocol: Protocol | None = None
    """That they claim, if it has a file."""
    folds: Folds | None = None
    """Of the protocol that they claim."""
    clips: tuple[Clip, ...] = ()
    """Of the prepared corpora, with the hashes of their audio, under the protocol's classes; those
    that it leaves out keep their own."""
    training: Mapping[int, tuple[Clip, ...]] = field(default_factory=dict)
    """By fold, what the system really learnt from; empty if not known."""
    corpus: str = ""
    """Reader of the corpus that the clips are of, where the protocol has no file."""

    @property
    def tested_corpus(self) -> str:
        """Name of the reader of the corpus that was tested; empty if not known."""
        return self.protocol.sources[-1].corpus if self.protocol is not None else self.corpus

    def place(self, predictions: Predictions) -> Predictions:
        """Gives what runs store of a protocol: task, order of classes, speakers, size of folds."""
        known = self.protocol or self.folds
        if known is None:
            return predictions
        about = replace(predictions.about, task=known.task)
        if set(about.classes) == set(known.classes):
            about = replace(about, classes=known.classes)
        if self.folds is not None:
            num_folds, ratio = len(self.folds.folds), self.folds.test_to_train
            about = replace(about, num_folds=num_folds, test_to_train=ratio)
        if self.protocol is None:
            return Predictions(about, predictions.frame)
        speakers = [
            None if pd.isna(speaker) else _tell_apart(self.protocol, self.tested_corpus, speaker)
            for speaker in predictions.frame["speaker"]
        ]
        return Predictions(about, predictions.frame.assign(speaker=speakers))

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
    about: Provenance, folds: Path | None, corpora: Sequence[Path], train_clips: Path | None
) -> Evidence:
    """Reads what an import is to be checked against.

    Args:
        about: what the predictions claim.
        folds: the protocol's file (YAML) or its folds (CSV); by default its own of
            ``configs/protocols``, else those that the corpus has for it.
        corpora: prepared folders; all that the protocol's file names, or one if it has no file.
        train_clips: see ``read_training``.

    Raises:
        UserError: a file that can't be read, a corpus that is missing, or folds that are not those
            of the protocol's own file.
    """
    training = read_training(train_clips) if train_clips is not None else {}
    prepared = [PreparedCorpus.load(root) for root in corpora]
    file = folds if folds is not None and folds.suffix == ".yaml" else None
    listed = Folds.load(folds) if folds is not None and file is None else None
    described = _find_protocol(about.protocol, file)
    if described is None:
        return replace(_read_corpus(about, listed, prepared), training=training)
    if not prepared:
        return Evidence(described, listed, training=training)
    opened = open_protocol(str(file or about.protocol), prepared, PROTOCOLS)
    if listed is not None and _tests_of(listed) != _tests_of(opened.folds):
        raise DataError(
            f"--folds {folds} test other clips than {about.protocol} does on these corpora: give "
            "what was done a name of its own with --protocol"
        )
    clips = (*_left_out(described, prepared), *opened.corpus.clips)
    return Evidence(described, opened.folds, clips, training)


def _find_protocol(name: str, file: Path | None) -> Protocol | None:
    """The protocol of a file, else the known one of that name.

    Raises:
        UserError: the file can't be read, or is not what is known under its name.
    """
    given = load_protocol(file) if file is not None else None
    path = protocol_path(PROTOCOLS, given.name if given is not None else name)
    own = load_protocol(path) if path.is_file() else None
    if given is not None and own not in (None, given):
        raise DataError(
            f"--folds {file} is not the {given.name} of {path.name}: give it a name of its own"
        )
    return given or own


def _read_corpus(
    about: Provenance, folds: Folds | None, corpora: Sequence[PreparedCorpus]
) -> Evidence:
    """Evidence on a protocol without a file: folds if there are any, and one corpus at most."""
    if not corpora:
        return Evidence(folds=folds)
    if len(corpora) > 1:
        # Raises: only a protocol's file says what is taken from which corpus.
        open_protocol(about.protocol, corpora, PROTOCOLS)
    (corpus,) = corpora
    if folds is None and folds_path(corpus.root, about.protocol).is_file():
        folds = corpus.folds(about.protocol)
    clips = corpus.clips
    if (folds or about).task == "gender-emotion":
        clips = tuple(replace(clip, emotion=_joint_class(clip)) for clip in clips)
    return Evidence(folds=folds, clips=clips, corpus=corpus.name)


def _left_out(protocol: Protocol, corpora: Sequence[PreparedCorpus]) -> list[Clip]:
    """The clips that a protocol does not use; a system may have learnt from them all the same."""
    return [
        replace(clip, speaker=clip.speaker and _tell_apart(protocol, corpus.name, clip.speaker))
        for source in protocol.sources
        for corpus in corpora
        if corpus.name == source.corpus
        for clip, chosen in zip(corpus.clips, source.choose(corpus.clips), strict=True)
        if chosen is None
    ]


def _tell_apart(protocol: Protocol, corpus: str, speaker: str) -> str:
    """A speaker's name as ``Protocol.apply`` tells the speakers of two corpora apart."""
    if len(protocol.sources) == 1 or speaker.startswith(f"{corpus}:"):
        return speaker
    return f"{corpus}:{speaker}"


def _joint_class(clip: Clip) -> str | None:
    return f"{clip.gender}_{clip.emotion}" if clip.gender and clip.emotion else None


def _tests_of(folds: Folds) -> dict[int, tuple[str, ...]]:
    return {fold.number: fold.test for fold in folds.folds}


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
