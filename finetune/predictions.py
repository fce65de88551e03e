"""Predictions: one row per test clip, fold and seed; the only thing that tables are made from."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_audio.data.dealing import ROW_COLUMNS
from ssl_audio.errors import DataError

_METADATA_KEY = b"ssl_audio"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a table says of a row beside its numbers."""

    system: str
    """The row's name as printed."""
    task: str = "single"
    """``single``, ``multilabel`` or ``gender-emotion``."""
    protocol: str
    """Full name, e.g. ``ravdess-speech-8/emobox6``."""
    classes: tuple[str, ...]
    parameters: int | None = None
    """Number of weights; None where the count means nothing (chance)."""
    train_seconds: float | None = None
    """Of fitting, features included; for one fold and seed."""
    real_time_factor: float | None = None
    """Seconds of judging for each second of audio, features included."""
    pretraining_data: str = ""
    """Pool that the encoder saw without labels; empty if none."""
    leak: str = ""
    """Empty, ``transductive`` or ``leaky``."""
    reduced: str = ""
    """How the run is smaller than what its name stands for; empty if it is not."""
    contaminated: str = ""
    """How labels of the test corpus reached the weights elsewhere; empty if not known to."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know: ``budget cut at step 300 of 600``, ``random weights``."""
    copies: tuple[tuple[str, ...], ...] = field(default=())
    """Clips of the test that are one recording, by clip_id; a clip alone is not listed."""
    genders: dict[str, str] = field(default_factory=dict)
    """``female`` or ``male`` by speaker of the test; unknown ones are not listed."""
    num_folds: int | None = None
    """Of the protocol, whether tested or not; None if unknown."""
    test_to_train: float | None = None
    """Clips tested over clips learnt from or chosen on, on average over the protocol's folds; None
    if unknown."""
    training_share: float = 1.0
    """Of the training clips that there were, how many were learnt from."""
    data: str = ""
    """Fingerprint of the labelled clips; empty if unknown, as are those below."""
    split: str = ""
    """Fingerprint of the folds."""
    code: str = ""
    """Commit that the run was made by."""
    weights: str = ""
    """Pretrained weights that the run started from, by name and sha256; empty if none."""


def collect_genders(known: Iterable[tuple[str | None, str | None]]) -> dict[str, str]:
    """Gender by speaker; without speakers of unknown gender, and those said to have two.

    Args:
        known: speaker and gender, any number of times; None where unknown.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for speaker, gender in known:
        if speaker is not None and gender is not None:
            found[speaker].add(gender)
    return {speaker: min(said) for speaker, said in sorted(found.items()) if len(said) == 1}


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one system.

    ``frame`` has the columns clip_id, speaker, fold (from 1), seed, label (class name; None where
    unknown) and one float column per class named after it, its probability in [0, 1].
    """

    about: Provenance
    frame: pd.DataFrame

    def probabilities(self) -> npt.NDArray[np.float64]:
        """(rows, classes) float64."""
        return self.frame[list(self.about.classes)].to_numpy(np.float64)

    def save(self, path: Path) -> None:
        """Writes parquet; the provenance travels in the file's own metadata."""
        table = pa.Table.from_pandas(
            self.frame[[*ROW_COLUMNS, *self.about.classes]], preserve_index=False
        )
        note = {_METADATA_KEY: json.dumps(asdict(self.about)).encode()}
        pq.write_table(table.replace_schema_metadata(note), path)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads what ``save`` wrote.

        Raises:
            DataError: not such a file.
        """
        try:
            table = pq.read_table(path)
            about: dict[str, Any] = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        except (OSError, pa.ArrowInvalid, KeyError) as error:
            raise DataError(f"{path} is not a predictions file: {error!r}") from None
        about["classes"] = tuple(about["classes"])
        about["notes"] = tuple(about["notes"])
        about["copies"] = tuple(map(tuple, about.get("copies", ())))
        return cls(Provenance(**about), table.to_pandas())
