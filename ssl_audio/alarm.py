"""An alarm that stops a training run, with the stage of the model that it is about."""

from typing import Any, Protocol

from torch import Tensor

from ssl_audio.errors import UserError

LEVELS_OF_A_STEP = ("waveform", "loss", "gradient")
"""What is checked at every step, in the order of cause and effect."""

_REMEDIES = {
    "waveform": "look for broken or silent audio in the pool (prepare writes what it refused to "
    "quarantine.csv)",
    "log_mel": "check the encoder's normalisation constants and the pool's audio",
    "patch_embedding": "lower train.lr or raise train.warmup_steps",
    "block": "lower train.lr or raise train.warmup_steps",
    "cls": "lower train.lr, or raise objective.utterance_weight where there is one",
    "embedding": "lower train.lr, or add a contrast (objective.kind=joint)",
    "target": "normalise targets, raise objective.ema_start, or check what targets were fitted on",
    "prediction": "raise objective.mask_ratio if nothing is hidden, else lower train.lr",
    "projection": "use more clips a batch, a temperature near 0.1, or lower train.lr",
    "loss": "lower train.lr or raise train.warmup_steps",
    "gradient": "lower train.lr or raise train.warmup_steps",
}


class CollapseError(UserError):
    """Training can't go on; one line with level, step and what to do.

    Args:
        level: of the model, e.g. ``target`` or ``block_3``.
        step: optimizer step, counted from 1; its update is not in any checkpoint.
        what: happened there.
    """

    def __init__(self, level: str, step: int, what: str) -> None:
        remedy = _REMEDIES["block" if level.startswith("block_") else level]
        super().__init__(f"{level} {what} at step {step}: {remedy}; checkpoints are from before it")
        self.level = level
        self.step = step


def not_finite(level: str, step: int) -> CollapseError:
    """Of a level that holds NaN or infinity."""
    return CollapseError(level, step, "was not finite")


class Watch(Protocol):
    """What the training loop asks now and then whether to go on."""

    def due(self, step: int) -> bool:
        """Whether to look before the update of this step, counted from 1."""

    def measure(self, batch: Any) -> dict[str, Tensor]:
        """Scalars float32 of the model as it is, the same names at every look."""

    def judge(self, step: int, values: dict[str, float], first: dict[str, float]) -> None:
        """Raises a ``CollapseError`` if the run is lost.

        Args:
            step: counted from 1.
            values: what ``measure`` found, means over processes, and ``loss``, ``grad_norm``,
                ``sound`` (1 if no input value was NaN or infinite).
            first: the same at the first look.
        """
