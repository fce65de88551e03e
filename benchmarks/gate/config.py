"""What the benchmark of the gate runs on."""

from pathlib import Path

from pydantic import Field

from ssl_audio.config import Config


class GateConfig(Config):
    """Corpora, protocols and sizes."""

    corpora: dict[str, str] = Field(default_factory=dict)
    """Prepared folders, and under which protocol of theirs leaks are injected, e.g.
    ``{runs/ravdess: ravdess-speech-8/emobox6}``."""
    cost: Path | None = None
    """A prepared corpus of which larger and larger parts are searched; None: no cost."""
    cost_sizes: tuple[int, ...] = (250, 500, 1000, 2000, 4000, 8000)
    """Clips."""
    clips_per_change: int = Field(default=10, gt=0)
    """Recordings changed in each way, for each seed."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
