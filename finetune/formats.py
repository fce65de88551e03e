"""What a prediction looks like as rows of a CSV file."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from finetune.answers import DONT_KNOW, AnswerRule
from finetune.inputs import AudioInput
from finetune.jury import Jury
from ssl_audio.data.audio import Int16

Row = list[str]


class Format(ABC):
    """A kind of output.

    Attributes:
        rule: how probabilities are read.
    """

    def __init__(self, rule: AnswerRule) -> None:
        self.rule = rule

    @property
    @abstractmethod
    def header(self) -> Row:
        """Names of the columns."""

    @abstractmethod
    def ask(
        self, jury: Jury, files: Sequence[AudioInput], clips: Sequence[Int16]
    ) -> Iterable[list[Row]]:
        """The rows of each file.

        Args:
            jury: who answers.
            files: that are asked about.
            clips: (samples,) int16 at 16 kHz each.
        """

    def of_error(self, file: AudioInput, error: str) -> list[Row]:
        """The rows of a file that can't be read: none, it is listed in a file beside."""
        return []


class Table(Format):
    """One row a file: file, emotion, a probability per class, error."""

    @property
    def header(self) -> Row:
        """See Format."""
        return ["file", "emotion", *self.rule.classes, "error"]

    def ask(
        self, jury: Jury, files: Sequence[AudioInput], clips: Sequence[Int16]
    ) -> Iterable[list[Row]]:
        """See Format."""
        for file, found in zip(files, jury.probabilities(clips).tolist(), strict=True):
            yield [[file.place, self.rule.answer(found), *map(_share, found), ""]]

    def of_error(self, file: AudioInput, error: str) -> list[Row]:
        """A row with the reason, and nothing else."""
        return [[file.place, "", *[""] * len(self.rule.classes), error]]


class Submission(Format):
    """One row a file, as the competition's train.csv has them: filename, emotion.

    There is always one emotion: the most probable, however unsure and however many there may be. A
    file that can't be read is left out, as any emotion would be made up.
    """

    @property
    def header(self) -> Row:
        """See Format."""
        return ["filename", "emotion"]

    def ask(
        self, jury: Jury, files: Sequence[AudioInput], clips: Sequence[Int16]
    ) -> Iterable[list[Row]]:
        """See Format."""
        for file, found in zip(files, jury.probabilities(clips).tolist(), strict=True):
            yield [[file.name, self.rule.likeliest(found)]]


class Timeline(Format):
    """One row a segment: file, start and end in seconds, emotion, a probability per class.

    The probabilities are means over the segment.
    """

    @property
    def header(self) -> Row:
        """See Format."""
        return ["file", "start", "end", "emotion", *self.rule.classes]

    def ask(
        self, jury: Jury, files: Sequence[AudioInput], clips: Sequence[Int16]
    ) -> Iterable[list[Row]]:
        """See Format."""
        limit = self.rule.unsure_below or 0.0
        for file, samples in zip(files, clips, strict=True):
            over_time = jury.over_time(samples)
            rows = []
            for segment in self.rule.segments(over_time):
                times = segment.start_seconds, segment.end_seconds
                unsure = self.rule.task != "multilabel" and segment.probability < limit
                emotion = DONT_KNOW if unsure else segment.emotion
                shares = map(_share, over_time.mean(*times).tolist())
                rows.append([file.place, *(f"{time:.3f}" for time in times), emotion, *shares])
            yield rows


FORMATS: dict[str, type[Format]] = {
    "table": Table,
    "submission": Submission,
    "timeline": Timeline,
}
"""Kinds of output by the name that ``--format`` takes."""


def _share(probability: float) -> str:
    return f"{probability:.6f}"
