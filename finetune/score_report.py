"""What an evaluation found: as lines of text, and as a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from finetune.group_scores import GroupScores


@dataclass(frozen=True)
class ScoreReport:
    """Of one model on some clips.

    Attributes:
        num_clips: that were scored.
        scores: by name; none where only events are asked for.
        not_scored: clips by labels that the model does not tell.
        details: F1 of each class where clips hold several; else the area under risk and coverage
            and, if the model may say "don't know", how often it answers and how often it is right
            then, None if it never answers.
        groups: of genders and speakers.
        events: of what is heard when.
        heard: what the model had heard of these clips and of their speakers.
    """

    num_clips: int
    scores: Mapping[str, float] = field(default_factory=dict)
    not_scored: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, float | None] = field(default_factory=dict)
    groups: GroupScores | None = None
    events: Mapping[str, float] = field(default_factory=dict)
    heard: tuple[str, ...] = ()

    def describe(self) -> Iterator[str]:
        """Lines of text."""
        for name, value in self.scores.items():
            yield _line(name, f"{value:.4f}")
        yield _line("clips", str(self.num_clips))
        if self.not_scored:
            labels = ", ".join(f"{name} {count}" for name, count in self.not_scored.items())
            count = sum(self.not_scored.values())
            yield _line("not scored", f"{count} with labels that it does not tell: {labels}")
        for name, detail in self.details.items():
            yield _line(name, "nothing" if detail is None else f"{detail:.4f}")
        if self.groups:
            yield from self.groups.describe()
        for name, value in self.events.items():
            yield _line(name, f"{value:g}" if name.startswith("num_") else f"{value:.4f}")
        yield from self.heard

    def save(self, path: Path) -> None:
        """Writes every figure as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def _line(name: str, value: str) -> str:
    return f"{name:20} {value}"
