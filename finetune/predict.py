"""Predictions for any number of audio files, as one CSV file."""

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from finetune.decoding import Decoded, decode_ahead, divide
from finetune.formats import FORMATS, Format
from finetune.inputs import AudioInput, find_inputs
from finetune.journal import Answered, Journal, open_journal
from finetune.jury import Combination, Jury, fingerprint
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError
from ssl_audio.progress import progress_bar

_WAY = 2
"""To be raised with every change to what a row says: answers of another way are not taken over."""
_ERRORS_HEADER = ("file", "error")


@dataclass(frozen=True)
class Prediction:
    """What predicting gave.

    Attributes:
        num_files: that were meant.
        num_errors: of them that could not be read.
        num_taken_over: answered by an interrupted run.
        audio_seconds: listened to by this run.
        wall_seconds: that it took.
    """

    num_files: int
    num_errors: int
    num_taken_over: int
    audio_seconds: float
    wall_seconds: float


def predict(
    inputs: Sequence[Path],
    models: Sequence[Path],
    output: Path,
    form: str = "table",
    combination: str = "mean",
) -> Prediction:
    """Writes a prediction for every file, in the order in which they are listed.

    The output appears when it is whole. Until then answers are kept beside it in ``.NAME.partial``:
    after an interruption the same call goes on there. Only the files that have since been changed,
    could not be read or are new are listened to, and all of them if the models or the format are
    others.

    Args:
        inputs: files, folders, and lists with a column ``filename``.
        models: folders that ``finetune train`` wrote.
        output: CSV file; an older one is replaced.
        form: see ``finetune.formats``. Files that can't be read have a row with the reason in a
            ``table``; of other formats they are listed in ``NAME.errors.csv`` beside.
        combination: of several models, ``mean`` of their probabilities, ``mode``, their votes, or
            ``weighted``, a mean whose weights suit the clips by which all of them were chosen.

    Raises:
        UserError: no such format, no model, nothing to listen to, an output that can't be written,
            or no file that could be read.
    """
    started = time.perf_counter()
    if form not in FORMATS:
        raise UserError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    if combination not in (choices := get_args(Combination)):
        raise UserError(f"--combine {combination}: choose one of {', '.join(choices)}")
    _refuse_output(output, inputs, form)
    files, notes = find_inputs(inputs)
    jury = Jury.load(models, cast(Combination, combination))
    shape = FORMATS[form](jury.rule)
    prints = [fingerprint(folder) for folder in models]
    about = {"way": _WAY, "format": form, "combination": combination, "models": prints}
    with open_journal(output, about) as journal:
        missing = [file for file in files if file not in journal]
        num_samples = _answer_all(jury, shape, files, missing, journal)
        num_errors = _write(shape, files, journal, output)
    if jury.ensemble.weights is not None:
        shares = zip(models, jury.ensemble.weights, strict=True)
        notes = [*notes, ", ".join(f"{model} weighs {share:.2f}" for model, share in shares)]
    for note in notes:
        print(f"note: {note}")
    prediction = Prediction(
        num_files=len(files),
        num_errors=num_errors,
        num_taken_over=len(files) - len(missing),
        audio_seconds=num_samples / SAMPLE_RATE,
        wall_seconds=time.perf_counter() - started,
    )
    if num_errors == len(files):
        raise UserError(f"none of {len(files)} files could be read; {_reasons(output, form)}")
    print(_describe(prediction, output, form))
    return prediction


def errors_path(output: Path) -> Path:
    """Where files that can't be read are listed if the output has no row for them."""
    return output.with_suffix(".errors.csv")


def _refuse_output(output: Path, inputs: Sequence[Path], form: str) -> None:
    """Before hours of work, not after them."""
    if output.suffix.lower() != ".csv":
        raise UserError(f"--output must be a .csv file, got {output}")
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise UserError(f"--output {output} is what is to be read: name another file")
    beside = errors_path(output)
    if form != "table" and beside.exists() and not _is_ours(beside):
        raise UserError(f"--output {output} would replace {beside}, which predict did not write")
    if output.is_dir():
        raise UserError(f"--output {output} is a folder: name a file")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; make it first")


def _is_ours(errors: Path) -> bool:
    """Whether it is a list of files that could not be read."""
    if not errors.is_file():
        return False
    with errors.open("rb") as file:
        return file.readline(100).strip() == ",".join(_ERRORS_HEADER).encode()


def _answer_all(
    jury: Jury,
    shape: Format,
    files: Sequence[AudioInput],
    missing: Sequence[AudioInput],
    journal: Journal,
) -> int:
    """Answers what is missing into the journal; returns the samples that were listened to."""
    num_samples = 0
    done = len(files) - len(missing)
    with progress_bar(len(files), "predict", "file", initial=done) as bar:
        try:
            for portion in divide(decode_ahead(missing)):
                journal.add(list(_answer(jury, shape, portion)))
                num_samples += sum(len(d.samples) for d in portion if d.samples is not None)
                bar.set_postfix_str(f"{num_samples / SAMPLE_RATE / 3600:.1f} h of audio", False)
                bar.update(len(portion))
                del portion  # A long recording is not held while the next one is decoded.
        except KeyboardInterrupt:
            bar.close()
            kept = f"{bar.n} of {len(files)} files are kept: the same command goes on from there"
            print(kept, file=sys.stderr)
            raise
    return num_samples


def _answer(jury: Jury, shape: Format, portion: Sequence[Decoded]) -> Iterator[Answered]:
    """Answers in no particular order."""
    readable = [(item.file, item.samples) for item in portion if item.samples is not None]
    files, clips = [file for file, _ in readable], [samples for _, samples in readable]
    for file, rows in zip(files, shape.ask(jury, files, clips), strict=True):
        yield Answered(file, rows)
    for item in portion:
        if item.error:
            yield Answered(item.file, shape.of_error(item.file, item.error), item.error)


def _write(shape: Format, files: Sequence[AudioInput], journal: Journal, output: Path) -> int:
    """The output, and what could not be read; returns how many files that are."""
    aside = output.with_name(f".{output.name}.new")
    beside = errors_path(output)
    if _is_ours(beside):
        beside.unlink()
    errors: list[tuple[str, str]] = []
    unlisted = False
    with aside.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(shape.header)
        for file in files:
            answered = journal.read(file)
            writer.writerows(answered.rows)
            if answered.error:
                errors.append((file.place, answered.error))
                unlisted = unlisted or not answered.rows
    if unlisted:
        with beside.open("w", newline="", encoding="utf-8") as table:
            csv.writer(table, lineterminator="\n").writerows([_ERRORS_HEADER, *errors])
    aside.replace(output)
    return len(errors)


def _describe(prediction: Prediction, output: Path, form: str) -> str:
    num_read = prediction.num_files - prediction.num_errors
    lines = [f"{num_read} of {prediction.num_files} files predicted: {output}"]
    if prediction.num_taken_over:
        lines.append(f"{prediction.num_taken_over} of them by a run that was interrupted")
    if prediction.audio_seconds:
        factor = prediction.wall_seconds / prediction.audio_seconds
        lines.append(
            f"{_duration(prediction.audio_seconds)} of audio in {prediction.wall_seconds:.1f} s, "
            f"models' loading included: a real-time factor of {factor:.4f}"
        )
    if prediction.num_errors:
        lines.append(f"{prediction.num_errors} could not be read; {_reasons(output, form)}")
        if form == "submission":
            lines.append("they are missing from the submission: a scorer may refuse it")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"


def _reasons(output: Path, form: str) -> str:
    told = f"the column error of {output}" if form == "table" else str(errors_path(output))
    return f"{told} says why"
