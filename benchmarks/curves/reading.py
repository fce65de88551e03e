"""Reads checkpoints by probes on development protocols; each reading is kept in a file."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import ssl_audio
from benchmarks.curves.config import CurvesConfig
from benchmarks.curves.picture import UNTRAINED, draw_curves
from benchmarks.curves.scoring import Reading, score
from benchmarks.protocol import PROTOCOLS
from benchmarks.results import slug
from benchmarks.systems.logmel_statistics import log_mel_statistics
from ssl_audio.build import EncoderSettings, build_encoder
from ssl_audio.checkpoint import list_checkpoints, load_checkpoint
from ssl_audio.config import build_config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.protocols import OpenProtocol, open_protocol
from ssl_audio.encoder import AudioEncoder
from ssl_audio.errors import UserError
from ssl_audio.pool import PoolConfig, open_pool
from ssl_audio.probes import embed_levels
from ssl_audio.progress import with_progress
from ssl_audio.run_record import code_sha256, git_commit, read_run_record, write_run_record

ENCODER_WEIGHTS = "encoder."
"""How the names of an objective's weights begin that are its encoder's."""
LOG_MEL_BANDS = 64


@dataclass(frozen=True)
class State:
    """An encoder at one step of a run."""

    about: Reading
    encoder: AudioEncoder


def read_curves(config: CurvesConfig, output: Path) -> str:
    """Makes ``output/readings/*.csv``, ``learning_curves.csv`` and the picture; resumable.

    Returns:
        Where they are.

    Raises:
        UserError: no runs or corpora, or a protocol that is not for development.
    """
    if not config.runs or not config.corpora:
        raise UserError(
            "runs and corpora: name them, e.g. --set 'runs={masked: runs/masked}' "
            "--set 'corpora={runs/emodb: emodb-4/loso10}'"
        )
    git_commit()  # remembered as it is now
    start = time.monotonic()
    (output / "readings").mkdir(parents=True, exist_ok=True)
    tables, fingerprints = [], []
    for folder, name in config.corpora.items():
        opened = open_protocol(name, [PreparedCorpus.load(folder)], PROTOCOLS)
        if not opened.development:
            raise UserError(
                f"{name} is no development protocol: what is seen of its test clips while "
                "objectives are chosen makes its figures too good"
            )
        fingerprints.append(opened.corpus.fingerprint)
        keep = partial(_keep, output / "readings", slug(name))
        tables.append(keep("log-mel-statistics", _key(opened), _read_log_mel(opened)))
        any_run = next(iter(config.runs.values()))
        for run, path, steps in (
            (UNTRAINED, any_run, [0]),
            *((run, at, _choose_steps(at, config.checkpoints)) for run, at in config.runs.items()),
        ):
            how = (config.levels, config.probes, config.precision)
            key = _key(opened, steps, *how, read_run_record(path))
            tables.append(keep(slug(run), key, _read_run(run, path, steps, opened, config)))
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(output / "learning_curves.csv", index=False, float_format="%.6g")
    pictures = draw_curves(table, output)
    write_run_record(
        output,
        command="benchmarks curves",
        config=config,
        seed=int(table["seed"].max()),
        device="cpu",
        choices={"threads": torch.get_num_threads()},
        data_fingerprint=" ".join(fingerprints),
        wall_seconds=time.monotonic() - start,
        metrics={},
    )
    return "\n".join(f"{path}" for path in (output / "learning_curves.csv", *pictures))


def _key(protocol: OpenProtocol, *settings: object) -> str:
    """Equal where the same code reads the same states of the same runs on the same clips."""
    code = code_sha256(Path(ssl_audio.__file__).parent, Path(__file__).parents[1])
    facts = (code, protocol.corpus.fingerprint, protocol.folds, *settings)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _keep(
    folder: Path, protocol: str, run: str, key: str, readings: Iterator[Reading]
) -> pd.DataFrame:
    path = folder / f"{run}__{protocol}__{key}.csv"
    if not path.is_file():
        aside = path.with_suffix(".partial")
        pd.DataFrame([asdict(reading) for reading in readings]).to_csv(aside, index=False)
        aside.rename(path)
    return pd.read_csv(path)


def _read_log_mel(protocol: OpenProtocol) -> Iterator[Reading]:
    """The simplest features, through the same probes."""
    corpus = protocol.corpus
    clips = corpus.indices(protocol.folds.clip_ids)
    bar = with_progress(clips, len(clips), f"log-mel, {protocol.folds.protocol}", "clip")
    values = np.stack([log_mel_statistics(corpus.views[clip], LOG_MEL_BANDS) for clip in bar])
    name = protocol.folds.protocol
    about = Reading("log-mel statistics", "none", 0, 0, 0.0, name, -1, "")
    for which in ("linear", "knn"):
        yield score(replace(about, probe=which), values.astype(np.float32), clips, protocol)


def _read_run(
    run: str, folder: Path, steps: list[int], protocol: OpenProtocol, config: CurvesConfig
) -> Iterator[Reading]:
    corpus = protocol.corpus
    clips = corpus.indices(protocol.folds.clip_ids)
    name = protocol.folds.protocol
    for step in with_progress(steps, len(steps), f"{run}, {name}", "checkpoint"):
        state = open_state(run, folder, step)
        values = embed_levels(state.encoder, corpus, clips, config.levels, config.precision)
        for place, level in enumerate(config.levels):
            for which in config.probes:
                about = replace(state.about, protocol=name, level=level, probe=which)
                yield score(about, values[:, place], clips, protocol)


def _choose_steps(folder: Path, count: int) -> list[int]:
    """Of the checkpoints of a run, ``count`` evenly chosen ones with the last."""
    saved = [
        int(path.name.removeprefix("step-")) for path in list_checkpoints(folder / "checkpoints")
    ]
    if not saved:
        raise UserError(f"{folder} holds no checkpoints: pretrain with train.keep_checkpoints")
    chosen = np.linspace(len(saved), 0, min(count, len(saved)), endpoint=False).round().astype(int)
    return sorted({saved[place - 1] for place in chosen})


def open_state(run: str, folder: Path, step: int) -> State:
    """The encoder of a run as it was after a step; before the first one for step 0.

    Raises:
        UserError: the run is not finished, or has no such checkpoint.
    """
    record = read_run_record(folder)
    # Runs of earlier versions are read too, so only what is needed must be known today.
    values = record["config"]
    pool = open_pool(build_config(PoolConfig, values["data"]))
    seed = int(values["train"]["seed"])
    torch.manual_seed(seed)
    shape = build_config(EncoderSettings, values["encoder"]).build_config()
    encoder = build_encoder(shape, "sdpa", pool.corpus, pool.indices)
    spent = 0.0
    if step:
        weights = load_checkpoint(folder / "checkpoints" / f"step-{step:08d}")
        own = {
            name.split(ENCODER_WEIGHTS, 1)[1]: tensor
            for name, tensor in weights.module.items()
            if name.startswith((ENCODER_WEIGHTS, f"prediction.{ENCODER_WEIGHTS}"))
        }
        encoder.load_state_dict(own)
        spent = weights.state["train"]["processor_seconds"]
    about = Reading(run, values["objective"]["kind"], seed, step, spent, "", 0, "")
    return State(about, encoder)
