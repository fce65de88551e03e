"""Runs systems on the folds of a protocol, each run once, with the test labels kept back."""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.memory import forget_peak, peak_mebibytes
from benchmarks.results import predictions_path, run_name, save_predictions
from benchmarks.runs import BenchmarkConfig, Run, plan_runs, refuse_taken_titles
from benchmarks.systems.base import FeatureCache, Floats, LabelledClips, UnlabelledClips
from finetune.metrics import compute_metrics
from finetune.predictions import Predictions, Provenance, collect_genders
from ssl_audio.audit import guard
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.protocols import PROTOCOLS, OpenProtocol, open_protocol
from ssl_audio.errors import ConfigError, DataError
from ssl_audio.run_record import git_commit, read_run_record, write_run_record

DEVELOPMENT_NOTE = "tested on a development corpus, which recipes are chosen by"


def run_benchmark(config: BenchmarkConfig, output: Path, only: Sequence[str] = ()) -> None:
    """Makes ``output/predictions`` and ``output/runs``, skipping the runs that are there.

    Args:
        config: corpus, folds, seeds and rows.
        output: results folder; one that is there is continued.
        only: names of rows; all if empty.

    Raises:
        UserError: something of the config that is not there, a leak, or older runs that were made
            with other settings or data.
    """
    git_commit()  # of the code that is running, before others are made
    corpora = [PreparedCorpus.load(root) for root in config.corpus]
    protocol = open_protocol(config.folds, corpora, PROTOCOLS)
    corpus, folds = protocol.corpus, protocol.folds
    runs = plan_runs(config, corpus, folds, only)
    guard(corpus, folds, sorted({run.config.fold for run in runs}))
    refuse_taken_titles(runs, output)
    waiting = [run for run in runs if not _is_done(run, output)]
    if len(waiting) < len(runs):
        print(f"{len(runs) - len(waiting)} of {len(runs)} runs are there already")
    cache = FeatureCache(output / "features")
    seconds: dict[str, list[float]] = {}
    for count, run in enumerate(waiting, 1):
        print(f"[{count}/{len(waiting)}] {run.name}", end=": ", flush=True)
        start = time.monotonic()
        report = _run(run, protocol, output, cache)
        row = run.config.row
        took = seconds.setdefault(row, [])
        took.append(time.monotonic() - start)
        left = sum(took) / len(took) * sum(other.config.row == row for other in waiting[count:])
        print(report + (f"; about {left:.0f} s left for {row}" if left > 5 else ""), flush=True)


def _is_done(run: Run, output: Path) -> bool:
    """Whether the run's predictions are there; refuses those of another run under its name."""
    config = run.config
    path = predictions_path(output, config.protocol, config.row, config.fold, config.seed)
    if not path.exists():
        return False
    there = read_run_record(_record_folder(run, output))["config"]
    here = config.model_dump(mode="json")
    if there != here:
        different = sorted(key for key in {*there, *here} if there.get(key) != here.get(key))
        raise ConfigError(
            f"{path} was made with other {' and '.join(different)}: choose another --output or "
            "delete the file"
        )
    return True


