"""One row of the benchmark: how one kind of leak at one strength fared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How one kind at one strength fared, with one seed."""

    corpus: str
    kind: str
    change: str
    strength: str
    seed: int
    injected: int
    found: int
    called_right: int
    """Found under the kind that was meant."""
    false_alarms: int
    """Of that kind in the same material without the leak, or between recordings that have nothing
    in common."""
