"""What an evaluation found: as lines of text, and as a file."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from finetune.group_scores import GroupScores


@dataclass(frozen=True, kw_only=True)
class ScoreReport:
    """Of one model on some clips.

    Attributes:
        model: folder.
        corpus: folder.
        fold: of which the clips are the test clips; None if they are of no one fold.
        num_clips: that were scored.
        scores: by name; none where only events are asked for.
        not_scored: clips by labels that the model does not tell.
        class_f1: by class, where clips hold several.
        answered: share of the clips, where a model may say "don't know".
        accuracy_of_these: None where it never answers, too.
        risk_coverage_area: where clips hold one class.
        groups: of genders and speakers.
        events: of what is heard when.
        heard: what the model had heard of these clips and of their speakers.
    """

    model: Path
    corpus: Path
    fold: int | None
    num_clips: int
    scores: Mapping[str, float] = field(default_factory=dict)
    not_scored: Mapping[str, int] = field(default_factory=dict)
    class_f1: Mapping[str, float] = field(default_factory=dict)
    answered: float | None = None
    accuracy_of_these: float | None = None
    risk_coverage_area: float | None = None
    groups: GroupScores | None = None
    events: Mapping[str, float] = field(default_factory=dict)
    heard: tuple[str, ...] = ()

    def describe(self) -> Iterator[str]:
        """Lines of text."""
        for name, value in self.scores.items():
            yield _line(name, value)
        yield _line("clips", self.num_clips)
        if self.not_scored:
            labels = ", ".join(f"{name} {count}" for name, count in self.not_scored.items())
            count = sum(self.not_scored.values())
            yield _line("not scored", f"{count} with labels that it does not tell: {labels}")
        for name, value in self.class_f1.items():
            yield _line(f"f1 of {name}", value)
        if self.answered is not None:
            yield _line("answered", self.answered)
            never = self.accuracy_of_these is None
            yield _line("accuracy of these", "nothing" if never else self.accuracy_of_these)
        if self.risk_coverage_area is not None:
            yield _line("risk-coverage area", self.risk_coverage_area)
        if self.groups:
            yield from self.groups.describe()
        for name, value in self.events.items():
            yield _line(name, value)
        yield from self.heard

    def save(self, path: Path) -> None:
        """Writes every figure as JSON; null where there is none."""
        text = json.dumps(_without_nan(asdict(self)), indent=1, allow_nan=False, default=str)
        path.write_text(text + "\n", encoding="utf-8")


def _line(name: str, value: object) -> str:
    return f"{name:20} {value:.4f}" if isinstance(value, float) else f"{name:20} {value}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