def _run(run: Run, protocol: OpenProtocol, output: Path, cache: FeatureCache) -> str:
    """Fits, predicts and stores; returns what it took."""
    corpus, folds = protocol.corpus, protocol.folds
    fold = folds.fold(run.config.fold)
    system = run.build(folds.classes, cache)
    train = _labelled(corpus, folds, fold, fold.train)
    validation = _labelled(corpus, folds, fold, fold.validation)
    # Sorted clips stand in the order of their names, and names of RAVDESS begin with the emotion.
    order = np.random.default_rng(0).permutation(len(fold.test))
    tested = corpus.indices(fold.test)
    withheld = UnlabelledClips([corpus.views[tested[place]] for place in order])
    forget_peak()
    # NumPy's matrices are small here: a second thread gains nothing, and where the machine is busy
    # the two waiting for each other makes features six times slower.
    with threadpool_limits(1, user_api="blas"):
        start = time.monotonic()
        with cache.metered() as fitting:
            system.fit(train, validation)
        fitted = time.monotonic()
        with cache.metered() as judging:
            probabilities = system.predict(withheld)
        predicted = time.monotonic()
    peak = peak_mebibytes()
    _refuse_improbable(probabilities, (len(fold.test), len(folds.classes)), run.name)
    probabilities = probabilities[np.argsort(order)]

    test = _labelled(corpus, folds, fold, fold.test)
    audio_seconds = sum(map(len, withheld.waveforms)) / SAMPLE_RATE
    # As if no feature had been there already: else a row's cost would depend on the rows before it.
    train_seconds = fitted - start + fitting.spared_seconds
    judge_seconds = predicted - fitted + judging.spared_seconds
    about = Provenance(
        system=run.config.title,
        task=folds.task,
        protocol=folds.protocol,
        classes=folds.classes,
        parameters=system.parameters,
        train_seconds=round(train_seconds, 3),
        real_time_factor=round(judge_seconds / audio_seconds, 7),
        pretraining_data=system.pretraining_data,
        leak="transductive" if system.saw(withheld) else "",
        reduced=run.config.reduced,
        notes=(*system.notes, *((DEVELOPMENT_NOTE,) if protocol.development else ())),
        copies=_find_copies(corpus, fold.test),
        genders=collect_genders(
            (corpus.clips[index].speaker, corpus.clips[index].gender)
            for index in corpus.indices(fold.test)
        ),
        num_folds=len(folds.folds),
        test_to_train=folds.test_to_train,
        training_share=system.training_share,
        data=corpus.fingerprint_of(folds),
        split=folds.fingerprint,
        code=git_commit() or "",
        weights=system.weights,
    )
    predictions = _to_predictions(run, folds, test, probabilities, about)
    record_folder = _record_folder(run, output)
    record_folder.mkdir(parents=True, exist_ok=True)
    write_run_record(
        record_folder,
        command="benchmarks run",
        config=run.config,
        seed=run.config.seed,
        device=system.choices.get("device", "cpu"),
        choices=system.choices,
        data_fingerprint=corpus.fingerprint,
        wall_seconds=predicted - start,
        metrics=compute_metrics(test.labels, probabilities, folds.classes),
        details={
            "fit_seconds": round(fitted - start, 3),
            "predict_seconds": round(predicted - fitted, 3),
            "spared_fit_seconds": round(fitting.spared_seconds, 3),
            "spared_predict_seconds": round(judging.spared_seconds, 3),
            "peak_mib": round(peak),
        },
    )
    config = run.config
    save_predictions(
        predictions, predictions_path(output, config.protocol, config.row, config.fold, config.seed)
    )
    return (
        f"fitted in {fitted - start:.1f} s, judged {len(fold.test)} clips in "
        f"{predicted - fitted:.1f} s, peak {peak:.0f} MiB"
    )


def _labelled(
    corpus: PreparedCorpus, folds: Folds, fold: Fold, clip_ids: Sequence[str]
) -> LabelledClips:
    clips = [(corpus.clips[index], corpus.views[index]) for index in corpus.indices(clip_ids)]
    for clip, _ in clips:
        if clip.emotion not in folds.classes:
            raise DataError(
                f"clip {clip.clip_id} is {clip.emotion!r} in {corpus.root}, {folds.protocol} knows "
                f"{', '.join(folds.classes)}"
            )
    labels = [folds.classes.index(str(clip.emotion)) for clip, _ in clips]
    inner = {clip_id: number for number, ids in enumerate(fold.inner) for clip_id in ids}
    chosen_by_inner = inner and all(clip_id in inner for clip_id in clip_ids)
    return LabelledClips(
        [waveform for _, waveform in clips],
        np.array(labels, dtype=np.int64),
        tuple(clip.speaker for clip, _ in clips),
        np.array([inner[clip_id] for clip_id in clip_ids]) if chosen_by_inner else None,
    )


def _to_predictions(
    run: Run,
    folds: Folds,
    test: LabelledClips,
    probabilities: Floats,
    about: Provenance,
) -> Predictions:
    frame = pd.DataFrame(probabilities, columns=list(folds.classes))
    frame.insert(0, "clip_id", folds.fold(run.config.fold).test)
    frame.insert(1, "speaker", test.speakers)
    frame.insert(2, "fold", run.config.fold)
    frame.insert(3, "seed", run.config.seed)
    frame.insert(4, "label", [folds.classes[label] for label in test.labels])
    return Predictions(about, frame)


def _find_copies(corpus: PreparedCorpus, clip_ids: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Clips with the same audio, group by group."""
    groups: defaultdict[str | None, list[str]] = defaultdict(list)
    for index in corpus.indices(clip_ids):
        clip = corpus.clips[index]
        groups[clip.audio_sha256].append(clip.clip_id)
    return tuple(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _refuse_improbable(probabilities: Floats, shape: tuple[int, int], name: str) -> None:
    """Our own invariant: what the contract test asserts, on the data at hand."""
    if (
        probabilities.shape != shape
        or not np.all(probabilities >= 0)
        or np.abs(probabilities.sum(axis=1) - 1).max() > 1e-6
    ):
        raise ValueError(
            f"{name}: expected probabilities of shape {shape} that sum to 1, "
            f"got shape {probabilities.shape} with sums {probabilities.sum(axis=1)}"
        )


def _record_folder(run: Run, output: Path) -> Path:
    config = run.config
    return output / "runs" / run_name(config.protocol, config.row, config.fold, config.seed)
