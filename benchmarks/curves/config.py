"""What to read, and how."""

from pathlib import Path

from pydantic import Field

from ssl_audio.config import Config
from ssl_audio.probes import ProbeName
from ssl_audio.probing import Precision


class CurvesConfig(Config):
    """Runs, protocols and probes of one set of learning curves.

    Attributes:
        runs: finished pretraining runs by the name that the picture gives them.
        corpora: prepared folders and a development protocol of each.
        levels: of the encoder, see ``probes.embed_levels``.
        probes: by which they are read.
        checkpoints: of each run, evenly chosen with the last one. The untrained encoder is read
            once, with the seed of the first run.
        precision: of the embeddings.
    """

    runs: dict[str, Path] = Field(default_factory=dict)
    corpora: dict[Path, str] = Field(default_factory=dict)
    levels: tuple[int, ...] = (3, 6, 9, 12)
    probes: tuple[ProbeName, ...] = ("linear", "knn")
    checkpoints: int = Field(default=4, gt=0)
    precision: Precision = "float32"
