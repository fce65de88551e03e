"""How what an encoder hears differs from the sound that targets are made of."""

from pydantic import Field
from torch import Tensor

from ssl_audio.augment import add_noise, change_level, cut_view, draw_place, mix_clip
from ssl_audio.config import Config
from ssl_audio.objectives.base import Batch, to_float


class ChangesConfig(Config):
    """Changes that keep a voice's emotion.

    Attributes:
        level_db: most that a clip is made louder or softer.
        least_snr_db: signal to noise of the noisiest clips; None adds no noise.
        least_background_db: level of a clip over the loudest other one that is mixed in; None
            mixes none in.
    """

    level_db: float = Field(default=6.0, ge=0)
    least_snr_db: float | None = 10.0
    least_background_db: float | None = None


def change_sound(
    clean: Tensor, num_samples: Tensor, batch: Batch, config: ChangesConfig, view: int
) -> Tensor:
    """(batch, samples) float32 as the encoder hears it.

    Args:
        clean: (batch, samples) float32 of the batch or cut out of it, zero after each clip's end.
        num_samples: (batch,) int64 true lengths.
        batch: whose keys draw the changes, and which brings the other clips.
        config: which changes.
        view: each has its own.
    """
    keys = batch["keys"]
    changed = change_level(clean, keys, config.level_db, view)
    if config.least_background_db is not None:
        sounding, length = batch["background_samples"], clean.shape[1]
        place = draw_place(sounding, keys, length, view)
        other, _ = cut_view(to_float(batch["background"]), sounding, place, length)
        changed = mix_clip(changed, num_samples, other, keys, config.least_background_db, view)
    if config.least_snr_db is not None:
        changed = add_noise(changed, num_samples, keys, config.least_snr_db, view)
    return changed
