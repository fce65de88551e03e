"""One way in which a pretraining run goes wrong, or stays well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ssl_audio.objectives import Batch, Objective

Hold = Callable[[Objective], None]
"""Breaks weights; called again after every step, so that they stay broken."""

Spoil = Callable[[Batch], Batch]
"""Breaks what is heard."""


@dataclass(frozen=True)
class Case:
    """A small run with something wrong.

    Attributes:
        cause: of the failure.
        levels: of which any is the right one to name; none if nothing is wrong.
        objective: differences from its defaults, with ``kind``.
        train: differences from ``runs.TRAIN``.
        build: changes a new objective, before the first step.
        hold: breaks weights from the step on that the seed draws; from the first one if ``build``
            is there too.
        spoil: breaks batches from that step on.
        clips: of the corpus that are learnt from; None takes all.
        encoder: differences from ``runs.ENCODER``.
    """

    cause: str
    levels: tuple[str, ...]
    objective: dict[str, Any]
    train: dict[str, Any] = field(default_factory=dict)
    build: Hold | None = None
    hold: Hold | None = None
    spoil: Spoil | None = None
    clips: int | None = None
    encoder: dict[str, Any] = field(default_factory=dict)

    @property
    def sudden(self) -> bool:
        """Well until the step that the seed draws."""
        return self.build is None and (self.hold is not None or self.spoil is not None)
