"""What the benchmark of the watch on collapse runs on."""

from pathlib import Path

from pydantic import Field

from ssl_audio.config import Config


class CollapseConfig(Config):
    """Corpora and seeds.

    Attributes:
        corpora: prepared folders on which healthy runs are watched beside the synthetic corpus, on
            which everything is run.
        setting_seeds: with which the thresholds were set, on every other cause.
        reported_seeds: with which the other half of the causes is run.
    """

    corpora: tuple[Path, ...] = ()
    setting_seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    reported_seeds: tuple[int, ...] = Field(default=(4, 5), min_length=1)
