"""Figures that others published, for beside ours: by their own protocol, with source and grade."""

import csv
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ssl_audio.errors import DataError

FILE = Path(__file__).parent / "published.csv"

Grade = Literal["A", "B", "C", "D", "E", "F"]
GRADES: dict[Grade, str] = {
    "A": "our folds, no flaw known",
    "B": "our folds, a known flaw in the measuring",
    "C": "other folds with other speakers on each side, nothing chosen on test",
    "D": "no speaker on both sides, but chosen on test: an upper bound",
    "E": "the split leaks: too high by an unknown amount",
    "F": "another test altogether (hidden labels, listeners), or one that is not described",
}
"""How far a published figure can be trusted beside ours, best first."""

Text = Annotated[str, Field(pattern=r"\S")]
Share = Annotated[float, Field(ge=0, le=1)]
_EMPTY = BeforeValidator(lambda text: text or None)
OptionalShare = Annotated[Share | None, _EMPTY]
OptionalCount = Annotated[Annotated[int, Field(gt=0)] | None, _EMPTY]


class Published(BaseModel):
    """One published figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Text
    corpus: Text
    """Of our protocols' names, e.g. ``ravdess-speech-8``."""
    protocol: Text
    """As published, in words."""
    same_folds_as: str
    """Our protocol with the same test clips in each fold; empty if there is none."""
    metric: Literal["uar", "wa", "macro_f1"]
    value: Share
    ci_low: OptionalShare
    ci_high: OptionalShare
    """Ends of the 95 % interval."""
    fold_sd: OptionalShare
    run_sd: OptionalShare
    """Over repeated runs."""
    num_speakers: OptionalCount
    """That the figure rests on; None where it is not stated."""
    selection: str
    """How settings were chosen; empty where there was nothing to choose."""
    grade: Grade
    source: Text
    note: str

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.grade in ("A", "B")) != bool(self.same_folds_as):
            raise ValueError("grades A and B, and no others, are for figures on our folds")
        if self.same_folds_as and not self.same_folds_as.startswith(f"{self.corpus}/"):
            raise ValueError(f"same_folds_as is of another corpus: {self.same_folds_as}")
        low, high = self.ci_low, self.ci_high
        if (low is None) != (high is None):
            raise ValueError("an interval has two ends")
        if low is not None and high is not None and not low <= self.value <= high:
            raise ValueError(f"the interval [{low}, {high}] does not hold the value {self.value}")
        return self


def load_published(path: Path = FILE) -> tuple[Published, ...]:
    """Every figure, in the order of the file.

    Raises:
        DataError: other columns, a line that does not fit, or a figure that is there twice.
    """
    names = list(Published.model_fields)
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if header != names:
        raise DataError(f"{path}: expected the columns {','.join(names)}, got {','.join(header)}")
    figures: dict[tuple[str, ...], Published] = {}
    for number, line in enumerate(lines, 2):
        figure = _parse(line, f"{path}, line {number}")
        key = (figure.system, figure.corpus, figure.protocol, figure.metric)
        if figures.setdefault(key, figure) is not figure:
            raise DataError(f"{path}, line {number}: {', '.join(key)} is there twice")
    return tuple(figures.values())


def _parse(line: list[str], place: str) -> Published:
    names = list(Published.model_fields)
    if len(line) != len(names):
        raise DataError(f"{place}: expected {len(names)} columns, got {len(line)}")
    try:
        return Published.model_validate(dict(zip(names, line, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        column = f"{first['loc'][0]}: " if first["loc"] else ""
        raise DataError(f"{place}: {column}{first['msg']}, got {first['input']!r}") from None
