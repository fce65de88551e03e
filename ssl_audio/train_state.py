"""What a training run is at beside weights and optimizer."""

from dataclasses import dataclass, field


@dataclass
class TrainState:
    """All resumable state beside weights and optimizer.

    Attributes:
        step: optimizer steps taken.
        seconds: spent training, over all resumed parts.
        processor_seconds: of all threads of the main process, over all resumed parts.
        best_step: where the tracked metric was best; None before the first evaluation.
        best_value: the metric there.
        cut: stopped by ``max_seconds`` before ``max_steps``.
        first_look: what the watch on collapse measured before the first step.
    """

    step: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    best_step: int | None = None
    best_value: float | None = None
    cut: bool = False
    first_look: dict[str, float] = field(default_factory=dict)
