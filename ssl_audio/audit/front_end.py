"""Whose clips the constants come from that an encoder's front end normalises with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_audio.audit.pool import find_origin
from ssl_audio.audit.report import Finding
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import read_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import DataError
from ssl_audio.run_record import SEEN_CLIPS, read_run_record

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_audio.features import LogMel

WEIGHTS = "model.safetensors"
FRONT_END = (
    "sample_rate",
    "n_fft",
    "win_length",
    "hop_length",
    "n_mels",
    "f_min",
    "f_max",
    "floor",
)
SAME = 1e-3
"""Standard deviations that constants may be off by in any band. The training clips give them to
1e-6; the same with test clips added is off by some hundredths."""


def check_front_end(run: Path, corpus: PreparedCorpus) -> tuple[list[Finding], str | None]:
    """A leak if the constants stored in a run's encoder come from test clips too.

    Args:
        run: of pretraining, or of fine-tuning, whose encoder may come from another run.
        corpus: that was learnt from.

    Returns:
        The finding, and what could not be looked at.

    Raises:
        DataError: no finished run of ours.
    """
    origin = find_origin(run)
    data = read_run_record(origin)["config"].get("data")
    if not isinstance(data, dict) or not (origin / WEIGHTS).is_file():
        raise DataError(f"--run {run}: {origin} holds no model and says nothing of its clips")
    if data.get("folds") is None:
        return [], f"constants of {origin}: it learnt from a whole pool, there is no test in it"
    try:
        folds = corpus.folds(str(data["folds"]))
        fold = folds.fold(int(data["fold"]))
        populations = _find_populations(origin, corpus, fold)
    except DataError as error:
        return [], f"constants of {origin}, learnt from other clips: {error}"
    return _compare(origin, corpus, folds, fold, populations)


def _find_populations(
    origin: Path, corpus: PreparedCorpus, fold: Fold
) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Clips that constants may come from, by name: whether that is a leak, and which."""
    learnt = fold.train
    if (origin / SEEN_CLIPS).is_file():
        learnt = tuple(clip.clip_id for clip in read_manifest(origin / SEEN_CLIPS))
    every = tuple(clip.clip_id for clip in corpus.clips)
    populations = {
        "the training clips": (False, learnt),
        "training and validation clips": (False, (*learnt, *fold.validation)),
        "training and test clips": (True, (*learnt, *fold.test)),
        "training, validation and test clips": (True, (*learnt, *fold.validation, *fold.test)),
        "all clips of the corpus": (True, every),
        "the test clips": (True, fold.test),
    }
    for _, clip_ids in populations.values():
        corpus.indices(clip_ids)  # raises where one is missing
    return populations


def _compare(
    origin: Path,
    corpus: PreparedCorpus,
    folds: Folds,
    fold: Fold,
    populations: Mapping[str, tuple[bool, tuple[str, ...]]],
) -> tuple[list[Finding], str | None]:
    """Recomputes the constants of one population after the other until they fit."""
    from ssl_audio.build import measure_normalisation

    log_mel, mean, deviation = _read_front_end(origin)
    for name, (leaks, clip_ids) in populations.items():
        if not clip_ids:
            continue
        indices = corpus.indices(dict.fromkeys(clip_ids))
        own_mean, own_deviation = measure_normalisation(log_mel, corpus, indices)
        off = max(
            float(((own_mean - mean) / deviation).abs().max()),
            float((own_deviation / deviation - 1).abs().max()),
        )
        if off > SAME:
            continue
        if not leaks:
            return [], None
        return [
            Finding(
                kind="normalisation_leak",
                severity="leak",
                protocol=folds.protocol,
                fold=fold.number,
                evidence=f"the front end of {origin} normalises with the statistics of {name}",
                groups=(),
            )
        ], None
    return [], f"constants of {origin}: they fit neither its training clips nor any with the test"


def _read_front_end(run: Path) -> "tuple[LogMel, Tensor, Tensor]":
    """The front end with the (n_mels,) mean and standard deviation stored beside it."""
    from safetensors import SafetensorError, safe_open

    from ssl_audio.encoder_config import AudioEncoderConfig
    from ssl_audio.features import LogMel

    try:
        written: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
        shape = written.get("encoder_config", written)
        config = AudioEncoderConfig(**{name: shape[name] for name in FRONT_END if name in shape})
        log_mel = LogMel(**{name: getattr(config, name) for name in FRONT_END})
        with safe_open(run / WEIGHTS, "pt") as weights:
            named = {name.rpartition(".")[2]: name for name in weights.keys()}
            mean, deviation = (
                weights.get_tensor(named[name]) for name in ("log_mel_mean", "log_mel_std")
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"--run {run}: expected a model of ours, can't read it: {error}") from None
    return log_mel, mean, deviation
