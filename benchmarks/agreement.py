"""Refuses imported predictions that were not tested as the rows they would stand beside."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from finetune.predictions import Predictions
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.protocols import Protocol
from ssl_audio.errors import DataError, UserError


def refuse_other_classes(predictions: Predictions, known: Protocol | Folds, source: str) -> None:
    """Name and classes must be those of the protocol.

    Args:
        predictions: to import.
        known: the protocol, or its folds.
        source: what to name in an error.

    Raises:
        DataError: another name, or other classes.
    """
    about = predictions.about
    name = known.name if isinstance(known, Protocol) else known.protocol
    if name != about.protocol:
        raise DataError(f"{source} was tested by {about.protocol}, the folds are {name}")
    if set(about.classes) != set(known.classes):
        raise DataError(
            f"{source}: the classes are {', '.join(about.classes)}, those of {name} are "
            f"{', '.join(known.classes)}"
        )


def refuse_other_folds(predictions: Predictions, folds: Folds, source: str) -> None:
    """Every clip must be a test clip of its fold.

    Args:
        predictions: to import; clips of the protocol may be missing.
        folds: of the protocol that they claim.
        source: what to name in an error.

    Raises:
        DataError: they were tested by something else.
    """
    tested_in: defaultdict[str, list[int]] = defaultdict(list)
    for fold in folds.folds:
        for clip_id in fold.test:
            tested_in[clip_id].append(fold.number)
    for clip_id, number in _tests(predictions):
        if number not in tested_in[clip_id]:
            right = f"in fold {_join(tested_in[clip_id])}" if tested_in[clip_id] else "in none"
            raise DataError(
                f"{source}: clip {clip_id} is tested in fold {number}, {folds.protocol} tests it "
                f"{right}: give what was done a name of its own with --protocol"
            )


def refuse_other_clips(predictions: Predictions, clips: Sequence[Clip], source: str) -> None:
    """Labels and speakers must be those of the corpus.

    Args:
        predictions: to import; their speakers may be unknown.
        clips: of the corpus, under the classes of the protocol.
        source: what to name in an error.

    Raises:
        DataError: a clip that the corpus lacks, or knows otherwise.
    """
    known = {clip.clip_id: clip for clip in clips}
    for clip_id, label, speaker in _facts(predictions):
        if clip_id not in known:
            raise DataError(f"{source}: clip {clip_id} is not in the corpus")
        clip = known[clip_id]
        if clip.emotion != label:
            raise DataError(
                f"{source}: clip {clip_id} has the label {label!r}, by the corpus it is "
                f"{clip.emotion!r}"
            )
        if speaker is not None and clip.speaker is not None and clip.speaker != speaker:
            raise DataError(
                f"{source}: clip {clip_id} is of speaker {speaker!r}, in the corpus of "
                f"{clip.speaker!r}"
            )


def refuse_other_rows(
    predictions: Predictions, results: Path, replaced: Collection[Path], source: str
) -> None:
    """Rows under one protocol must agree about clips, whoever made them.

    Args:
        predictions: to import.
        results: folder that they go to.
        replaced: files that the import overwrites.
        source: what to name in an error.

    Raises:
        UserError: another row has the same name.
        DataError: one that is there has another label, speaker or fold for a clip.
    """
    about = predictions.about
    for path in sorted((results / "predictions").glob("*.parquet")):
        if path in replaced:
            continue
        other = Predictions.load(path)
        if (other.about.protocol, other.about.task) != (about.protocol, about.task):
            continue
        if other.about.system == about.system and not _same_import(path, replaced):
            raise UserError(
                f"--system {about.system}: {path} holds a row of that name under {about.protocol} "
                "already: choose another name, or delete its files"
            )
        _refuse_difference(predictions, other, source)


def _same_import(path: Path, replaced: Collection[Path]) -> bool:
    """Whether a file is another fold or seed of what is imported."""
    return path.name.rsplit("__fold", 1)[0] in {
        name.name.rsplit("__fold", 1)[0] for name in replaced
    }


def _refuse_difference(predictions: Predictions, other: Predictions, source: str) -> None:
    facts = {clip_id: (label, speaker) for clip_id, label, speaker in _facts(other)}
    theirs = f"for {other.about.system!r}, which stands in the results under the same protocol"
    for clip_id, label, speaker in _facts(predictions):
        if clip_id not in facts:
            continue
        other_label, other_speaker = facts[clip_id]
        if label != other_label:
            raise DataError(
                f"{source}: clip {clip_id} has the label {label!r}, and {other_label!r} {theirs}"
            )
        if None not in (speaker, other_speaker) and speaker != other_speaker:
            raise DataError(
                f"{source}: clip {clip_id} is of speaker {speaker!r}, and of {other_speaker!r} "
                f"{theirs}"
            )
    folds, other_folds = _folds_of(predictions), _folds_of(other)
    for clip_id in folds.keys() & other_folds.keys():
        if not folds[clip_id] & other_folds[clip_id]:
            raise DataError(
                f"{source}: clip {clip_id} is tested in fold {_join(folds[clip_id])}, and in fold "
                f"{_join(other_folds[clip_id])} {theirs}: give what was done a name of its own "
                "with --protocol"
            )


def _tests(predictions: Predictions) -> list[tuple[str, int]]:
    frame = predictions.frame.drop_duplicates(["clip_id", "fold"])
    return list(zip(frame["clip_id"], frame["fold"].astype(int), strict=True))


def _facts(predictions: Predictions) -> list[tuple[str, str, str | None]]:
    """Clip, label and speaker."""
    frame = predictions.frame
    speakers = frame["speaker"].astype(object).where(frame["speaker"].notna(), None)
    return sorted(set(zip(frame["clip_id"], frame["label"], speakers, strict=True)), key=str)


def _folds_of(predictions: Predictions) -> dict[str, set[int]]:
    folds: defaultdict[str, set[int]] = defaultdict(set)
    for clip_id, fold in _tests(predictions):
        folds[clip_id].add(fold)
    return dict(sorted(folds.items()))


def _join(numbers: Collection[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))
